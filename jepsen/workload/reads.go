package workload

import (
	"context"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// reads reads pages, single messages and heads, at each level.
type reads struct{}

func (reads) Name() string { return "read" }
func (reads) Threads() int { return 10 }

func (reads) Run(ctx context.Context, t *Thread) {
	for {
		t.enterAny(anyDoor)
		timeline := t.Board.choose(t.rand)
		level := t.level()
		switch n := t.rand.IntN(10); {
		case n < 7:
			t.page(ctx, timeline, level)
		case n < 8:
			t.get(ctx, timeline, level)
		case n < 9:
			t.getByID(ctx, timeline, level)
		default:
			t.head(ctx, timeline, level)
		}
		if !t.pause(ctx) {
			return
		}
	}
}

func (t *Thread) level() string {
	return []string{history.Linearizable, history.Linearizable, history.Session, history.Local}[t.rand.IntN(4)]
}

// consistency is the SDK's word for a level. It may bind a session read to a
// position, or a local one to a staleness, and records that.
func (t *Thread) consistency(op *history.Operation) client.Consistency {
	switch op.Level {
	case history.Session:
		if position := t.door.SDK.Position(); position > 0 && t.chance(0.3) {
			op.SessionAt = uint64(position)
			return client.SessionAt(position)
		}
		return client.Session()
	case history.Local:
		if t.chance(0.3) {
			op.MaxStaleness = time.Duration(1+t.rand.IntN(1000)) * time.Millisecond
		}
		return client.Local(op.MaxStaleness)
	default:
		return client.Linearizable()
	}
}

// maxPage is the most messages that one read of this workload asks for.
const maxPage = 50

// page reads one page from a place that is chosen at random.
func (t *Thread) page(ctx context.Context, timeline, level string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := history.Operation{
		Node: t.door.Node, Kind: history.KindRead, Level: level, Timeline: timeline,
		Start: history.FromSeq, From: 1, Direction: history.Forward, Limit: 1 + t.rand.IntN(maxPage),
	}
	options := []client.ReadOption{client.Limit(op.Limit)}
	place := 1 + t.rand.Uint64N(t.Board.last(timeline)+2)
	switch t.rand.IntN(5) {
	case 0:
		op.From = place
		options = append(options, client.From(tidemark.SeqID(place)))
	case 1:
		op.From, op.Start, op.Direction = place, history.BeforeSeq, history.Backward
		options = append(options, client.Before(tidemark.SeqID(place)))
	case 2:
		op.From, op.Direction = place, history.Backward
		options = append(options, client.From(tidemark.SeqID(place)), client.Backward())
	default:
		op.From, op.Start, op.Direction = 0, history.Newest, history.Backward
		options = append(options, client.Newest(op.Limit))
	}
	options = append(options, t.consistency(&op))
	begun := t.process.Begin(op)
	page, err := t.door.SDK.Read(ctx, tidemark.TimelineID(timeline), options...)
	begun.Outcome, begun.Error = ReadOutcome(err)
	if page != nil {
		Show(begun, page)
		t.Board.reached(timeline, begun.HeadLast)
	}
	t.end(begun)
}

// Show records what a page showed.
func Show(op *history.Operation, page *client.Page) {
	words := make([]tidemark.Message, len(page.Messages))
	for i := range page.Messages {
		var seen history.Seen
		seen, words[i] = seenOf(&page.Messages[i])
		op.Messages = append(op.Messages, seen)
	}
	op.More = page.More
	op.FirstSeqID, op.HeadLast = uint64(page.Timeline.First), uint64(page.Timeline.Last)
	op.HeadDigest = page.Timeline.Digest.String()
	op.PreviousDigest = page.PreviousDigest.String()
	op.BadDigest = history.FirstBadDigest(page.PreviousDigest, words)
	op.Position, op.AppliedIndex = uint64(page.Position), page.AppliedIndex
	op.Staleness = page.Staleness
}

// seenOf is what is recorded of a message, and the message in the words with which
// digests are computed.
func seenOf(m *client.Message) (history.Seen, tidemark.Message) {
	// A client time that is out of range leaves the words empty; the content is then
	// no one's, and is found.
	draft, _ := m.Draft.Tidemark()
	serverTime := m.ServerTime.UnixNano()
	seen := history.Seen{
		SeqID: uint64(m.SeqID), MessageID: string(m.ID), Content: history.ContentOf(&draft),
		Digest: m.Digest.String(), ServerTime: serverTime,
	}
	if m.Source != nil {
		seen.Source = &history.Source{Timeline: string(m.Source.Timeline), SeqID: uint64(m.Source.SeqID)}
	}
	if r := m.Revision; r != nil {
		seen.Revision = &history.SeenRevision{SeqID: uint64(r.SeqID), Number: r.Number, Redacted: r.Redacted}
	}
	if r := m.Revises; r != nil {
		seen.Revises = &history.SeenRevision{SeqID: uint64(r.SeqID), Number: r.Number, Redacted: r.Redacted, Superseded: r.Superseded}
	}
	return seen, tidemark.Message{Draft: draft, SeqID: m.SeqID, ServerTime: tidemark.Time(serverTime), Digest: m.Digest, Source: m.Source, Revision: m.Revision, Revises: m.Revises}
}

// get reads one message by its SeqID, and getByID by its message id.
func (t *Thread) get(ctx context.Context, timeline, level string) {
	seq := 1 + t.rand.Uint64N(t.Board.last(timeline)+2)
	t.single(ctx, history.Operation{Timeline: timeline, Level: level, Start: history.FromSeq, From: seq},
		func(ctx context.Context, at client.Consistency) (client.Message, error) {
			return t.door.SDK.Get(ctx, tidemark.TimelineID(timeline), tidemark.SeqID(seq), at)
		})
}

func (t *Thread) getByID(ctx context.Context, timeline, level string) {
	draft, ok := t.Board.recent(timeline, t.rand)
	if !ok {
		return
	}
	t.single(ctx, history.Operation{Timeline: timeline, Level: level, MessageID: string(draft.ID)},
		func(ctx context.Context, at client.Consistency) (client.Message, error) {
			return t.door.SDK.GetByID(ctx, tidemark.TimelineID(timeline), draft.ID, at)
		})
}

func (t *Thread) single(ctx context.Context, op history.Operation, get func(context.Context, client.Consistency) (client.Message, error)) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op.Node, op.Kind = t.door.Node, history.KindGet
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	message, err := get(ctx, at)
	begun.Outcome, begun.Error = ReadOutcome(err)
	begun.Staleness = untold(begun)
	if err == nil {
		seen, _ := seenOf(&message)
		begun.Messages = []history.Seen{seen}
	}
	t.end(begun)
}

// untold is the staleness of an answer that does not tell it: the bound that was asked
// for, as it is sent, or a negative one, which says nothing.
func untold(op *history.Operation) time.Duration {
	switch {
	case op.Level != history.Local:
		return 0
	case op.MaxStaleness == 0:
		return -1
	default:
		return max(op.MaxStaleness.Truncate(time.Millisecond), time.Millisecond)
	}
}

// head asks for the head of a timeline, and returns its last SeqID.
func (t *Thread) head(ctx context.Context, timeline, level string) (last uint64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := history.Operation{Node: t.door.Node, Kind: history.KindHead, Level: level, Timeline: timeline}
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	head, err := t.door.SDK.Timeline(ctx, tidemark.TimelineID(timeline), at)
	begun.Outcome, begun.Error = ReadOutcome(err)
	begun.Staleness = untold(begun)
	if err == nil {
		begun.FirstSeqID, begun.HeadLast = uint64(head.First), uint64(head.Last)
		begun.HeadDigest = head.Digest.String()
	}
	t.end(begun)
	return begun.HeadLast, begun.Outcome == history.OK
}
