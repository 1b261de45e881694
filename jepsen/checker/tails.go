package checker

import (
	"tidemark/jepsen/history"
)

// tailContinuity finds subscriptions that left messages out, delivered one twice or out
// of order, or had not got everything when the load had ended. A subscription is a
// process; it goes on behind its last message, also through another node.
func tailContinuity(x *index, f *findings) { continuity(x.tails, "tail", f) }

func continuity(operations []*history.Operation, reader string, f *findings) {
	before := make(map[int64]*history.Operation)
	for _, op := range operations {
		last := uint64(0)
		if b := before[op.Process]; b != nil {
			last = b.Messages[len(b.Messages)-1].SeqID
		} else if op.Start == history.FromSeq {
			last = op.From // it began there
		}
		this := []*history.Operation{before[op.Process], op}
		if op.From != last {
			f.add(op.Timeline, this, "a %s went on after %d, having got messages up to %d", reader, op.From, last)
		}
		if len(op.Messages) == 0 { // the end
			if op.HeadLast > last {
				f.add(op.Timeline, this, "a %s had got messages up to %d when the load had ended, of %d", reader, last, op.HeadLast)
			}
			continue
		}
		for i := range op.Messages {
			seq := op.Messages[i].SeqID
			switch {
			case seq == last+1:
			case seq <= last:
				f.add(op.Timeline, this, "a %s through node %q got %d after %d: twice, or out of order", reader, op.Node, seq, last)
			default:
				f.add(op.Timeline, this, "a %s through node %q got %d after %d: %d left out", reader, op.Node, seq, last, seq-last-1)
			}
			last = seq
		}
		before[op.Process] = op
	}
}
