package checker

import (
	"cmp"
	"slices"

	"tidemark/jepsen/history"
)

// realTimeOrder finds messages whose first append was invoked when the timeline was
// known to reach their SeqID already. So whatever was acknowledged, or read, before
// an append was invoked stands before it.
func realTimeOrder(x *index, f *findings) {
	for _, t := range x.timelines {
		for i := range t.messages {
			m := &t.messages[i]
			if m.seq == 0 || m.lo == never {
				continue
			}
			if k := t.frontier.before(m.lo); k.seq >= m.seq {
				f.add(t.name, []*history.Operation{k.op, t.firstTry(m)},
					"message %q took %d, and before its append was invoked the timeline was known to reach %d", m.id, m.seq, k.seq)
			}
		}
	}
}

// firstTry is the operation of the first attempt that did not fail.
func (t *timeline) firstTry(m *message) (op *history.Operation) {
	t.attemptsOf(m, func(a *attempt) bool {
		if a.outcome != history.Fail {
			op = a.op
		}
		return op == nil
	})
	return op
}

// expectedSeq finds conditional appends that succeeded after another SeqID than the
// expected one. A duplicate is judged only if every attempt of its message asked
// for the same, because otherwise another one may have been the first.
func expectedSeq(x *index, f *findings) {
	for _, t := range x.timelines {
		for i := range t.attempts {
			a := &t.attempts[i]
			if a.item.Expected == nil || a.outcome != history.OK || a.item.SeqID == *a.item.Expected+1 {
				continue
			}
			if a.item.Duplicate && !t.allExpect(&t.messages[a.message], *a.item.Expected) {
				continue
			}
			f.add(t.name, []*history.Operation{a.op}, "message %q was appended at %d, on the condition that the last SeqId was %d",
				a.item.MessageID, a.item.SeqID, *a.item.Expected)
		}
	}
}

func (t *timeline) allExpect(m *message, expected uint64) bool {
	all := true
	t.attemptsOf(m, func(a *attempt) bool {
		all = a.item.Expected != nil && *a.item.Expected == expected
		return all
	})
	return all
}

// atomicBatch finds atomic batches of which only a part is there at the end, whose
// messages do not stand one after the other in each timeline, or that a read saw
// half done. Items that others appended too are left out: those may have been first.
func atomicBatch(x *index, f *findings) {
	runs := make(map[*timeline][]run)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindBatch || op.Via != history.ViaAtomic {
			continue
		}
		for t, r := range x.batch(op, f) {
			runs[t] = append(runs[t], r)
		}
	}
	for _, t := range x.timelines {
		t.seenHalfDone(runs[t], f)
	}
}

// run is where the messages of one batch stand in one timeline.
type run struct {
	op          *history.Operation
	first, last uint64
	// skipped counts items since last that may stand elsewhere.
	skipped uint64
}

// batch judges one batch, and returns where it stands in each timeline.
func (x *index) batch(op *history.Operation, f *findings) map[*timeline]run {
	runs := make(map[*timeline]run)
	var there, missing *history.Item
	for i := range op.Items {
		item := &op.Items[i]
		t := x.byName[cmp.Or(item.Timeline, op.Timeline)]
		m := &t.messages[t.ids[item.MessageID]]
		r, begun := runs[t]
		switch {
		case t.attempts[m.first].next >= 0:
			if begun {
				r.skipped++
				runs[t] = r
			}
			continue
		case m.readBack:
			there = item
		case len(t.finals) > 0:
			missing = item
		}
		switch {
		case m.seq == 0:
			continue
		case !begun:
			r = run{op: op, first: m.seq}
		case m.seq <= r.last || m.seq > r.last+1+r.skipped:
			f.add(t.name, []*history.Operation{op}, "items[%d] of an atomic batch stands at %d, and the item before it in its timeline at %d", i, m.seq, r.last)
			return nil
		}
		r.last, r.skipped = m.seq, 0
		runs[t] = r
	}
	if there != nil && missing != nil {
		f.add(missing.Timeline, []*history.Operation{op}, "message %q of an atomic batch is there at the end, and message %q is not", there.MessageID, missing.MessageID)
	}
	return runs
}

// seenHalfDone finds heads that stand within a batch.
func (t *timeline) seenHalfDone(runs []run, f *findings) {
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	if len(runs) == 0 {
		return
	}
	for i := range t.views {
		v := &t.views[i]
		if !v.head {
			continue
		}
		// The last batch that begins at or before the head.
		at, found := slices.BinarySearchFunc(runs, v.last, func(r run, last uint64) int { return cmp.Compare(r.first, last) })
		if !found {
			at--
		}
		if at >= 0 && v.last < runs[at].last {
			f.add(t.name, []*history.Operation{runs[at].op, v.op}, "an atomic batch stands at %d to %d, and a read showed a timeline that ends at %d",
				runs[at].first, runs[at].last, v.last)
		}
	}
}
