package workload

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// cursors acknowledges, also backwards and from several devices of one reader, by
// Ack and in reads, and lists cursors.
type cursors struct{}

func (cursors) Name() string { return "cursor" }
func (cursors) Threads() int { return 6 }

// readers is how many readers there are. Few, so that they meet.
const readers = 5

func (cursors) Run(ctx context.Context, t *Thread) {
	for {
		t.enterAny(anyDoor)
		reader := fmt.Sprintf("reader/%d", 1+t.rand.IntN(readers))
		switch n := t.rand.IntN(10); {
		case n < 5:
			t.ack(ctx, reader)
		case n < 7:
			t.readAndAck(ctx, reader)
		case n < 9:
			t.listByTimeline(ctx, t.Board.choose(t.rand), t.level())
		default:
			t.listByReader(ctx, reader, t.level())
		}
		if !t.pause(ctx) {
			return
		}
	}
}

// mark chooses how far to acknowledge: mostly near the end, now and then anywhere.
func (t *Thread) mark(timeline string) (delivered, read uint64) {
	last := t.Board.last(timeline)
	if last == 0 {
		return 0, 0
	}
	delivered = last - t.rand.Uint64N(min(last, 5))
	if t.chance(0.3) {
		delivered = 1 + t.rand.Uint64N(last)
	}
	if t.chance(0.5) {
		read = 1 + t.rand.Uint64N(delivered)
	}
	return delivered, read
}

func (t *Thread) ack(ctx context.Context, reader string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := history.Operation{Node: t.door.Node, Kind: history.KindAck, Reader: reader}
	var items []client.AckItem
	asked := map[string]bool{}
	for range 1 + t.rand.IntN(3) {
		timeline := t.Board.choose(t.rand)
		delivered, read := t.mark(timeline)
		if delivered == 0 || asked[timeline] {
			continue
		}
		asked[timeline] = true
		items = append(items, client.AckItem{
			Timeline: tidemark.TimelineID(timeline), Delivered: tidemark.SeqID(delivered), Read: tidemark.SeqID(read),
		})
		op.Acks = append(op.Acks, history.CursorSeen{Timeline: timeline, Reader: reader, Delivered: delivered, Read: read})
	}
	if len(items) == 0 {
		return
	}
	begun := t.process.Begin(op)
	answer, err := t.door.SDK.Ack(ctx, tidemark.ReaderID(reader), items...)
	begun.Outcome, begun.Error = writeOutcome(err)
	for _, cursor := range answer {
		begun.Cursors = append(begun.Cursors, cursorOf(cursor))
	}
	t.end(begun)
}

// readAndAck acknowledges within a read, as a reader does who pages on.
func (t *Thread) readAndAck(ctx context.Context, reader string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	timeline := t.Board.choose(t.rand)
	delivered, read := t.mark(timeline)
	if delivered == 0 {
		return
	}
	op := history.Operation{
		Node: t.door.Node, Kind: history.KindRead, Level: history.Linearizable, Timeline: timeline, Reader: reader,
		Start: history.FromSeq, From: delivered + 1, Direction: history.Forward, Limit: maxPage,
		Acks: []history.CursorSeen{{Timeline: timeline, Reader: reader, Delivered: delivered, Read: read}},
	}
	begun := t.process.Begin(op)
	page, err := t.door.SDK.Read(ctx, tidemark.TimelineID(timeline), client.From(tidemark.SeqID(delivered+1)),
		client.Limit(maxPage), client.AckPrevious(tidemark.ReaderID(reader), tidemark.SeqID(delivered), tidemark.SeqID(read)))
	if begun.Outcome, begun.Error = writeOutcome(err); page != nil {
		Show(begun, page)
	}
	t.end(begun)
}

func cursorOf(c client.Cursor) history.CursorSeen {
	seen := history.CursorSeen{
		Timeline: string(c.Timeline), Reader: string(c.Reader), Delivered: uint64(c.Delivered), Read: uint64(c.Read), Floor: uint64(c.Floor),
	}
	if c.UnreadKnown {
		seen.Unread, seen.Last = &c.Unread, uint64(c.Last)
	}
	return seen
}

func (t *Thread) listByTimeline(ctx context.Context, timeline, level string) {
	t.list(ctx, history.Operation{Timeline: timeline, Level: level}, func(ctx context.Context, at client.Consistency) iter.Seq2[client.Cursor, error] {
		return t.door.SDK.TimelineCursors(ctx, tidemark.TimelineID(timeline), at)
	})
}

func (t *Thread) listByReader(ctx context.Context, reader, level string) {
	t.list(ctx, history.Operation{Reader: reader, Level: level}, func(ctx context.Context, at client.Consistency) iter.Seq2[client.Cursor, error] {
		return t.door.SDK.ReaderCursors(ctx, tidemark.ReaderID(reader), at)
	})
}

func (t *Thread) list(ctx context.Context, op history.Operation, list func(context.Context, client.Consistency) iter.Seq2[client.Cursor, error]) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op.Node, op.Kind = t.door.Node, history.KindCursors
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	begun.Outcome, begun.Error = List(begun, list(ctx, at))
	t.end(begun)
}

// List records the cursors of a listing, and returns how it ended.
func List(op *history.Operation, cursors iter.Seq2[client.Cursor, error]) (history.Outcome, string) {
	for cursor, err := range cursors {
		if err != nil {
			op.Cursors = nil
			// A listing of a timeline that is not there shows that there is no cursor.
			if errors.Is(err, tidemark.ErrTimelineNotFound) {
				return history.OK, history.TimelineNotFound
			}
			return history.Fail, reasonOf(err)
		}
		op.Cursors = append(op.Cursors, cursorOf(cursor))
	}
	return history.OK, ""
}
