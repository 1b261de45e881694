package client

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// SyncPriority says which timelines a Sync serves first.
type SyncPriority int32

const (
	// SyncNormal is the default.
	SyncNormal = SyncPriority(pb.SyncPriority_SYNC_PRIORITY_UNSPECIFIED)
	// SyncHigh is served before all others, and SyncLow after them.
	SyncHigh = SyncPriority(pb.SyncPriority_SYNC_PRIORITY_HIGH)
	SyncLow  = SyncPriority(pb.SyncPriority_SYNC_PRIORITY_LOW)
)

// Have says how far a device has come in one timeline.
type Have struct {
	Timeline tidemark.TimelineID
	// After is the last SeqID that the device has; 0 for none.
	After tidemark.SeqID
	// FromCursor takes what SyncRequest.Reader has acknowledged as delivered in place of After.
	FromCursor bool
	Priority   SyncPriority
}

// SyncRequest asks for what is new in many timelines.
type SyncRequest struct {
	// Reader is who syncs: a user, or user#device. It may be empty if Have says it all.
	Reader tidemark.ReaderID
	// Have holds up to 10,000 positions, each of another timeline. If it is empty, the
	// timelines in which Reader has a cursor are asked for, from the cursors on.
	Have []Have
	// Acks is what Reader got, or read, of the last Sync: up to 1,024, all or none.
	Acks []AckItem
	// MaxBytes bounds the answer, at most 4 MiB; 0 is 2 MiB. Limit bounds the messages of
	// each timeline, at most 1,000; 0 is 100.
	MaxBytes, Limit int
	// PageToken is Synced.NextPageToken of the page before.
	PageToken string
}

// Synced is the answer to a Sync.
type Synced struct {
	// Timelines are those with news, higher priorities first.
	Timelines []SyncedTimeline
	// More says that not all news is in Timelines; if it is false, what was asked for and
	// is not there is up to date.
	More bool
	// NextPageToken asks for the timelines of the reader that are not in this page.
	NextPageToken string
	// Position is where a read with SessionAt sees at least as much.
	Position     tidemark.Position
	AppliedIndex uint64
	// Staleness is how long ago the answering node last heard from a leader; 0 for
	// linearizable reads.
	Staleness time.Duration
	// Endpoint is the node that answered.
	Endpoint string
}

// SyncedTimeline is what is new in one timeline. If Timeline.Last is before After, the
// device has what the cluster does not have, as after a restore of older data; with Local,
// the node may just be behind. There are no messages then.
type SyncedTimeline struct {
	Timeline Timeline
	// After is the position that was asked from.
	After tidemark.SeqID
	// Messages are contiguous, and follow After unless Trimmed says otherwise. There may
	// be none if other timelines took all bytes.
	Messages []Message
	// PreviousDigest is the digest before the first of Messages.
	PreviousDigest tidemark.Digest
	// More says that there is more after Messages.
	More bool
	// Trimmed, if it is not 0, is where Messages start because what lies between After
	// and it is gone.
	Trimmed tidemark.SeqID
	// Cursor is that of the reader, if there is one, with what is unread. Messages do not
	// start before its Floor.
	Cursor Cursor
}

// Sync returns what is new in many timelines, in one call and under one budget. At most
// one level can be given. It can be repeated at will: its acknowledgements only move
// cursors forward.
func (c *Client) Sync(ctx context.Context, request SyncRequest, level ...Consistency) (*Synced, error) {
	for _, n := range []struct {
		field string
		value int
	}{{"limit", request.Limit}, {"max_bytes", request.MaxBytes}} {
		if n.value < 0 || n.value > 1<<31-1 {
			return nil, tidemark.Invalid(n.field, "must not be negative or larger than a 32-bit number; it is %d", n.value)
		}
	}
	sent := request.request()
	sent.Consistency = c.levelOf(level)
	kind := call{name: "Sync", write: len(request.Acks) > 0, repeatable: true}
	return do(ctx, c, kind, func(ctx context.Context, node *endpoint) (*Synced, error) {
		var reply syncReply
		if err := node.conn.Invoke(ctx, pb.TimelineService_Sync_FullMethodName, sent, &reply, pages...); err != nil {
			return nil, err
		}
		position, err := c.observeToken(reply.GetPosition())
		if err != nil {
			return nil, err
		}
		synced := &Synced{
			Timelines:     make([]SyncedTimeline, len(reply.timelines)),
			More:          reply.GetHasMore(),
			NextPageToken: reply.GetNextPageToken(),
			Position:      position,
			AppliedIndex:  reply.GetAppliedIndex(),
			Staleness:     time.Duration(reply.GetStalenessMillis()) * time.Millisecond,
			Endpoint:      node.address,
		}
		for i := range reply.timelines {
			synced.Timelines[i] = reply.timelines[i].synced()
		}
		return synced, nil
	})
}

func (r *SyncRequest) request() *pb.SyncRequest {
	request := &pb.SyncRequest{
		Reader: string(r.Reader), Acks: ackItems(r.Acks), MaxBytes: uint32(r.MaxBytes), Limit: uint32(r.Limit), PageToken: r.PageToken,
		Have: make([]*pb.SyncPosition, len(r.Have)),
	}
	for i := range r.Have {
		have := &r.Have[i]
		position := &pb.SyncPosition{
			Timeline: string(have.Timeline), Priority: pb.SyncPriority(have.Priority),
			Start: &pb.SyncPosition_AfterSeqId{AfterSeqId: uint64(have.After)},
		}
		if have.FromCursor {
			position.Start = &pb.SyncPosition_FromCursor{FromCursor: true}
		}
		request.Have[i] = position
	}
	return request
}

func (t *syncReplyTimeline) synced() SyncedTimeline {
	synced := SyncedTimeline{
		Timeline:       timelineOf(t.GetTimeline()),
		After:          tidemark.SeqID(t.GetAfterSeqId()),
		Messages:       t.messages,
		PreviousDigest: digestOf(t.GetPreviousDigest()),
		More:           t.GetHasMore(),
		Trimmed:        tidemark.SeqID(t.GetTrimmedToSeqId()),
	}
	if cursor := t.GetCursor(); cursor != nil {
		synced.Cursor = cursorOf(cursor)
	}
	return synced
}

// SyncAll is Sync until nothing is left: it yields what is new, one timeline at a time
// and a timeline as often as it takes, in as many calls as it takes. What is appended
// meanwhile may be among it. The positions of Have are followed as messages come, so
// nothing is yielded twice. Without Have it goes through all timelines in which the reader
// has a cursor. It acknowledges nothing; Acks and PageToken go with Sync only. The level
// holds for the first call; the others show at least as much. An error ends the sequence.
func (c *Client) SyncAll(ctx context.Context, request SyncRequest, level ...Consistency) iter.Seq2[SyncedTimeline, error] {
	return func(yield func(SyncedTimeline, error) bool) {
		all := syncAll{c: c, request: request, level: level}
		if err := all.run(ctx, yield); err != nil {
			yield(SyncedTimeline{}, err)
		}
	}
}

type syncAll struct {
	c       *Client
	request SyncRequest
	level   []Consistency
}

func (a *syncAll) run(ctx context.Context, yield func(SyncedTimeline, error) bool) error {
	if len(a.request.Acks) > 0 || a.request.PageToken != "" {
		return tidemark.Invalid("acks", "and page_token go with Sync, not with SyncAll")
	}
	have := slices.Clone(a.request.Have)
	if len(have) == 0 {
		var err error
		if have, err = a.ofReader(ctx); err != nil {
			return err
		}
	}
	for len(have) > 0 {
		part := have[:min(len(have), tidemark.MaxSyncPositions)]
		a.request.Have = part
		synced, err := a.c.Sync(ctx, a.request, a.level...)
		if err != nil {
			return err
		}
		a.level = []Consistency{SessionAt(synced.Position)}
		advance(part, synced.Timelines)
		for i := range synced.Timelines {
			t := &synced.Timelines[i]
			if (len(t.Messages) > 0 || t.Timeline.Last < t.After || t.Trimmed > t.Timeline.Last) && !yield(*t, nil) {
				return nil
			}
		}
		if synced.More && len(synced.Timelines) == 0 {
			return fmt.Errorf("Sync: %s says that there is more, and sends none", synced.Endpoint)
		}
		if !synced.More {
			have = have[len(part):]
		}
	}
	return nil
}

// ofReader returns all positions of the reader.
func (a *syncAll) ofReader(ctx context.Context) (have []Have, err error) {
	options := make([]ListOption, len(a.level))
	for i, level := range a.level {
		options[i] = level
	}
	for cursor, err := range a.c.ReaderCursors(ctx, a.request.Reader, options...) {
		if err != nil {
			return nil, err
		}
		have = append(have, Have{Timeline: cursor.Timeline, After: cursor.Delivered})
	}
	return have, nil
}

// advance moves the positions behind what came, and to the end of a timeline that ends
// before them.
func advance(have []Have, timelines []SyncedTimeline) {
	places := make(map[tidemark.TimelineID]*Have, len(have))
	for i := range have {
		places[have[i].Timeline] = &have[i]
	}
	for i := range timelines {
		t := &timelines[i]
		place, n := places[t.Timeline.ID], len(t.Messages)
		switch {
		case place == nil:
		case n > 0:
			place.After, place.FromCursor = t.Messages[n-1].SeqID, false
		case t.After < t.Timeline.Last && max(t.Cursor.Floor, t.Trimmed) > t.After+1:
			// What lies before is hidden from the reader, or gone.
			place.After, place.FromCursor = min(max(t.Cursor.Floor, t.Trimmed)-1, t.Timeline.Last), false
		case t.Timeline.Last < t.After:
			place.After, place.FromCursor = t.Timeline.Last, false
		}
	}
}
