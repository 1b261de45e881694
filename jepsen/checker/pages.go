package checker

import (
	"cmp"

	"tidemark/jepsen/history"
)

// gap finds SeqIDs between a node's first retained message and its last one that
// its final reads do not show.
func gap(x *index, f *findings) {
	for _, t := range x.timelines {
		for _, n := range t.finals {
			next := max(n.first, 1)
			for _, s := range n.seen {
				if s.SeqID > next {
					f.add(t.name, []*history.Operation{s.op}, "node %s shows %d after %d", n.node, s.SeqID, next-1)
				}
				next = max(next, s.SeqID+1)
			}
			if next-1 != n.last {
				f.add(t.name, []*history.Operation{n.evidence()}, "node %s shows messages up to %d, and says that the last one is %d", n.node, next-1, n.last)
			}
		}
	}
}

// pageContiguity finds pages that are not a contiguous run, do not start where they
// were asked to, are longer than asked, or say wrongly whether there is more.
func pageContiguity(x *index, f *findings) {
	for _, t := range x.timelines {
		for i := range t.views {
			op := t.views[i].op
			if op.Kind == history.KindRead && !t.views[i].notFound {
				judgePage(t, op, f)
			}
		}
		for _, n := range t.finals {
			for _, op := range n.ops {
				judgePage(t, op, f)
			}
		}
	}
}

func judgePage(t *timeline, op *history.Operation, f *findings) {
	if problem := pageProblem(op); problem != "" {
		f.add(t.name, []*history.Operation{op}, "a page from node %q %s", op.Node, problem)
	}
}

// pageProblem says what is wrong with a page, or nothing.
func pageProblem(op *history.Operation) string {
	for i := 1; i < len(op.Messages); i++ {
		if op.Messages[i].SeqID != op.Messages[i-1].SeqID+1 {
			return "is not contiguous"
		}
	}
	if op.Limit > 0 && len(op.Messages) > op.Limit {
		return "is longer than its limit"
	}
	if len(op.Messages) == 0 {
		return emptyPageProblem(op)
	}
	first, last := op.Messages[0].SeqID, op.Messages[len(op.Messages)-1].SeqID
	oldest := max(op.FirstSeqID, 1)
	if first < oldest || last > op.HeadLast {
		return "shows messages that its head says are not there"
	}
	if backward(op) {
		if op.More != (first > oldest) {
			return "says wrongly whether there is more"
		}
		if want, known := backwardStart(op); known && last != want {
			return "does not start where it was asked to"
		}
		return ""
	}
	if op.More != (last < op.HeadLast) {
		return "says wrongly whether there is more"
	}
	if op.Start != history.FromTime && first != max(op.From, oldest) {
		return "does not start where it was asked to"
	}
	return ""
}

// emptyPageProblem is for pages without messages, which are right only where there are none.
func emptyPageProblem(op *history.Operation) string {
	oldest := max(op.FirstSeqID, 1)
	holds := op.HeadLast >= oldest
	want, known := backwardStart(op)
	switch {
	case op.Start == history.FromTime || !holds:
	case backward(op) && known && want >= oldest, !backward(op) && max(op.From, oldest) <= op.HeadLast:
		return "is empty although there are messages where it was asked to start"
	}
	if op.More {
		return "is empty and says that there is more"
	}
	return ""
}

func backward(op *history.Operation) bool {
	return op.Direction == history.Backward || op.Start == history.BeforeSeq || op.Start == history.Newest
}

// backwardStart is the SeqID that a backward page ends with, if that can be known.
func backwardStart(op *history.Operation) (uint64, bool) {
	switch op.Start {
	case history.Newest:
		return op.HeadLast, true
	case history.BeforeSeq:
		return min(max(op.From, 1)-1, op.HeadLast), true
	case history.FromTime:
		return 0, false
	default:
		return min(op.From, op.HeadLast), true
	}
}

// digestChain finds server times that run backwards within a timeline, messages
// whose digest is not what their reader computed, and pages that start their chain
// from another digest than that of the message before.
func digestChain(x *index, f *findings) {
	for _, t := range x.timelines {
		for _, n := range t.finals {
			for i := 1; i < len(n.seen); i++ {
				judgeTimes(t, n.seen[i-1], n.seen[i], f)
			}
			for _, op := range n.ops {
				judgeChain(t, op, f)
			}
		}
		for i := range t.views {
			op := t.views[i].op
			for j := 1; j < len(op.Messages); j++ {
				judgeTimes(t, sighting{&op.Messages[j-1], op, -1}, sighting{&op.Messages[j], op, -1}, f)
			}
			judgeChain(t, op, f)
		}
	}
}

func judgeTimes(t *timeline, a, b sighting, f *findings) {
	if b.ServerTime != 0 && cmp.Less(b.ServerTime, a.ServerTime) {
		f.add(t.name, []*history.Operation{a.op, b.op}, "on node %q the server time runs backwards from %d (%s) to %d (%s)",
			b.op.Node, a.SeqID, instant(a.ServerTime), b.SeqID, instant(b.ServerTime))
	}
}

func judgeChain(t *timeline, op *history.Operation, f *findings) {
	if op.BadDigest != 0 {
		f.add(t.name, []*history.Operation{op}, "the digest of %d from node %q is not that of the chain", op.BadDigest, op.Node)
	}
	if op.PreviousDigest == "" || len(op.Messages) == 0 {
		return
	}
	before, ok := t.reference[op.Messages[0].SeqID-1]
	if ok && before.Digest != "" && before.Digest != op.PreviousDigest {
		f.add(t.name, []*history.Operation{op, before.op}, "a page from node %q starts its chain from %.8s, and the digest of %d is %.8s",
			op.Node, op.PreviousDigest, before.SeqID, before.Digest)
	}
}
