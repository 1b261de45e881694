package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// Ack implements tidemarkv1.TimelineServiceServer.
func (s *Server) Ack(ctx context.Context, req *tidemarkv1.AckRequest) (*tidemarkv1.AckResponse, error) {
	acknowledged, err := parseAck(req)
	if err != nil {
		return nil, err
	}
	return s.ack(ctx, acknowledged)
}

// cursorsLevel is the feature level that has floors and rewinds.
const cursorsLevel = 2

// ack moves cursors, here or on the leader.
func (s *Server) ack(ctx context.Context, a acknowledgement) (*tidemarkv1.AckResponse, error) {
	req := &tidemarkv1.AckRequest{Reader: string(a.reader), Items: make([]*tidemarkv1.AckItem, len(a.items)), Rewind: a.rewind}
	command := fsm.Ack{Reader: a.reader, Items: make([]fsm.AckItem, len(a.items)), Rewind: a.rewind}
	needsLevel := a.rewind
	for i, item := range a.items {
		command.Items[i] = fsm.AckItem{Timeline: item.timeline, Delivered: item.delivered, Read: item.read, Floor: item.floor}
		req.Items[i] = &tidemarkv1.AckItem{
			Timeline: string(item.timeline), DeliveredSeqId: (*uint64)(item.delivered), ReadSeqId: (*uint64)(item.read),
			FloorSeqId: (*uint64)(item.floor),
		}
		needsLevel = needsLevel || item.floor != nil
	}
	if needsLevel {
		if err := s.needLevel(ctx, cursorsLevel); err != nil {
			return nil, err
		}
	}
	return onLeader(ctx, s, "Ack", req,
		func(ctx context.Context, _ *tidemarkv1.AckRequest) (*tidemarkv1.AckResponse, error) {
			return s.proposeAck(ctx, command.Encode())
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.AckRequest, ...grpc.CallOption) (*tidemarkv1.AckResponse, error) {
			return c.timelines.Ack
		})
}

// needLevelWait is how long a call waits for the feature level: a cluster that was just
// formed is raised to it within that time.
const needLevelWait = time.Second

// needLevel refuses what a member could not understand. It is asked on the node that gets
// the call, so that none is forwarded to a leader that does not understand it. While an
// upgrade is incomplete, one call in a while waits, and the others are refused at once.
func (s *Server) needLevel(ctx context.Context, level uint32) error {
	if s.Store.Level() >= level {
		return nil
	}
	now := time.Now()
	if missed := s.levelMissed.Load(); now.UnixNano()-missed > int64(needLevelWait) {
		for deadline := now.Add(needLevelWait); s.Store.Level() < level && time.Now().Before(deadline); {
			select {
			case <-time.After(needLevelWait / 50):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if s.Store.Level() < level {
			s.levelMissed.Store(time.Now().UnixNano())
		}
	}
	if present := s.Store.Level(); present < level {
		return fmt.Errorf("%w: the call needs feature level %d, and the cluster has %d; it is raised when each member answers and runs a version that knows it",
			tidemark.ErrUpgradeIncomplete, level, present)
	}
	return nil
}

func (s *Server) proposeAck(ctx context.Context, command []byte) (*tidemarkv1.AckResponse, error) {
	result, position, err := propose[fsm.AckResult](ctx, s, command)
	if err == nil {
		err = result.Err
	}
	if err != nil {
		return nil, err
	}
	return &tidemarkv1.AckResponse{Cursors: toCursors(result.Cursors, result.Heads, nil), Position: position}, nil
}

// ListCursors implements tidemarkv1.TimelineServiceServer.
func (s *Server) ListCursors(ctx context.Context, req *tidemarkv1.ListCursorsRequest) (*tidemarkv1.ListCursorsResponse, error) {
	query, err := parseListCursors(req)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, query.level); err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ListCursorsResponse{}
	var page tidemark.CursorPage
	switch {
	case query.countOnly:
		reply.Count, page.Applied, err = s.Store.CountCursors(query.timeline, query.readAtLeast)
	case query.byActivity:
		page, err = s.Store.Conversations(query.reader, query.afterActivity, query.limit)
	case query.reader != "":
		page, err = s.Store.CursorsByReader(query.reader, query.afterNumber, query.limit)
	default:
		page, err = s.Store.CursorsByTimeline(query.timeline, query.readAtLeast, query.afterReader, query.limit)
	}
	if err != nil {
		return nil, err
	}
	reply.Cursors = toCursors(page.Cursors, page.Heads, page.Unread)
	if n := len(page.Cursors); page.More && n > 0 {
		reply.NextPageToken = pageToken(query.name(), query.placeOf(&page.Cursors[n-1], &page.Heads[n-1]))
	}
	reply.AppliedIndex, reply.Position = page.Applied, query.level.seen(page.Applied)
	return reply, nil
}

// cursorQuery is a validated ListCursors: of a reader, or else of a timeline.
type cursorQuery struct {
	timeline    tidemark.TimelineID
	readAtLeast tidemark.SeqID
	countOnly   bool
	afterReader tidemark.ReaderID

	reader        tidemark.ReaderID
	afterNumber   uint64
	byActivity    bool
	afterActivity *tidemark.Activity

	listing
}

// name is what page tokens of the listing are bound to.
func (q *cursorQuery) name() string {
	switch {
	case q.byActivity:
		return "conversations of reader " + string(q.reader)
	case q.reader != "":
		return "cursors of reader " + string(q.reader)
	}
	return fmt.Sprintf("cursors of timeline %s from %d", q.timeline, q.readAtLeast)
}

// placeOf is where the page that ends with the cursor goes on.
func (q *cursorQuery) placeOf(c *tidemark.Cursor, h *tidemark.Head) []byte {
	switch {
	case q.reader == "":
		return []byte(c.Reader)
	case q.byActivity:
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(h.LastTime)), h.Number)
	default:
		return binary.BigEndian.AppendUint64(nil, h.Number)
	}
}

func parseListCursors(req *tidemarkv1.ListCursorsRequest) (q cursorQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	switch by := req.GetBy().(type) {
	case *tidemarkv1.ListCursorsRequest_Timeline:
		q.timeline = tidemark.TimelineID(by.Timeline)
		err = q.timeline.Validate("timeline")
	case *tidemarkv1.ListCursorsRequest_Reader:
		q.reader = tidemark.ReaderID(by.Reader)
		err = q.reader.Validate("reader")
	default:
		err = tidemark.Invalid("by", "must be given: timeline or reader")
	}
	if err != nil {
		return q, err
	}
	q.byActivity = req.GetOrder() == tidemarkv1.CursorOrder_CURSOR_ORDER_ACTIVITY
	q.readAtLeast, q.countOnly = tidemark.SeqID(req.GetReadAtLeast()), req.GetCountOnly()
	switch {
	case req.GetOrder() != tidemarkv1.CursorOrder_CURSOR_ORDER_UNSPECIFIED && !q.byActivity:
		return q, tidemark.Invalid("order", "is %d; it must be 0 or 1", req.GetOrder())
	case q.reader == "" && q.byActivity:
		return q, tidemark.Invalid("order", "by activity goes with reader only")
	case q.reader != "" && q.readAtLeast != 0:
		return q, tidemark.Invalid("read_at_least", "goes with timeline only")
	case q.reader != "" && q.countOnly:
		return q, tidemark.Invalid("count_only", "goes with timeline only")
	case q.countOnly && req.GetPageToken() != "":
		return q, tidemark.Invalid("page_token", "must be empty with count_only, which has one page")
	}
	var after []byte
	if q.listing, after, err = parseListing(req, q.name(), "cursors"); err != nil || after == nil {
		return q, err
	}
	return q, q.parseAfter(after)
}

// parseAfter parses what a page token goes on behind.
func (q *cursorQuery) parseAfter(after []byte) error {
	if q.reader == "" {
		q.afterReader = tidemark.ReaderID(after)
		return q.afterReader.Validate("page_token")
	}
	switch {
	case q.byActivity && len(after) == 16:
		q.afterActivity = &tidemark.Activity{
			Time: tidemark.Time(binary.BigEndian.Uint64(after)), Number: binary.BigEndian.Uint64(after[8:]),
		}
	case !q.byActivity && len(after) == 8:
		q.afterNumber = binary.BigEndian.Uint64(after)
	default:
		return tidemark.Invalid("page_token", "is not a next_page_token of this API")
	}
	return nil
}
