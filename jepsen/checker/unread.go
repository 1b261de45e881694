package checker

import (
	"slices"

	"tidemark"
	"tidemark/jepsen/history"
)

// unreadCount finds counts of unread messages that are not those of a recomputation from
// scratch. An answer names the marks and the last SeqID that it counts by, and what
// stands at a SeqID never changes, so each answer can be judged by itself, whatever its level.
func unreadCount(x *index, f *findings) {
	unreadRevised(x, f)
	sent := make(map[string]map[string][]uint64)
	for _, t := range x.timelines {
		sent[t.name] = t.sentByUser()
	}
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Outcome != history.OK || op.Kind == history.KindRevised {
			continue
		}
		for _, c := range op.Cursors {
			if c.Unread == nil {
				continue
			}
			r := registerOf(op, c)
			from := max(c.Read+1, c.Floor)
			expected := uint64(0)
			if from <= c.Last {
				expected = c.Last - from + 1 - within(sent[r.timeline][tidemark.UserOf(r.reader)], from, c.Last)
			}
			if *c.Unread != expected {
				f.add(r.timeline, []*history.Operation{op}, "%q was told that %d messages are unread, and from %d to %d there are %d of others",
					r.reader, *c.Unread, from, c.Last, expected)
			}
		}
	}
}

// sentByUser are the SeqIDs of the messages of each user, in rising order.
func (t *timeline) sentByUser() map[string][]uint64 {
	sent := make(map[string][]uint64)
	for seq, s := range t.reference {
		if s.message < 0 {
			continue
		}
		if user := tidemark.UserOf(t.attempts[t.messages[s.message].first].item.Sender); user != "" {
			sent[user] = append(sent[user], seq)
		}
	}
	for _, seqs := range sent {
		slices.Sort(seqs)
	}
	return sent
}

// within counts those of the sorted SeqIDs that lie from one to another.
func within(seqs []uint64, from, to uint64) uint64 {
	low, _ := slices.BinarySearch(seqs, from)
	high, _ := slices.BinarySearch(seqs, to+1)
	return uint64(high - low)
}
