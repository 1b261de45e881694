package checker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tidemark/jepsen/history"
)

// delivery is one message that was fanned out, and the inboxes that it was to reach.
type delivery struct {
	timeline, id string
	content      uint64
	inboxes      []string
	// op is the first attempt, and acked the first that was acknowledged, or nil.
	op, acked *history.Operation
}

type deliveryKey struct{ timeline, id string }

// fanOut finds messages that are not in all inboxes that they were to reach, once each
// and in order, on every node: a fan-out is atomic with its message. An inbox that is read
// linearizably has all that was acknowledged before.
func fanOut(x *index, f *findings) {
	sent := deliveriesOf(x)
	finals := finalInboxes(x)
	for _, node := range x.readBack {
		judgeInboxes(node, sent, finals[node], f)
	}
	sameInboxes(x.readBack, finals, f)
	freshInboxes(x, sent, f)
}

func deliveriesOf(x *index) map[deliveryKey]*delivery {
	sent := make(map[deliveryKey]*delivery)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindFanOut {
			continue
		}
		item := &op.Items[0]
		key := deliveryKey{op.Timeline, item.MessageID}
		d := sent[key]
		if d == nil {
			d = &delivery{timeline: op.Timeline, id: item.MessageID, content: item.Content, inboxes: op.Inboxes, op: op}
			sent[key] = d
		}
		if op.Outcome == history.OK && (d.acked == nil || op.Completed < d.acked.Completed) {
			d.acked = op
		}
	}
	return sent
}

// inboxView is what one node holds of a timeline at the end.
type inboxView struct {
	seen []history.Seen
	ops  []*history.Operation
}

func (v *inboxView) last() *history.Operation { return v.ops[len(v.ops)-1] }

// finalInboxes are those of all nodes, by node and timeline.
func finalInboxes(x *index) map[string]map[string]*inboxView {
	finals := make(map[string]map[string]*inboxView)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindFinalInbox || op.Outcome != history.OK {
			continue
		}
		if finals[op.Node] == nil {
			finals[op.Node] = make(map[string]*inboxView)
		}
		v := finals[op.Node][op.Timeline]
		if v == nil {
			v = &inboxView{}
			finals[op.Node][op.Timeline] = v
		}
		v.seen, v.ops = append(v.seen, op.Messages...), append(v.ops, op)
	}
	return finals
}

// judgeInboxes compares what one node holds with what was sent.
func judgeInboxes(node string, sent map[deliveryKey]*delivery, finals map[string]*inboxView, f *findings) {
	expected := make(map[string]int) // messages by inbox
	for _, name := range sortedKeys(finals) {
		v := finals[name]
		for i, s := range v.seen {
			if s.SeqID != uint64(i)+1 {
				f.add(name, []*history.Operation{v.last()}, "node %s shows %d where %d is expected", node, s.SeqID, i+1)
				break
			}
		}
		for _, op := range v.ops {
			if op.BadDigest != 0 {
				f.add(name, []*history.Operation{op}, "the digest of %d on node %s is not that of the chain", op.BadDigest, node)
			}
		}
	}
	places, references := placesOf(finals), referencesOf(finals)
	for _, key := range sortedDeliveries(sent) {
		d := sent[key]
		source := finals[d.timeline]
		at, there := places[key]
		if !there {
			at = -1
		}
		switch {
		case at < 0 && d.acked != nil:
			f.add(d.timeline, []*history.Operation{d.acked}, "message %q was acknowledged, and node %s does not have it", d.id, node)
		case at >= 0 && source.seen[at].Content != d.content:
			f.add(d.timeline, []*history.Operation{d.op, source.last()}, "message %q on node %s has other content than was sent", d.id, node)
		case at >= 0 && d.acked != nil && d.acked.Items[0].SeqID != source.seen[at].SeqID:
			f.add(d.timeline, []*history.Operation{d.acked, source.last()}, "message %q was acknowledged at %d, and stands at %d on node %s",
				d.id, d.acked.Items[0].SeqID, source.seen[at].SeqID, node)
		}
		if at < 0 {
			continue
		}
		for _, inbox := range d.inboxes {
			expected[inbox]++
			if n := references[entry{inbox, d.timeline, d.id, source.seen[at].SeqID, d.content}]; n != 1 {
				f.add(inbox, []*history.Operation{d.op, source.last()}, "message %q is at %d of %s on node %s, and %d times in the inbox",
					d.id, source.seen[at].SeqID, d.timeline, node, n)
			}
		}
	}
	judgeOrder(node, sent, finals, expected, f)
}

// placesOf are the places of all messages among those that a node shows.
func placesOf(finals map[string]*inboxView) map[deliveryKey]int {
	places := make(map[deliveryKey]int)
	for name, v := range finals {
		for i, s := range v.seen {
			places[deliveryKey{name, s.MessageID}] = i
		}
	}
	return places
}

// entry is an entry of an inbox, by what it refers to.
type entry struct {
	inbox, timeline, id string
	seq, content        uint64
}

// referencesOf counts the entries of all inboxes of a node.
func referencesOf(finals map[string]*inboxView) map[entry]int {
	references := make(map[entry]int)
	for name, v := range finals {
		for _, s := range v.seen {
			if s.Source != nil {
				references[entry{name, s.Source.Timeline, s.MessageID, s.Source.SeqID, s.Content}]++
			}
		}
	}
	return references
}

// judgeOrder finds entries of inboxes that refer to nothing that was sent to them, or
// stand in another order than their sources.
func judgeOrder(node string, sent map[deliveryKey]*delivery, finals map[string]*inboxView, expected map[string]int, f *findings) {
	for _, name := range sortedKeys(finals) {
		v := finals[name]
		before := make(map[string]uint64)
		entries := 0
		for _, s := range v.seen {
			if s.Source == nil {
				continue
			}
			entries++
			if s.Source.SeqID <= before[s.Source.Timeline] {
				f.add(name, []*history.Operation{v.last()}, "entry %d on node %s refers to %d of %s, after one to %d",
					s.SeqID, node, s.Source.SeqID, s.Source.Timeline, before[s.Source.Timeline])
			}
			before[s.Source.Timeline] = s.Source.SeqID
			if d := sent[deliveryKey{s.Source.Timeline, s.MessageID}]; d == nil || !slices.Contains(d.inboxes, name) {
				f.add(name, []*history.Operation{v.last()}, "entry %d on node %s refers to message %q of %s, which nobody sent to it", s.SeqID, node, s.MessageID, s.Source.Timeline)
			}
		}
		if entries != expected[name] && expected[name] > 0 {
			f.add(name, []*history.Operation{v.last()}, "the inbox has %d entries on node %s, for %d messages", entries, node, expected[name])
		}
	}
}

// sameInboxes finds timelines that end differently on two nodes.
func sameInboxes(nodes []string, finals map[string]map[string]*inboxView, f *findings) {
	first := make(map[string]*history.Operation)
	for _, node := range nodes {
		for _, name := range sortedKeys(finals[node]) {
			op := finals[node][name].last()
			if other := first[name]; other == nil {
				first[name] = op
			} else if other.HeadLast != op.HeadLast || other.HeadDigest != op.HeadDigest {
				f.add(name, []*history.Operation{other, op}, "it ends at %d with digest %.8s on node %s, and at %d with %.8s on node %s",
					other.HeadLast, other.HeadDigest, other.Node, op.HeadLast, op.HeadDigest, op.Node)
			}
		}
	}
}

// freshInboxes finds linearizable reads of an inbox that lack what was acknowledged before.
func freshInboxes(x *index, sent map[deliveryKey]*delivery, f *findings) {
	acked := make(map[string][]*history.Operation)
	for _, key := range sortedDeliveries(sent) {
		d := sent[key]
		if d.acked == nil {
			continue
		}
		for _, inbox := range d.inboxes {
			acked[inbox] = append(acked[inbox], d.acked)
		}
	}
	for _, ops := range acked {
		slices.SortStableFunc(ops, func(a, b *history.Operation) int { return cmp.Compare(a.Completed, b.Completed) })
	}
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindInbox || op.Outcome != history.OK || op.Level != history.Linearizable {
			continue
		}
		before := acked[op.Timeline]
		n, _ := slices.BinarySearchFunc(before, op.Invoked, func(a *history.Operation, at time.Duration) int { return cmp.Compare(a.Completed, at) })
		if uint64(n) > op.HeadLast {
			f.add(op.Timeline, []*history.Operation{before[n-1], op}, "%d messages had been acknowledged that were to reach the inbox, and a linearizable read showed %d entries", n, op.HeadLast)
		}
		if op.BadDigest != 0 {
			f.add(op.Timeline, []*history.Operation{op}, "the digest of %d is not that of the chain", op.BadDigest)
		}
	}
}

func sortedDeliveries(sent map[deliveryKey]*delivery) []deliveryKey {
	keys := make([]deliveryKey, 0, len(sent))
	for key := range sent {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b deliveryKey) int {
		return cmp.Or(cmp.Compare(a.timeline, b.timeline), cmp.Compare(a.id, b.id))
	})
	return keys
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
