package workload

import (
	"context"

	"tidemark/client"
	"tidemark/jepsen/history"
)

// streams appends through the SDK, whose clients share a pipelined stream.
type streams struct{}

func (streams) Name() string { return "stream" }
func (streams) Threads() int { return 24 }

func (streams) Run(ctx context.Context, t *Thread) {
	for {
		t.stay()
		draft := t.draft(t.Board.choose(t.rand))
		if outcome, _ := t.appendOne(ctx, history.ViaStream, draft, nil); outcome == history.Unknown {
			// Settled as the SDK tells its users to: by the same draft once more.
			t.appendOne(ctx, history.ViaStream, draft, nil)
		}
		if !t.pause(ctx) {
			return
		}
	}
}

// unaries appends by single calls to single nodes, and tries again elsewhere.
type unaries struct{}

func (unaries) Name() string { return "unary" }
func (unaries) Threads() int { return 8 }

// unaryAttempts bounds how often one message is tried.
const unaryAttempts = 5

func (unaries) Run(ctx context.Context, t *Thread) {
	for {
		t.enterAny(hasUnary)
		draft := t.draft(t.Board.choose(t.rand))
		for range unaryAttempts {
			outcome, reason := t.appendOne(ctx, history.ViaUnary, draft, nil)
			if outcome == history.OK || reason == history.MessageIDConflict || !t.pause(ctx) {
				break
			}
			t.enterAny(hasUnary)
		}
		if !t.pause(ctx) {
			return
		}
	}
}

func hasUnary(d *Door) bool { return d.Unary != nil }
func anyDoor(*Door) bool    { return true }

// batches appends several messages in one call: to several timelines or one, each
// for itself or all or nothing.
type batches struct{}

func (batches) Name() string { return "batch" }
func (batches) Threads() int { return 4 }

// maxBatch is the most messages of one batch of this workload.
const maxBatch = 12

func (batches) Run(ctx context.Context, t *Thread) {
	for {
		t.enterAny(anyDoor)
		var drafts []client.Draft
		same := t.chance(0.3)
		timeline := t.Board.choose(t.rand)
		for range 1 + t.rand.IntN(maxBatch) {
			if !same {
				timeline = t.Board.choose(t.rand)
			}
			if old, ok := t.Board.recent(timeline, t.rand); ok && t.chance(0.05) && !contains(drafts, old) {
				drafts = append(drafts, old)
				continue
			}
			drafts = append(drafts, t.draft(timeline))
		}
		t.appendBatch(ctx, drafts, t.chance(0.5))
		if !t.pause(ctx) {
			return
		}
	}
}

func contains(drafts []client.Draft, draft client.Draft) bool {
	for i := range drafts {
		if drafts[i].Timeline == draft.Timeline && drafts[i].ID == draft.ID {
			return true
		}
	}
	return false
}

func (t *Thread) appendBatch(ctx context.Context, drafts []client.Draft, atomic bool) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := history.Operation{Node: t.door.Node, Kind: history.KindBatch, Via: history.ViaBatch}
	var options []client.BatchOption
	if atomic {
		op.Via = history.ViaAtomic
		options = append(options, client.Atomic())
	}
	for _, draft := range drafts {
		t.Board.sent(draft)
		op.Items = append(op.Items, itemOf(draft, nil))
	}
	begun := t.process.Begin(op)
	results, err := t.door.SDK.AppendBatch(ctx, drafts, options...)
	begun.Outcome, begun.Error = writeOutcome(err)
	for i := range begun.Items {
		item := &begun.Items[i]
		item.Outcome, item.Error = begun.Outcome, begun.Error
		if i >= len(results) {
			continue
		}
		if item.Outcome, item.Error = writeOutcome(results[i].Err); item.Outcome == history.OK {
			fill(item, &results[i].AppendResult)
			t.Board.reached(item.Timeline, item.SeqID)
		}
	}
	begun.Outcome = together(begun)
	t.end(begun)
}

// together is the outcome of a batch: OK if all of it was appended, Fail if nothing
// was, and otherwise Unknown unless each item's is known; then OK stands for a batch
// that was answered, and the items say what became of them.
func together(op *history.Operation) history.Outcome {
	failed := 0
	for i := range op.Items {
		switch op.Items[i].Outcome {
		case history.Unknown:
			return history.Unknown
		case history.Fail:
			failed++
		}
	}
	if failed == len(op.Items) {
		return history.Fail
	}
	return history.OK
}

// reuses sends the same message id from several clients.
type reuses struct{}

func (reuses) Name() string { return "reuse" }
func (reuses) Threads() int { return 4 }

func (reuses) Run(ctx context.Context, t *Thread) {
	for {
		t.enterAny(anyDoor)
		timeline := t.Board.choose(t.rand)
		draft, ok := t.Board.recent(timeline, t.rand)
		if !ok {
			draft = t.draft(timeline)
		}
		if t.chance(0.1) {
			// Other content: a conflict, unless the first one never got there.
			draft.Payload = t.payload()
		}
		via := history.ViaStream
		if t.door.Unary != nil && t.chance(0.5) {
			via = history.ViaUnary
		}
		t.appendOne(ctx, via, draft, nil)
		if !t.pause(ctx) {
			return
		}
	}
}

// races appends on the condition that nobody else did: of all that expect the same
// last SeqID at most one may succeed.
type races struct{}

func (races) Name() string { return "race" }
func (races) Threads() int { return 6 }

// racedTimelines is how many of the cold timelines are raced for.
const racedTimelines = 3

func (races) Run(ctx context.Context, t *Thread) {
	var timelines []string
	timelines = append(timelines, t.Board.Timelines()...)
	timelines = timelines[max(0, len(timelines)-racedTimelines):]
	for {
		t.enterAny(anyDoor)
		timeline := timelines[t.rand.IntN(len(timelines))]
		expected := t.Board.last(timeline)
		if t.chance(0.3) {
			if last, ok := t.head(ctx, timeline, history.Linearizable); ok {
				expected = last
			}
		}
		t.appendOne(ctx, history.ViaStream, t.draft(timeline), &expected)
		if !t.pause(ctx) {
			return
		}
	}
}
