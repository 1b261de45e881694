package checker

import (
	"cmp"
	"slices"
	"time"

	"tidemark/jepsen/history"
)

// staleRead finds linearizable reads that do not show everything that anyone had
// been told or shown before they were invoked.
func staleRead(x *index, f *findings) {
	for _, t := range x.timelines {
		for i := range t.views {
			v := &t.views[i]
			if v.op.Level != history.Linearizable {
				continue
			}
			if k := t.frontier.before(v.op.Invoked); t.misses(v, k.seq) {
				f.add(t.name, []*history.Operation{k.op, v.op}, "a linearizable read through %q %s, and before it was invoked the timeline was known to reach %d",
					v.op.Node, v.shows(), k.seq)
			}
		}
	}
}

// misses reports whether the view does not show something up to seq that it was asked for.
func (t *timeline) misses(v *view, seq uint64) bool {
	switch {
	case seq == 0:
		return false
	case v.head && !v.notFound:
		return v.last < seq
	case !v.notFound:
		return false
	case v.head || v.op.Error == history.TimelineNotFound:
		return true
	case v.op.MessageID != "":
		m, sent := t.ids[v.op.MessageID]
		return sent && t.messages[m].seq != 0 && t.messages[m].seq <= seq
	default:
		return v.op.From != 0 && v.op.From <= seq
	}
}

// shows says in words what a view that misses something shows.
func (v *view) shows() string {
	if v.notFound {
		return "showed " + v.op.Error
	}
	return "showed a timeline up to " + formatSeq(v.last)
}

// sessionViolation finds session reads that do not show everything up to the
// position that was passed, or everything that their client was told before if none
// was; and reads of any level that show more than the applied index that they name,
// because a session that goes on from there would go back.
func sessionViolation(x *index, f *findings) {
	for _, t := range x.timelines {
		s := newSessions(t)
		for i := range t.views {
			v := &t.views[i]
			if v.op.Level == history.Session {
				s.judge(v, f)
			}
			s.judgeIndex(v, f)
		}
	}
}

// sessions is what is known of a timeline by position, and by client.
type sessions struct {
	t          *timeline
	byPosition frontier
	byClient   map[string]frontier
	// firsts are the appends that were acknowledged as the first, by position
	// falling: the frontier of the negated position, with the negated SeqID, finds
	// the smallest SeqID above a position.
	firsts frontier
}

func newSessions(t *timeline) *sessions {
	s := &sessions{t: t, byClient: make(map[string]frontier)}
	for i := range t.views {
		if op := t.views[i].op; op.Level == history.Session && op.SessionAt == 0 {
			s.byClient[op.Client] = nil
		}
	}
	var positions, firsts []known
	clients := make(map[string][]known)
	note := func(op *history.Operation, position, seq uint64) {
		if position > 0 {
			positions = append(positions, known{int64(position), seq, op})
		}
		if _, wanted := s.byClient[op.Client]; wanted && op.Completed != history.NeverEnded {
			clients[op.Client] = append(clients[op.Client], known{int64(op.Completed), seq, op})
		}
	}
	for i := range t.attempts {
		a := &t.attempts[i]
		if a.outcome != history.OK {
			continue
		}
		position := a.item.Position
		if position == 0 {
			position = a.op.Position
		}
		note(a.op, position, a.item.SeqID)
		if position > 0 && !a.item.Duplicate {
			firsts = append(firsts, known{-int64(position), ^a.item.SeqID, a.op})
		}
	}
	for i := range t.views {
		if v := &t.views[i]; v.last > 0 {
			note(v.op, v.op.Position, v.last)
		}
	}
	s.byPosition, s.firsts = newFrontier(positions), newFrontier(firsts)
	for client, all := range clients {
		s.byClient[client] = newFrontier(all)
	}
	return s
}

func (s *sessions) judge(v *view, f *findings) {
	if v.op.SessionAt == 0 {
		if k := s.byClient[v.op.Client].before(v.op.Invoked); s.t.misses(v, k.seq) {
			f.add(s.t.name, []*history.Operation{k.op, v.op}, "a session read of client %q through %q %s, and the client knew before that the timeline reaches %d",
				v.op.Client, v.op.Node, v.shows(), k.seq)
		}
		return
	}
	if k := s.byPosition.below(int64(v.op.SessionAt) + 1); s.t.misses(v, k.seq) {
		f.add(s.t.name, []*history.Operation{k.op, v.op}, "a session read at position %d through %q %s, and up to that position it reaches %d",
			v.op.SessionAt, v.op.Node, v.shows(), k.seq)
	}
}

func (s *sessions) judgeIndex(v *view, f *findings) {
	if v.op.AppliedIndex == 0 || v.notFound {
		return
	}
	k := s.firsts.below(-int64(v.op.AppliedIndex))
	if k.op != nil && v.last >= ^k.seq {
		f.add(s.t.name, []*history.Operation{k.op, v.op}, "a read through %q %s as of index %d, and %d was appended after that index",
			v.op.Node, v.shows(), v.op.AppliedIndex, ^k.seq)
	}
}

// stalenessBound finds local reads that are older than they were allowed to be, or
// older than they say: what was acknowledged longer ago than that must be there.
func stalenessBound(x *index, f *findings) {
	for _, t := range x.timelines {
		for i := range t.views {
			v := &t.views[i]
			if v.op.Level != history.Local {
				continue
			}
			age := v.op.Staleness
			// Bounds are sent in whole milliseconds, and at least one.
			if bound := max(v.op.MaxStaleness.Truncate(time.Millisecond), time.Millisecond); v.op.MaxStaleness > 0 {
				if !v.notFound && age > bound {
					f.add(t.name, []*history.Operation{v.op}, "a local read through %q says that it is %v old; the bound was %v", v.op.Node, age, bound)
				}
				if v.notFound {
					age = bound
				}
			} else if v.notFound {
				// An error does not say how old it is.
				continue
			}
			if age < 0 || age > v.op.Invoked {
				continue
			}
			if k := t.frontier.before(v.op.Invoked - age); t.misses(v, k.seq) {
				f.add(t.name, []*history.Operation{k.op, v.op}, "a local read through %q, at most %v old, %s, and at that time the timeline was known to reach %d",
					v.op.Node, age, v.shows(), k.seq)
			}
		}
	}
}

// replicaDivergence finds nodes that show other messages, digests or times at the
// same SeqID, other heads at the same applied index or at the end, and other cursors at the end.
func replicaDivergence(x *index, f *findings) {
	for _, t := range x.timelines {
		t.sightings(func(s sighting) {
			if r := t.reference[s.SeqID]; r.Seen != s.Seen && !sameSeen(r.Seen, s.Seen) {
				f.add(t.name, []*history.Operation{r.op, s.op}, "at %d node %q shows message %q, digest %.8s, and node %q message %q, digest %.8s",
					s.SeqID, r.op.Node, r.MessageID, r.Digest, s.op.Node, s.MessageID, s.Digest)
			}
		})
		t.judgeHeads(f)
		for i := 1; i < len(t.finals); i++ {
			a, b := t.finals[0], t.finals[i]
			if a.last != b.last || a.digest != b.digest && a.digest != "" && b.digest != "" {
				f.add(t.name, []*history.Operation{a.evidence(), b.evidence()}, "at the end node %q has %d messages, digest %.8s, and node %q %d, digest %.8s",
					a.node, a.last, a.digest, b.node, b.last, b.digest)
			}
		}
	}
	finalCursors(x, f)
}

func sameSeen(a, b *history.Seen) bool {
	return a.MessageID == b.MessageID && a.Content == b.Content &&
		(a.Digest == b.Digest || a.Digest == "" || b.Digest == "") &&
		(a.ServerTime == b.ServerTime || a.ServerTime == 0 || b.ServerTime == 0)
}

// judgeHeads compares the heads of all reads by their applied index.
func (t *timeline) judgeHeads(f *findings) {
	var heads []*history.Operation
	for i := range t.views {
		if v := &t.views[i]; v.head && !v.notFound && v.op.AppliedIndex > 0 {
			heads = append(heads, v.op)
		}
	}
	for _, n := range t.finals {
		for _, op := range n.ops {
			if op.AppliedIndex > 0 {
				heads = append(heads, op)
			}
		}
	}
	slices.SortStableFunc(heads, func(a, b *history.Operation) int {
		if a.AppliedIndex != b.AppliedIndex {
			return cmp.Compare(a.AppliedIndex, b.AppliedIndex)
		}
		return cmp.Compare(a.HeadLast, b.HeadLast)
	})
	for i := 1; i < len(heads); i++ {
		a, b := heads[i-1], heads[i]
		sameIndex := a.AppliedIndex == b.AppliedIndex
		otherDigest := a.HeadLast == b.HeadLast && a.HeadDigest != b.HeadDigest && a.HeadDigest != "" && b.HeadDigest != ""
		if sameIndex && a.HeadLast != b.HeadLast || a.HeadLast > b.HeadLast || otherDigest {
			f.add(t.name, []*history.Operation{a, b}, "node %q at index %d has %d messages, digest %.8s, and node %q at index %d has %d, digest %.8s",
				a.Node, a.AppliedIndex, a.HeadLast, a.HeadDigest, b.Node, b.AppliedIndex, b.HeadLast, b.HeadDigest)
		}
	}
}
