package checker

import (
	"slices"

	"tidemark/jepsen/history"
)

// operation changes the middle one of the operations that fit.
func (m *mutant) operation(fits func(*history.Operation) bool, change func(*history.Operation)) bool {
	var all []*history.Operation
	for i := range m.h.Operations {
		if op := &m.h.Operations[i]; fits(op) {
			all = append(all, op)
		}
	}
	if len(all) == 0 {
		return false
	}
	change(all[len(all)/2])
	return true
}

func (m *mutant) item(fits func(*history.Operation, *history.Item) bool, change func(*history.Item)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindAppend && fits(op, &op.Items[0])
	}, func(op *history.Operation) { change(&op.Items[0]) })
}

func acknowledgedItem(op *history.Operation, item *history.Item) bool {
	return op.Outcome == history.OK && !item.Duplicate
}

// page changes a linearizable forward page of at least four messages.
func (m *mutant) page(change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindRead && len(op.Messages) >= 4 && op.Direction == history.Forward && op.Level == history.Linearizable
	}, change)
}

// shown changes a message in a page.
func (m *mutant) shown(change func(*history.Seen)) bool {
	return m.page(func(op *history.Operation) { change(&op.Messages[1]) })
}

func (m *mutant) finalPage(node string, change func(*history.Operation)) bool {
	return m.operation(func(op *history.Operation) bool {
		return op.Kind == history.KindFinalRead && op.Node == node && len(op.Messages) > 5 && !op.More
	}, change)
}

// cutTail removes the last message of a timeline at the end, from one node or all.
func (m *mutant) cutTail(node string) bool {
	t := m.x.timelines[0]
	last := t.reference[t.last]
	if t.messages[last.message].acked < 0 {
		return false
	}
	for i := range m.h.Operations {
		op := &m.h.Operations[i]
		if op.Kind == history.KindFinalRead && op.Timeline == t.name && (node == "" || op.Node == node) {
			op.HeadLast, op.HeadDigest, op.AppliedIndex = t.last-1, "", 0
			op.Messages = slices.DeleteFunc(op.Messages, func(s history.Seen) bool { return s.SeqID == t.last })
		}
	}
	return true
}

// loseRead removes a message that was read and never acknowledged.
func (m *mutant) loseRead() bool {
	for _, t := range m.x.timelines {
		for i := range t.views {
			for _, s := range t.views[i].op.Messages {
				if known := t.messages[t.ids[s.MessageID]]; known.acked >= 0 {
					continue
				}
				for i := range m.h.Operations {
					if op := &m.h.Operations[i]; op.Kind == history.KindFinalRead && op.Timeline == t.name {
						op.Messages = slices.DeleteFunc(op.Messages, func(other history.Seen) bool { return other.MessageID == s.MessageID })
					}
				}
				return true
			}
		}
	}
	return false
}

// ordered finds two messages of a timeline, each sent once, of which the first was
// acknowledged before the second was invoked.
func (m *mutant) ordered() (t *timeline, a, b *attempt) {
	for _, t := range m.x.timelines {
		var first *attempt
		for i := range t.attempts {
			c := &t.attempts[i]
			if c.outcome != history.OK || c.op.Kind != history.KindAppend || c.item.Expected != nil || t.messages[c.message].first != t.messages[c.message].last {
				continue
			}
			if first != nil && first.op.EndsBefore(c.op.Invoked) {
				return t, first, c
			}
			if first == nil {
				first = c
			}
		}
	}
	return nil, nil, nil
}

func (m *mutant) swapAnswers() bool {
	_, a, b := m.ordered()
	if a == nil {
		return false
	}
	a.item.SeqID, b.item.SeqID = b.item.SeqID, a.item.SeqID
	return true
}

// swapPlaces exchanges two messages in every answer and in every read.
func (m *mutant) swapPlaces() bool {
	t, a, b := m.ordered()
	if a == nil {
		return false
	}
	ia, ib := *a.item, *b.item
	for i := range m.h.Operations {
		op := &m.h.Operations[i]
		for j := range op.Messages {
			s := &op.Messages[j]
			switch {
			case op.Timeline != t.name:
			case s.MessageID == ia.MessageID:
				s.MessageID, s.Content = ib.MessageID, ib.Content
			case s.MessageID == ib.MessageID:
				s.MessageID, s.Content = ia.MessageID, ia.Content
			}
		}
	}
	a.item.SeqID, a.item.Digest, a.item.ServerTime = ib.SeqID, ib.Digest, ib.ServerTime
	b.item.SeqID, b.item.Digest, b.item.ServerTime = ia.SeqID, ia.Digest, ia.ServerTime
	return true
}

// readEarly shows a message in a page that had been read before it was sent.
func (m *mutant) readEarly() bool {
	for _, t := range m.x.timelines {
		for i := range t.attempts {
			a := &t.attempts[i]
			if m := &t.messages[a.message]; a.outcome != history.OK || m.first != m.last {
				continue
			}
			for i := range t.views {
				op := t.views[i].op
				if op.Kind == history.KindRead && len(op.Messages) > 0 && op.EndsBefore(a.op.Invoked) {
					op.Messages[0].MessageID, op.Messages[0].Content = a.item.MessageID, a.item.Content
					return true
				}
			}
		}
	}
	return false
}

func (m *mutant) failVisible() bool {
	_, a, _ := m.ordered()
	if a == nil {
		return false
	}
	fail(a.op)
	return true
}

// countOwn adds to a count what the reader itself has sent.
func (m *mutant) countOwn() bool {
	for i := range m.h.Operations {
		for _, c := range m.h.Operations[i].Cursors {
			for _, t := range m.x.timelines {
				if own := within(t.sentByUser()[c.Reader], c.Read+1, c.Last); t.name == c.Timeline && c.Unread != nil && own > 0 {
					*c.Unread += own
					return true
				}
			}
		}
	}
	return false
}

// failFirst leaves of a message one attempt that was told that it is a retry.
func (m *mutant) failFirst() bool {
	for _, t := range m.x.timelines {
		for i := range t.messages {
			var retry *attempt
			var others []*history.Operation
			t.attemptsOf(&t.messages[i], func(a *attempt) bool {
				if retry == nil && a.op.Via == history.ViaUnary && a.outcome == history.OK && a.item.Duplicate {
					retry = a
				} else if a.op.Kind == history.KindAppend {
					others = append(others, a.op)
				} else {
					others = append(others, nil)
				}
				return true
			})
			if retry == nil || len(others) == 0 || slices.Contains(others, nil) {
				continue
			}
			for _, op := range others {
				fail(op)
			}
			return true
		}
	}
	return false
}

func fail(op *history.Operation) {
	op.Outcome, op.Error = history.Fail, "NO_LEADER"
	for i := range op.Items {
		op.Items[i] = history.Item{Timeline: op.Items[i].Timeline, MessageID: op.Items[i].MessageID, Content: op.Items[i].Content,
			Outcome: history.Fail, Error: "NO_LEADER"}
	}
}

// double puts a copy of a message at the end of its timeline, on every node.
func (m *mutant) double() bool {
	t := m.x.timelines[0]
	for i := range m.h.Operations {
		op := &m.h.Operations[i]
		if op.Kind != history.KindFinalRead || op.Timeline != t.name {
			continue
		}
		if !op.More {
			extra := *t.reference[2].Seen
			extra.SeqID = t.last + 1
			op.Messages = append(op.Messages, extra)
		}
		op.HeadLast, op.HeadDigest = t.last+1, ""
	}
	return true
}

// twoFirsts lets a retry say that it was no duplicate.
func (m *mutant) twoFirsts() bool {
	for _, t := range m.x.timelines {
		for i := range t.messages {
			firsts, dup := 0, (*attempt)(nil)
			t.attemptsOf(&t.messages[i], func(a *attempt) bool {
				if a.outcome == history.OK && a.item.Duplicate {
					dup = a
				} else if a.outcome == history.OK {
					firsts++
				}
				return true
			})
			if firsts == 1 && dup != nil {
				dup.item.Duplicate = false
				return true
			}
		}
	}
	return false
}

// stale takes the end from the head that a read of the level showed, as far as it may not.
func (m *mutant) stale(level string, fits func(*history.Operation) bool) bool {
	for _, t := range m.x.timelines {
		s := newSessions(t)
		for i := range t.views {
			v := &t.views[i]
			if v.op.Kind != history.KindHead || v.op.Level != level || v.notFound || fits != nil && !fits(v.op) {
				continue
			}
			var must known
			switch {
			case level == history.Linearizable:
				must = t.frontier.before(v.op.Invoked)
			case level == history.Local:
				must = t.frontier.before(v.op.Invoked - v.op.Staleness)
			case v.op.SessionAt > 0:
				must = s.byPosition.below(int64(v.op.SessionAt) + 1)
			default:
				must = s.byClient[v.op.Client].before(v.op.Invoked)
			}
			if must.seq < 2 {
				continue
			}
			v.op.HeadLast, v.op.HeadDigest, v.op.Position = must.seq-1, "", 0
			return true
		}
	}
	return false
}

// stalePage serves a page as the timeline was a while ago, in itself consistent.
func (m *mutant) stalePage() bool {
	for _, t := range m.x.timelines {
		for i := range t.views {
			op := t.views[i].op
			if op.Kind != history.KindRead || op.Level != history.Linearizable || op.Start != history.Newest || len(op.Messages) < 2 {
				continue
			}
			if t.frontier.before(op.Invoked).seq < op.HeadLast {
				continue
			}
			op.Messages = op.Messages[:len(op.Messages)-1]
			last := op.Messages[len(op.Messages)-1]
			op.HeadLast, op.HeadDigest, op.AppliedIndex, op.Position = last.SeqID, last.Digest, 0, 0
			return true
		}
	}
	return false
}

func (m *mutant) notFound() bool {
	return m.operation(func(op *history.Operation) bool {
		if op.Kind != history.KindGet || op.Level != history.Linearizable || op.Outcome != history.OK {
			return false
		}
		return m.x.byName[op.Timeline].frontier.before(op.Invoked).seq >= op.Messages[0].SeqID
	}, func(op *history.Operation) {
		op.Outcome, op.Error, op.Messages = history.Fail, history.MessageNotFound, nil
	})
}

// oldIndex lets a read name an index before that of what it shows.
func (m *mutant) oldIndex() bool {
	for _, t := range m.x.timelines {
		for i := range t.attempts {
			a := &t.attempts[i]
			if a.outcome != history.OK || a.item.Duplicate {
				continue
			}
			for j := range t.views {
				if v := &t.views[j]; v.op.Kind == history.KindRead && v.op.AppliedIndex > 0 && v.last >= a.item.SeqID && a.item.Position > 1 {
					v.op.AppliedIndex = a.item.Position - 1
					return true
				}
			}
		}
	}
	return false
}

// cursorBack shows a cursor in a linearizable listing below what it was.
func (m *mutant) cursorBack() bool {
	c := newCursors(m.x)
	return m.operation(func(op *history.Operation) bool {
		if op.Kind != history.KindCursors || op.Level != history.Linearizable || len(op.Cursors) == 0 {
			return false
		}
		b := c.books[registerOf(op, op.Cursors[0])]
		return b.shown[0].before(op.Invoked).seq == op.Cursors[0].Delivered
	}, func(op *history.Operation) {
		op.Cursors[0].Delivered--
		op.Cursors[0].Read = min(op.Cursors[0].Read, op.Cursors[0].Delivered)
	})
}

// batches calls try with every acknowledged atomic batch that put at least two
// messages into a timeline, until it returns true.
func (m *mutant) batches(try func(t *timeline, r run) bool) bool {
	for i := range m.h.Operations {
		op := &m.h.Operations[i]
		if op.Kind != history.KindBatch || op.Via != history.ViaAtomic || op.Outcome != history.OK {
			continue
		}
		for t, r := range m.x.batch(op, &findings{}) {
			if r.last > r.first && try(t, r) {
				return true
			}
		}
	}
	return false
}

// halfBatch loses the second half of a batch at the end, or lets a read show half.
func (m *mutant) halfBatch(lose bool) bool {
	return m.batches(func(t *timeline, r run) bool {
		if !lose {
			for i := range t.views {
				if v := &t.views[i]; v.op.Kind == history.KindHead && !v.notFound && v.last >= r.last {
					v.op.HeadLast, v.op.HeadDigest = r.last-1, ""
					return true
				}
			}
			return false
		}
		for i := range m.h.Operations {
			if op := &m.h.Operations[i]; op.Kind == history.KindFinalRead && op.Timeline == t.name {
				op.Messages = slices.DeleteFunc(op.Messages, func(s history.Seen) bool { return s.SeqID == r.last })
			}
		}
		return true
	})
}

func (m *mutant) splitBatch() bool {
	return m.batches(func(t *timeline, r run) bool {
		for i := range r.op.Items {
			if item := &r.op.Items[i]; item.Timeline == t.name && item.SeqID == r.last {
				item.SeqID += 2
				return true
			}
		}
		return false
	})
}

// afterHealing changes every append that ended after healing.
func (m *mutant) afterHealing(change func(*history.Operation)) bool {
	healed, _ := healedAt(m.h)
	for i := range m.h.Operations {
		if op := &m.h.Operations[i]; len(op.Items) > 0 && op.Completed > healed {
			change(op)
		}
	}
	return true
}

func (m *mutant) samples(change func(*history.Sample)) bool {
	healed, _ := healedAt(m.h)
	for i := range m.h.Samples {
		if s := &m.h.Samples[i]; s.At > healed && s.Node == "n2" {
			change(s)
		}
	}
	return true
}
