package checker

import (
	"fmt"
	"slices"

	"tidemark/jepsen/history"
)

// followAll adds what tails of all timelines got: every message, some time after its
// commit, in batches of any size.
func (s *simulation) followAll() {
	for _, t := range s.timelines {
		for range 2 {
			s.process++
			s.follow(t, s.process)
		}
	}
}

func (s *simulation) follow(t *simTimeline, process int64) {
	at, got := s.commits[0], 0
	operation := func(kind history.Kind) *history.Operation {
		op := &history.Operation{
			ID: int64(len(s.ops)) + 1, Process: process, Client: "tail", Kind: kind, Timeline: t.name,
			Node: s.nodes[s.rand.IntN(3)].name, Outcome: history.OK, From: uint64(got), Invoked: at, Completed: at + 1,
		}
		s.ops = append(s.ops, op)
		return op
	}
	for got < len(t.messages) {
		end := min(len(t.messages), got+1+s.rand.IntN(5))
		at = max(at+2, s.commits[t.index[end-1]-1]+s.delay())
		operation(history.KindTail).Messages = slices.Clone(t.messages[got:end])
		got = end
	}
	at = max(at+2, s.now)
	operation(history.KindTailEnd).HeadLast = uint64(len(t.messages))
}

// tailed changes the operation of a tail that fits, of which there are many.
func (m *mutant) tailed(fits func(*history.Operation) bool, change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindTail && op.From > 0 && fits(op)
	}, change)
}

var tailMutations = []mutation{
	{"leave a message out of a tail", "tail-continuity", func(m *mutant) bool {
		return m.tailed(func(op *history.Operation) bool { return len(op.Messages) > 2 }, func(op *history.Operation) {
			op.Messages = slices.Delete(op.Messages, 1, 2)
		})
	}},
	{"leave messages out when a tail goes on elsewhere", "tail-continuity", func(m *mutant) bool {
		return m.tailed(func(op *history.Operation) bool { return len(op.Messages) > 1 }, func(op *history.Operation) {
			op.Messages, op.From = op.Messages[1:], op.From+1
		})
	}},
	{"deliver a message twice to a tail", "tail-continuity", func(m *mutant) bool {
		return m.tailed(func(op *history.Operation) bool { return len(op.Messages) > 1 }, func(op *history.Operation) {
			op.Messages = slices.Insert(op.Messages, 1, op.Messages[0])
		})
	}},
	{"deliver out of order", "tail-continuity", func(m *mutant) bool {
		return m.tailed(func(op *history.Operation) bool { return len(op.Messages) > 2 }, func(op *history.Operation) {
			op.Messages[0], op.Messages[1] = op.Messages[1], op.Messages[0]
		})
	}},
	{"never deliver the last messages", "tail-continuity", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindTailEnd }, func(op *history.Operation) {
			op.HeadLast++
		})
	}},
	{"deliver what nobody sent", "unexpected-message", func(m *mutant) bool {
		return m.tailed(func(*history.Operation) bool { return true }, func(op *history.Operation) {
			op.Messages[0].MessageID = fmt.Sprint("from-nowhere-", op.ID)
		})
	}},
}
