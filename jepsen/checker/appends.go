package checker

import (
	"tidemark/jepsen/history"
)

// lostAppend finds acknowledged messages that are missing from the final read of
// any node. A timeline with acknowledged messages that was not read back from a
// node is an anomaly too, because it cannot be judged.
func lostAppend(x *index, f *findings) {
	for _, t := range x.timelines {
		if !t.hasAcknowledged() {
			continue
		}
		if len(x.readBack) == 0 {
			f.add(t.name, nil, "messages were acknowledged, but there is no final read of any node")
			continue
		}
		for _, node := range x.readBack {
			n := t.finalOf(node)
			if n == nil {
				f.add(t.name, nil, "messages were acknowledged, but the timeline was not read back from node %s", node)
				continue
			}
			present := n.present(len(t.messages))
			for i := range t.messages {
				m := &t.messages[i]
				if m.acked >= 0 && !present[i] {
					f.add(t.name, []*history.Operation{t.ackedOp(m), n.evidence()},
						"message %q was acknowledged at %d, and node %s does not have it", m.id, t.attempts[m.acked].item.SeqID, node)
				}
			}
		}
	}
}

func (t *timeline) hasAcknowledged() bool {
	for i := range t.messages {
		if t.messages[i].acked >= 0 {
			return true
		}
	}
	return false
}

// finalOf is the final view of a node, or nil.
func (t *timeline) finalOf(node string) *nodeView {
	for _, n := range t.finals {
		if n.node == node {
			return n
		}
	}
	return nil
}

// present tells, for each message of the timeline, whether the node has it.
func (n *nodeView) present(messages int) []bool {
	present := make([]bool, messages)
	for _, s := range n.seen {
		if s.message >= 0 {
			present[s.message] = true
		}
	}
	return present
}

// evidence is the operation that shows best where the node's timeline ends.
func (n *nodeView) evidence() *history.Operation { return n.ops[len(n.ops)-1] }

// vanishedMessage finds messages, and heads, that a read showed before the end and
// that a node does not have at the end. What any node shows is committed.
func vanishedMessage(x *index, f *findings) {
	for _, t := range x.timelines {
		// The first read that showed each message, and the one that showed the highest head.
		shown := make([]*history.Operation, len(t.messages))
		var high view
		for i := range t.views {
			v := &t.views[i]
			if v.last > high.last {
				high = *v
			}
			for j := range v.op.Messages {
				s := &v.op.Messages[j]
				if m, ok := t.messageOf(s); ok && shown[m] == nil {
					shown[m] = v.op
				}
			}
		}
		for _, n := range t.finals {
			if n.last < high.last {
				f.add(t.name, []*history.Operation{high.op, n.evidence()},
					"a read showed that the timeline reached %d, and on node %s it ends at %d", high.last, n.node, n.last)
			}
			present := n.present(len(t.messages))
			for m, op := range shown {
				if op != nil && !present[m] {
					f.add(t.name, []*history.Operation{op, n.evidence()},
						"message %q was read, and node %s does not have it", t.messages[m].id, n.node)
				}
			}
		}
	}
}

// messageOf finds the message of a sighting.
func (t *timeline) messageOf(s *history.Seen) (int32, bool) {
	if known, ok := t.reference[s.SeqID]; ok && known.MessageID == s.MessageID {
		return known.message, known.message >= 0
	}
	m, ok := t.ids[s.MessageID]
	return m, ok
}

// seqMismatch finds acknowledgements that differ from what is read, or from each
// other: the SeqID, digest and server time of every acknowledgement of a message
// are those of the first, and those under which it is read.
func seqMismatch(x *index, f *findings) {
	for _, t := range x.timelines {
		owner := make(map[uint64]int32, len(t.messages))
		for i := range t.messages {
			m := &t.messages[i]
			if m.acked < 0 {
				continue
			}
			first := &t.attempts[m.acked]
			if other, taken := owner[first.item.SeqID]; taken {
				f.add(t.name, []*history.Operation{t.ackedOp(&t.messages[other]), first.op},
					"messages %q and %q were both acknowledged at %d", t.messages[other].id, m.id, first.item.SeqID)
			}
			owner[first.item.SeqID] = int32(i)
			t.attemptsOf(m, func(a *attempt) bool {
				if a.outcome == history.OK && !sameAnswer(first.item, a.item) {
					f.add(t.name, []*history.Operation{first.op, a.op}, "message %q was acknowledged as %s and as %s",
						m.id, answer(first.item.SeqID, first.item.Digest, first.item.ServerTime), answer(a.item.SeqID, a.item.Digest, a.item.ServerTime))
				}
				return true
			})
		}
		reported := make(map[int32]bool)
		t.sightings(func(s sighting) {
			if s.message < 0 || t.messages[s.message].acked < 0 || reported[s.message] {
				return
			}
			a := &t.attempts[t.messages[s.message].acked]
			read := history.Item{SeqID: s.SeqID, Digest: s.Digest, ServerTime: s.ServerTime}
			if !sameAnswer(a.item, &read) {
				reported[s.message] = true
				f.add(t.name, []*history.Operation{a.op, s.op}, "message %q was acknowledged as %s, and read as %s from %s",
					s.MessageID, answer(a.item.SeqID, a.item.Digest, a.item.ServerTime), answer(s.SeqID, s.Digest, s.ServerTime), s.op.Node)
			}
		})
	}
}

// sameAnswer compares what both know; a digest or time that was not recorded is equal to any.
func sameAnswer(a, b *history.Item) bool {
	return a.SeqID == b.SeqID &&
		(a.Digest == b.Digest || a.Digest == "" || b.Digest == "") &&
		(a.ServerTime == b.ServerTime || a.ServerTime == 0 || b.ServerTime == 0)
}

// unexpectedMessage finds messages from nowhere: never sent, sent with other
// content, other content than what was acknowledged, or read before they were sent.
func unexpectedMessage(x *index, f *findings) {
	for _, t := range x.timelines {
		reported := make(map[string]bool)
		t.sightings(func(s sighting) {
			if reported[s.MessageID] {
				return
			}
			if problem, op := t.origin(s); problem != "" {
				reported[s.MessageID] = true
				f.add(t.name, []*history.Operation{s.op, op}, "message %q at %d, read from node %q, %s", s.MessageID, s.SeqID, s.op.Node, problem)
			}
		})
	}
}

// origin says what is wrong with where the message comes from, if anything is, and
// which other operation shows that.
func (t *timeline) origin(s sighting) (problem string, op *history.Operation) {
	if s.message < 0 {
		return "was never sent", nil
	}
	m := &t.messages[s.message]
	var sent *attempt
	t.attemptsOf(m, func(a *attempt) bool {
		if a.item.Content == s.Content {
			sent = a
		}
		return sent == nil
	})
	switch {
	case sent == nil:
		return "has content that was never sent", t.attempts[m.first].op
	case s.op.EndsBefore(sent.op.Invoked):
		return "was read before it was sent", sent.op
	}
	t.attemptsOf(m, func(a *attempt) bool {
		if a.outcome == history.OK && a.item.Content != s.Content {
			problem, op = "has other content than what was acknowledged", a.op
		}
		return op == nil
	})
	return problem, op
}

// failedAppendVisible finds messages that are there although every attempt to append
// them, with that content, definitely failed: they are read, or another attempt is told
// that it is a retry.
func failedAppendVisible(x *index, f *findings) {
	for _, t := range x.timelines {
		for i := range t.messages {
			t.firstThatFailed(&t.messages[i], f)
		}
		reported := make(map[int32]bool)
		t.sightings(func(s sighting) {
			if s.message < 0 || reported[s.message] {
				return
			}
			var failed *history.Operation
			possible := false
			t.attemptsOf(&t.messages[s.message], func(a *attempt) bool {
				if a.item.Content == s.Content {
					possible = a.outcome != history.Fail
					failed = a.op
				}
				return !possible
			})
			if failed != nil && !possible {
				reported[s.message] = true
				f.add(t.name, []*history.Operation{failed, s.op}, "the append of message %q failed (%s), and it is read at %d",
					s.MessageID, failed.Error, s.SeqID)
			}
		})
	}
}

// firstThatFailed finds a call that was answered as a retry, while all that began before
// it had ended had failed. A call of the SDK may have been tried more than once itself.
func (t *timeline) firstThatFailed(m *message, f *findings) {
	t.attemptsOf(m, func(retry *attempt) bool {
		if retry.op.Via != history.ViaUnary || retry.outcome != history.OK || !retry.item.Duplicate {
			return true
		}
		var failed *history.Operation
		possible := false
		t.attemptsOf(m, func(a *attempt) bool {
			if a != retry && a.item.Content == retry.item.Content && !retry.op.EndsBefore(a.op.Invoked) {
				possible = a.outcome != history.Fail
				failed = a.op
			}
			return !possible
		})
		if failed != nil && !possible {
			f.add(t.name, []*history.Operation{failed, retry.op}, "the append of message %q failed (%s), and another one was told that it is at %d already",
				m.id, failed.Error, retry.item.SeqID)
			return false
		}
		return true
	})
}

// duplicateMessage finds message ids that stand at two SeqIDs on one node or in one
// page, and message ids of which two appends were told that they were the first.
func duplicateMessage(x *index, f *findings) {
	for _, t := range x.timelines {
		for _, n := range t.finals {
			t.doubled(n.seen, f)
		}
		var page []sighting
		for i := range t.views {
			op := t.views[i].op
			page = page[:0]
			for j := range op.Messages {
				page = append(page, sighting{&op.Messages[j], op, -1})
			}
			t.doubled(page, f)
		}
		for i := range t.messages {
			var first *attempt
			t.attemptsOf(&t.messages[i], func(a *attempt) bool {
				switch {
				case a.outcome != history.OK || a.item.Duplicate:
				case first == nil:
					first = a
				default:
					f.add(t.name, []*history.Operation{first.op, a.op}, "two appends of message %q were each acknowledged as the first", t.messages[i].id)
					return false
				}
				return true
			})
		}
	}
}

func (t *timeline) doubled(seen []sighting, f *findings) {
	at := make(map[string]sighting, len(seen))
	for _, s := range seen {
		if other, ok := at[s.MessageID]; ok && other.SeqID != s.SeqID {
			f.add(t.name, []*history.Operation{other.op, s.op}, "message %q stands at %d and at %d on node %q", s.MessageID, other.SeqID, s.SeqID, s.op.Node)
		}
		at[s.MessageID] = s
	}
}
