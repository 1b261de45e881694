package checker

import (
	"slices"

	"tidemark/jepsen/history"
)

// feedAll adds what readers of the change feed got: the messages of all timelines, as
// tails do, and where in the feed they stand.
func (s *simulation) feedAll() {
	for number, t := range s.timelines {
		for range 2 {
			s.process++
			begun := len(s.ops)
			s.follow(t, s.process)
			for _, op := range s.ops[begun:] {
				feed(op, t, uint64(number))
			}
		}
	}
}

// feed makes an operation of a tail one of the change feed.
func feed(op *history.Operation, t *simTimeline, number uint64) {
	op.Client, op.Kind = "changes", map[history.Kind]history.Kind{history.KindTail: history.KindChanges, history.KindTailEnd: history.KindChangesEnd}[op.Kind]
	for i := range op.Messages {
		seq := op.Messages[i].SeqID
		op.Places = append(op.Places, history.Place{Index: uint64(t.index[seq-1]), Offset: number<<32 + seq})
	}
}

// fed changes the operation of a reader of the change feed that fits, of which there are many.
func (m *mutant) fed(fits func(*history.Operation) bool, change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindChanges && op.From > 0 && fits(op)
	}, change)
}

var changeMutations = []mutation{
	{"leave the rest of an entry out of the feed", "change-feed", func(m *mutant) bool {
		return m.fed(func(op *history.Operation) bool { return len(op.Messages) > 1 }, func(op *history.Operation) {
			op.Messages, op.Places, op.From = op.Messages[1:], op.Places[1:], op.From+1
		})
	}},
	{"have a change in the feed twice", "change-feed", func(m *mutant) bool {
		return m.fed(func(op *history.Operation) bool { return len(op.Messages) > 1 }, func(op *history.Operation) {
			op.Messages, op.Places = slices.Insert(op.Messages, 1, op.Messages[0]), slices.Insert(op.Places, 1, op.Places[0])
		})
	}},
	{"have a change at another place for one reader", "change-feed", func(m *mutant) bool {
		return m.fed(func(*history.Operation) bool { return true }, func(op *history.Operation) { op.Places[0].Offset++ })
	}},
	{"have a change before the one that came before", "change-feed", func(m *mutant) bool {
		return m.fed(func(*history.Operation) bool { return true }, func(op *history.Operation) { op.Places[0].Index = 0 })
	}},
	{"never have the last change in the feed", "change-feed", func(m *mutant) bool {
		return m.operation(func(op *history.Operation) bool { return op.Kind == history.KindChangesEnd }, func(op *history.Operation) {
			op.HeadLast++
		})
	}},
	{"forget places of changes", "malformed-history", func(m *mutant) bool {
		return m.fed(func(*history.Operation) bool { return true }, func(op *history.Operation) { op.Places = op.Places[1:] })
	}},
}
