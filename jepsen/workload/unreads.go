package workload

import (
	"context"
	"fmt"
	"iter"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// unreads are devices of the users that send: they read a part of what comes, clear a
// history now and then, mark something as unread again, and look at their lists of
// conversations, whose counts are judged.
type unreads struct{}

func (unreads) Name() string { return "unread" }
func (unreads) Threads() int { return 4 }

// devices is how many devices each user has.
const devices = 2

func (unreads) Run(ctx context.Context, t *Thread) {
	for {
		t.enterAny(anyDoor)
		reader := fmt.Sprintf("%s#%d", t.door.Name, 1+t.rand.IntN(devices))
		switch n := t.rand.IntN(10); {
		case n < 5:
			t.markOne(ctx, reader, t.Board.choose(t.rand))
		case n < 8:
			t.listByReader(ctx, reader, t.level())
		default:
			t.listConversations(ctx, reader, t.level())
		}
		if !t.pause(ctx) {
			return
		}
	}
}

// markOne acknowledges, forward or back, and now and then with a floor.
func (t *Thread) markOne(ctx context.Context, reader, timeline string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	delivered, read := t.mark(timeline)
	if delivered == 0 {
		return
	}
	asked := history.CursorSeen{Timeline: timeline, Reader: reader, Delivered: delivered, Read: read}
	if t.chance(0.1) {
		asked.Floor = 1 + t.rand.Uint64N(delivered)
	}
	op := t.process.Begin(history.Operation{
		Node: t.door.Node, Kind: history.KindAck, Reader: reader, Acks: []history.CursorSeen{asked}, Rewind: t.chance(0.2),
	})
	var answer []client.Cursor
	var err error
	if op.Rewind {
		item := client.RewindItem{Timeline: tidemark.TimelineID(timeline), Delivered: seqOf(delivered), Read: seqOf(read)}
		if asked.Floor > 0 {
			item.Floor = seqOf(asked.Floor)
		}
		answer, err = t.door.SDK.Rewind(ctx, tidemark.ReaderID(reader), item)
	} else {
		answer, err = t.door.SDK.Ack(ctx, tidemark.ReaderID(reader), client.AckItem{
			Timeline: tidemark.TimelineID(timeline), Delivered: tidemark.SeqID(delivered), Read: tidemark.SeqID(read), Floor: tidemark.SeqID(asked.Floor),
		})
	}
	op.Outcome, op.Error = writeOutcome(err)
	for _, cursor := range answer {
		op.Cursors = append(op.Cursors, cursorOf(cursor))
	}
	t.end(op)
}

func seqOf(seq uint64) *tidemark.SeqID { return (*tidemark.SeqID)(&seq) }

// listConversations is not complete: a timeline that gets a message meanwhile may be left out.
func (t *Thread) listConversations(ctx context.Context, reader, level string) {
	op := history.Operation{Reader: reader, Level: level, More: true}
	t.list(ctx, op, func(ctx context.Context, at client.Consistency) iter.Seq2[client.Cursor, error] {
		return t.door.SDK.Conversations(ctx, tidemark.ReaderID(reader), at)
	})
}
