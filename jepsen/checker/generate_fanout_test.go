package checker

import (
	"fmt"
	"slices"

	"tidemark/jepsen/history"
)

// fanOutAll adds messages of one group, which three inboxes get, reads of the inboxes,
// and what each node holds at the end.
func (s *simulation) fanOutAll() {
	const group = "group/1"
	inboxes := []string{"inbox/1", "inbox/2", "inbox/3"}
	held := map[string][]history.Seen{}
	s.process++
	process := s.process
	operation := func(kind history.Kind, timeline string) *history.Operation {
		s.now += s.delay()
		op := &history.Operation{ID: int64(len(s.ops)) + 1, Process: process, Client: "fan-out", Kind: kind, Timeline: timeline,
			Outcome: history.OK, Invoked: s.now, Completed: s.now + 1}
		s.now++
		s.ops = append(s.ops, op)
		return op
	}
	for n := range 20 {
		op := operation(history.KindFanOut, group)
		op.Inboxes = inboxes
		m := history.Seen{SeqID: uint64(n + 1), MessageID: fmt.Sprint("f", n), Content: s.rand.Uint64()}
		op.Items = []history.Item{{Timeline: group, MessageID: m.MessageID, Content: m.Content, Outcome: history.OK, SeqID: m.SeqID}}
		held[group] = append(held[group], m)
		for _, inbox := range inboxes {
			entry := m
			entry.SeqID, entry.Source = uint64(len(held[inbox])+1), &history.Source{Timeline: group, SeqID: m.SeqID}
			held[inbox] = append(held[inbox], entry)
		}
		read := operation(history.KindInbox, inboxes[n%3])
		read.Level, read.HeadLast = history.Linearizable, uint64(n+1)
	}
	for _, node := range s.nodes {
		s.process++
		process = s.process
		for _, name := range append([]string{group}, inboxes...) {
			op := operation(history.KindFinalInbox, name)
			op.Node, op.Messages, op.HeadLast, op.HeadDigest = node.name, slices.Clone(held[name]), uint64(len(held[name])), name
		}
	}
}

// inbox changes what a node holds of an inbox at the end.
func (m *mutant) inbox(change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindFinalInbox && op.Timeline == "inbox/2" && op.Node == "n2"
	}, change)
}

var fanOutMutations = []mutation{
	{"deliver to all inboxes but one", "fan-out", func(m *mutant) bool {
		return m.inbox(func(op *history.Operation) { op.Messages = op.Messages[:len(op.Messages)-1] })
	}},
	{"deliver twice to an inbox", "fan-out", func(m *mutant) bool {
		return m.inbox(func(op *history.Operation) {
			again := op.Messages[len(op.Messages)-1]
			again.SeqID++
			op.Messages = append(op.Messages, again)
		})
	}},
	{"deliver out of order", "fan-out", func(m *mutant) bool {
		return m.inbox(func(op *history.Operation) {
			a, b := &op.Messages[3], &op.Messages[4]
			*a, *b = *b, *a
			a.SeqID, b.SeqID = b.SeqID, a.SeqID
		})
	}},
	{"deliver another message", "fan-out", func(m *mutant) bool {
		return m.inbox(func(op *history.Operation) { op.Messages[5].Content++ })
	}},
	{"lose a message that was fanned out", "fan-out", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindFinalInbox && op.Timeline == "group/1" },
			func(op *history.Operation) { op.Messages = op.Messages[:len(op.Messages)-1] })
	}},
	{"show an inbox without what was acknowledged", "fan-out", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindInbox && op.HeadLast > 3 },
			func(op *history.Operation) { op.HeadLast-- })
	}},
}
