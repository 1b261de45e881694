package checker

import (
	"tidemark/jepsen/history"
)

// retention judges timelines with a policy: what it keeps is there, a page starts where
// it was to start or where the timeline says that it starts, each message is the one that
// was acknowledged at its SeqID, all nodes hold the same, and something was trimmed.
func retention(x *index, f *findings) {
	acked := make(map[string]map[uint64]*history.Operation)
	sent := make(map[string]map[string]*history.Operation)
	last := make(map[string]*history.Operation) // the final page of the first node
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindKept || len(op.Items) == 0 {
			continue
		}
		if sent[op.Timeline] == nil {
			sent[op.Timeline], acked[op.Timeline] = make(map[string]*history.Operation), make(map[uint64]*history.Operation)
		}
		item := &op.Items[0]
		sent[op.Timeline][item.MessageID] = op
		if op.Outcome == history.OK {
			acked[op.Timeline][item.SeqID] = op
		}
	}
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if len(op.Items) > 0 || op.Kind != history.KindKept && op.Kind != history.KindFinalKept || op.Outcome != history.OK || op.HeadLast == 0 {
			continue
		}
		judgeKept(op, sent[op.Timeline], acked[op.Timeline], f)
		if op.Kind != history.KindFinalKept {
			continue
		}
		if other := last[op.Timeline]; other == nil {
			last[op.Timeline] = op
		} else if other.HeadDigest != op.HeadDigest || other.HeadLast != op.HeadLast {
			f.add(op.Timeline, []*history.Operation{other, op}, "it ends at %d with digest %.8s on node %s, and at %d with %.8s on node %s",
				other.HeadLast, other.HeadDigest, other.Node, op.HeadLast, op.HeadDigest, op.Node)
		}
		for seq, op2 := range acked[op.Timeline] {
			if seq > op.HeadLast {
				f.add(op.Timeline, []*history.Operation{op2, op}, "a message was acknowledged at %d, and node %s ends at %d", seq, op.Node, op.HeadLast)
			}
		}
	}
}

// judgeKept judges one page.
func judgeKept(op *history.Operation, sent map[string]*history.Operation, acked map[uint64]*history.Operation, f *findings) {
	this := []*history.Operation{op}
	if kept := op.HeadLast + 1 - op.FirstSeqID; op.FirstSeqID > 1 && kept < op.Keep {
		f.add(op.Timeline, this, "the timeline holds %d to %d, which are %d messages, and the policy keeps %d", op.FirstSeqID, op.HeadLast, kept, op.Keep)
	}
	if op.BadDigest != 0 {
		f.add(op.Timeline, this, "the digest of %d is not that of the chain", op.BadDigest)
	}
	next := max(op.From, op.FirstSeqID)
	if len(op.Messages) == 0 && next <= op.HeadLast {
		f.add(op.Timeline, this, "a page from %d is empty, and the timeline holds %d to %d", op.From, op.FirstSeqID, op.HeadLast)
	}
	for _, s := range op.Messages {
		if s.SeqID != next {
			f.add(op.Timeline, this, "message %d stands where %d is expected, in a timeline that holds %d to %d", s.SeqID, next, op.FirstSeqID, op.HeadLast)
			return
		}
		next++
		from := sent[s.MessageID]
		if from == nil || from.Items[0].Content != s.Content {
			f.add(op.Timeline, this, "message %q at %d was never sent, or with other content", s.MessageID, s.SeqID)
		}
		if a := acked[s.SeqID]; a != nil && a.Items[0].MessageID != s.MessageID {
			f.add(op.Timeline, []*history.Operation{a, op}, "message %q was acknowledged at %d, where %q stands", a.Items[0].MessageID, s.SeqID, s.MessageID)
		}
	}
}
