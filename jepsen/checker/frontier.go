package checker

import (
	"cmp"
	"slices"
	"time"

	"tidemark/jepsen/history"
)

// known says that something, at key (a time or a log position), is known to show or
// to hold everything up to seq.
type known struct {
	key int64
	seq uint64
	op  *history.Operation
}

// frontier finds the largest SeqID that is known up to a key. Its entries are
// ordered by key, and hold the largest seq so far with the operation that showed it.
type frontier []known

// newFrontier orders what is known.
func newFrontier(all []known) frontier {
	slices.SortStableFunc(all, func(a, b known) int { return cmp.Compare(a.key, b.key) })
	for i := 1; i < len(all); i++ {
		if all[i-1].seq > all[i].seq {
			all[i].seq, all[i].op = all[i-1].seq, all[i-1].op
		}
	}
	return all
}

// below is what is known at keys less than key.
func (f frontier) below(key int64) known {
	at, _ := slices.BinarySearchFunc(f, key, func(k known, key int64) int { return cmp.Compare(k.key, key) })
	if at == 0 {
		return known{}
	}
	return f[at-1]
}

// before is what had been shown to anyone before a time.
func (f frontier) before(at time.Duration) known { return f.below(int64(at)) }

// buildFrontier gathers all that clients were told about how far the timeline
// reaches: by acknowledgements, and by reads of every level, because what any node
// shows is committed.
func (t *timeline) buildFrontier() {
	all := make([]known, 0, len(t.attempts)+len(t.views))
	for i := range t.attempts {
		if a := &t.attempts[i]; a.outcome == history.OK && a.op.Completed != history.NeverEnded {
			all = append(all, known{int64(a.op.Completed), a.item.SeqID, a.op})
		}
	}
	for i := range t.views {
		if v := &t.views[i]; v.last > 0 && v.op.Completed != history.NeverEnded {
			all = append(all, known{int64(v.op.Completed), v.last, v.op})
		}
	}
	t.frontier = newFrontier(all)
}
