package checker

import (
	"cmp"
	"slices"

	"tidemark/jepsen/history"
)

// logMismatch finds breaches of Raft's log matching, in all logs at all times: two
// entries with the same index and term and other bytes; and two logs that agree at an
// index and not right before it. By induction, logs that agree somewhere then agree
// everywhere before.
func logMismatch(x *index, f *findings) {
	entries := make([]*history.LogEntry, len(x.h.Logs))
	for i := range x.h.Logs {
		entries[i] = &x.h.Logs[i]
	}
	slices.SortFunc(entries, byPosition)
	// first is the first of the entries with the same index and term, and after the first
	// one of them that tells what it came after.
	var first, after *history.LogEntry
	for _, e := range entries {
		if first == nil || first.Index != e.Index || first.Term != e.Term {
			first, after = e, nil
		}
		if e.Hash != first.Hash {
			f.add("", nil, "nodes %s and %s hold other bytes at index %d, term %d", first.Node, e.Node, e.Index, e.Term)
		}
		if e.PreviousTerm == 0 {
			continue
		}
		if after == nil {
			after = e
		}
		if e.PreviousTerm != after.PreviousTerm {
			f.add("", nil, "nodes %s and %s agree at index %d, term %d, and at the index before they hold terms %d and %d",
				after.Node, e.Node, e.Index, e.Term, after.PreviousTerm, e.PreviousTerm)
		}
		if e.PreviousTerm > e.Term {
			f.add("", nil, "node %s holds term %d at index %d, after term %d", e.Node, e.Term, e.Index, e.PreviousTerm)
		}
		before := history.LogEntry{Node: e.Node, Index: e.Index - 1, Term: e.PreviousTerm}
		if _, there := slices.BinarySearchFunc(entries, &before, byPosition); !there {
			f.add("", nil, "node %s holds term %d at index %d, after an entry of term %d that it never showed", e.Node, e.Term, e.Index, e.PreviousTerm)
		}
	}
}

// byPosition orders entries by index, term and node.
func byPosition(a, b *history.LogEntry) int {
	return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Term, b.Term), cmp.Compare(a.Node, b.Node))
}
