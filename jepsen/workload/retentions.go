package workload

import (
	"context"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// retentions appends to timelines of which a policy keeps the newest messages, and reads
// them from anywhere, also from what is gone.
type retentions struct{}

func (retentions) Name() string { return "retention" }
func (retentions) Threads() int { return 3 }

const (
	keptPrefix = "kept/"
	// keptMessages is how many the policy keeps.
	keptMessages = 20
)

// KeptTimelines are those with a policy.
func KeptTimelines() []string { return []string{keptPrefix + "1", keptPrefix + "2"} }

func (retentions) Run(ctx context.Context, t *Thread) {
	ready := false
	for {
		t.enterAny(anyDoor)
		timeline := KeptTimelines()[t.rand.IntN(len(KeptTimelines()))]
		switch {
		case !ready:
			ready = t.setPolicy(ctx)
		case t.chance(0.7):
			t.appendKept(ctx, timeline)
		default:
			t.readKept(ctx, timeline, t.level())
		}
		if !t.pause(ctx) {
			return
		}
	}
}

func (t *Thread) setPolicy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	return t.door.SDK.SetPolicy(ctx, tidemark.Policy{Prefix: keptPrefix, MaxMessages: keptMessages}) == nil
}

func (t *Thread) appendKept(ctx context.Context, timeline string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	draft := t.draft(timeline)
	op := t.process.Begin(history.Operation{
		Node: t.door.Node, Kind: history.KindKept, Via: history.ViaStream, Timeline: timeline, Keep: keptMessages,
		Items: []history.Item{itemOf(draft, nil)},
	})
	result, err := t.door.SDK.Append(ctx, draft)
	op.Outcome, op.Error = writeOutcome(err)
	item := &op.Items[0]
	item.Outcome, item.Error = op.Outcome, op.Error
	if err == nil {
		fill(item, result)
		t.Board.reached(timeline, item.SeqID)
	}
	t.end(op)
}

func (t *Thread) readKept(ctx context.Context, timeline, level string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	from := 1 + t.rand.Uint64N(t.Board.last(timeline)+2)
	op := history.Operation{
		Node: t.door.Node, Kind: history.KindKept, Level: level, Timeline: timeline, Keep: keptMessages,
		Start: history.FromSeq, From: from, Direction: history.Forward, Limit: maxPage,
	}
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	page, err := t.door.SDK.Read(ctx, tidemark.TimelineID(timeline), client.From(tidemark.SeqID(from)), client.Limit(maxPage), at)
	if begun.Outcome, begun.Error = ReadOutcome(err); page != nil {
		Show(begun, page)
	}
	t.end(begun)
}
