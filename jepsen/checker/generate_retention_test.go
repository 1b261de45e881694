package checker

import (
	"fmt"
	"slices"

	"tidemark/jepsen/history"
)

// keepAll adds appends to a timeline of which the newest ten are kept, reads of it, and
// what each node holds at the end.
func (s *simulation) keepAll() {
	const timeline, keep = "kept/1", 10
	s.process++
	process, all := s.process, []history.Seen(nil)
	operation := func(kind history.Kind) *history.Operation {
		s.now += s.delay()
		op := &history.Operation{ID: int64(len(s.ops)) + 1, Process: process, Client: "retention", Kind: kind, Timeline: timeline,
			Keep: keep, Outcome: history.OK, Invoked: s.now, Completed: s.now + 1}
		s.now++
		s.ops = append(s.ops, op)
		return op
	}
	show := func(op *history.Operation, first int) {
		op.From, op.FirstSeqID, op.HeadLast, op.HeadDigest = 1, uint64(first), uint64(len(all)), fmt.Sprint(len(all))
		op.Messages = slices.Clone(all[first-1:])
	}
	for n := range 40 {
		op := operation(history.KindKept)
		m := history.Seen{SeqID: uint64(n + 1), MessageID: fmt.Sprint("k", n), Content: s.rand.Uint64()}
		op.Items = []history.Item{{Timeline: timeline, MessageID: m.MessageID, Content: m.Content, Outcome: history.OK, SeqID: m.SeqID}}
		all = append(all, m)
		read := operation(history.KindKept)
		read.Level = history.Linearizable
		show(read, max(1, n-14))
	}
	for _, node := range s.nodes {
		s.process++
		process = s.process
		op := operation(history.KindFinalKept)
		op.Node = node.name
		show(op, 31)
	}
}

// kept changes a page of a timeline from which something is gone.
func (m *mutant) kept(change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindKept && len(op.Items) == 0 && op.FirstSeqID > 5
	}, change)
}

var retentionMutations = []mutation{
	{"trim what the policy keeps", "retention", func(m *mutant) bool {
		return m.kept(func(op *history.Operation) {
			op.FirstSeqID, op.Messages = op.HeadLast-8, op.Messages[len(op.Messages)-9:]
		})
	}},
	{"leave out a message that is not gone", "retention", func(m *mutant) bool {
		return m.kept(func(op *history.Operation) { op.Messages = slices.Delete(op.Messages, 2, 3) })
	}},
	{"start a page behind a gap that nobody explains", "retention", func(m *mutant) bool {
		return m.kept(func(op *history.Operation) { op.Messages = op.Messages[1:] })
	}},
	{"end a timeline with a policy differently on one node", "retention", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindFinalKept && op.Node == "n3" },
			func(op *history.Operation) { op.HeadDigest = "feed" })
	}},
	{"lose an acknowledged message of a timeline with a policy", "retention", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindFinalKept },
			func(op *history.Operation) { op.HeadLast--; op.Messages = op.Messages[:len(op.Messages)-1] })
	}},
}
