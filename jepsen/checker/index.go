package checker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tidemark/jepsen/history"
)

// index is a history by timelines. It is built once and then only read.
type index struct {
	h *history.History
	// timelines are in order of their names.
	timelines []*timeline
	byName    map[string]*timeline
	// tails are the operations of subscriptions, in order of Invoked.
	tails []*history.Operation
	// feeds are the operations of readers of the change feed, in order of Invoked.
	feeds []*history.Operation
	// readBack are the nodes of which final reads were to be made, in order.
	readBack []string
}

// timeline is what the history says about one timeline.
type timeline struct {
	name string
	// attempts are all items that were sent, in order of Invoked.
	attempts []attempt
	// messages are the distinct message ids of attempts, and ids finds them.
	messages []message
	ids      map[string]int32
	// views are the answered reads other than final ones, in order of Invoked.
	views []view
	// finals are the final reads, a node each, in order of nodes.
	finals []*nodeView
	// reference is what stands at each SeqID: as the final reads say, or any read if those do not.
	reference map[uint64]sighting
	last      uint64
	// frontier is what was known to be in the timeline, over time.
	frontier frontier
}

// attempt is one item that was sent.
type attempt struct {
	op      *history.Operation
	item    *history.Item
	outcome history.Outcome
	message int32
	// next is the next attempt with the same message id, or -1.
	next int32
}

// message is one message id of a timeline.
type message struct {
	id string
	// first and last are indices of attempts.
	first, last int32
	// acked is the first acknowledged attempt, or -1.
	acked int32
	// seq is the SeqID of the first acknowledgement, or else where it was read; 0 if neither.
	seq uint64
	// readBack is whether any final read shows it.
	readBack bool
	// lo is when the first attempt that did not fail was invoked; never if all failed.
	lo time.Duration
}

// never is later than every time of a history.
const never = time.Duration(1<<63 - 1)

// view is a read's answer.
type view struct {
	op *history.Operation
	// last is the last SeqID of the timeline if head is true; otherwise there is at least that.
	last uint64
	head bool
	// notFound is set when the timeline or the message was not there.
	notFound bool
}

// nodeView is what the final reads of one node show.
type nodeView struct {
	node string
	ops  []*history.Operation
	// seen are all messages, ordered by SeqID; one that came in two pages is there twice.
	seen []sighting
	// first and last are from the head.
	first, last uint64
	digest      string
}

// sighting is one message in an answer.
type sighting struct {
	*history.Seen
	op      *history.Operation
	message int32
}

func newIndex(h *history.History) *index {
	x := &index{h: h, byName: make(map[string]*timeline), readBack: slices.Clone(h.Meta.ReadBack)}
	ops := make([]*history.Operation, len(h.Operations))
	for i := range h.Operations {
		ops[i] = &h.Operations[i]
	}
	sortByInvoked(ops)
	nodes := make(map[string]bool)
	for _, op := range ops {
		x.addOperation(op)
		if op.Kind == history.KindFinalRead {
			nodes[op.Node] = true
		}
	}
	if len(x.readBack) == 0 {
		x.readBack = slices.Collect(maps.Keys(nodes))
	}
	slices.Sort(x.readBack)
	for _, name := range slices.Sorted(maps.Keys(x.byName)) {
		x.timelines = append(x.timelines, x.byName[name])
	}
	for _, t := range x.timelines {
		t.finish()
	}
	return x
}

func (x *index) timeline(name string) *timeline {
	t := x.byName[name]
	if t == nil {
		t = &timeline{name: name, ids: make(map[string]int32)}
		x.byName[name] = t
	}
	return t
}

func (x *index) addOperation(op *history.Operation) {
	if op.Kind == history.KindFanOut || op.Kind == history.KindKept || op.Kind == history.KindRevised {
		return // see fanOut, retention and revision
	}
	for i := range op.Items {
		item := &op.Items[i]
		x.timeline(cmp.Or(item.Timeline, op.Timeline)).addAttempt(op, item)
	}
	switch op.Kind {
	case history.KindTail:
		if len(op.Messages) == 0 {
			return // malformed
		}
		x.tails = append(x.tails, op)
	case history.KindTailEnd:
		x.tails = append(x.tails, op)
		return
	case history.KindChanges:
		if len(op.Messages) == 0 || len(op.Places) != len(op.Messages) {
			return // malformed
		}
		x.feeds = append(x.feeds, op)
	case history.KindChangesEnd:
		x.feeds = append(x.feeds, op)
		return
	case history.KindRead, history.KindHead, history.KindGet, history.KindFinalRead:
	default:
		return
	}
	v := view{op: op, last: op.HeadLast, head: op.Kind != history.KindGet && op.Kind != history.KindTail && op.Kind != history.KindChanges}
	v.notFound = op.Error == history.TimelineNotFound || op.Error == history.MessageNotFound
	if !v.notFound && op.Outcome != history.OK {
		return
	}
	if n := len(op.Messages); n > 0 && !v.head {
		v.last = op.Messages[n-1].SeqID
	}
	t := x.timeline(op.Timeline)
	if op.Kind == history.KindFinalRead {
		t.final(op.Node).add(op)
	} else {
		t.views = append(t.views, v)
	}
}

func (t *timeline) addAttempt(op *history.Operation, item *history.Item) {
	at := int32(len(t.attempts))
	a := attempt{op: op, item: item, outcome: op.ItemOutcome(item), next: -1}
	m, ok := t.ids[item.MessageID]
	if !ok {
		m = int32(len(t.messages))
		t.ids[item.MessageID] = m
		t.messages = append(t.messages, message{id: item.MessageID, first: at, last: at, acked: -1, lo: never})
	} else {
		t.attempts[t.messages[m].last].next = at
		t.messages[m].last = at
	}
	a.message = m
	t.attempts = append(t.attempts, a)
	known := &t.messages[m]
	if a.outcome != history.Fail {
		known.lo = min(known.lo, op.Invoked)
	}
	if a.outcome == history.OK && known.acked < 0 {
		known.acked, known.seq = at, item.SeqID
	}
}

func (t *timeline) final(node string) *nodeView {
	for _, n := range t.finals {
		if n.node == node {
			return n
		}
	}
	n := &nodeView{node: node}
	t.finals = append(t.finals, n)
	return n
}

func (n *nodeView) add(op *history.Operation) {
	n.ops = append(n.ops, op)
	n.first = max(n.first, op.FirstSeqID)
	if op.HeadLast >= n.last {
		n.last, n.digest = op.HeadLast, op.HeadDigest
	}
	for i := range op.Messages {
		n.seen = append(n.seen, sighting{Seen: &op.Messages[i], op: op, message: -1})
	}
}

// finish computes what needs the whole timeline.
func (t *timeline) finish() {
	slices.SortFunc(t.finals, func(a, b *nodeView) int { return cmp.Compare(a.node, b.node) })
	t.reference = make(map[uint64]sighting, len(t.messages))
	for _, n := range t.finals {
		slices.SortStableFunc(n.seen, func(a, b sighting) int { return cmp.Compare(a.SeqID, b.SeqID) })
		for i := range n.seen {
			m := t.refer(n.seen[i].Seen, n.seen[i].op)
			if m >= 0 {
				t.messages[m].readBack = true
			}
			n.seen[i].message = m
		}
	}
	for i := range t.views {
		op := t.views[i].op
		for j := range op.Messages {
			t.refer(&op.Messages[j], op)
		}
	}
	t.buildFrontier()
}

// refer takes a sighting into the reference unless there is one at its SeqID. It
// returns the message of the id, or -1 if it was never sent.
func (t *timeline) refer(s *history.Seen, op *history.Operation) int32 {
	known, ok := t.reference[s.SeqID]
	if ok && known.MessageID == s.MessageID {
		return known.message
	}
	m, sent := t.ids[s.MessageID]
	if !sent {
		m = -1
	} else if t.messages[m].seq == 0 {
		t.messages[m].seq = s.SeqID
	}
	if !ok {
		t.reference[s.SeqID] = sighting{s, op, m}
		t.last = max(t.last, s.SeqID)
	}
	return m
}

// sightings calls visit with every message that any read of the timeline showed.
func (t *timeline) sightings(visit func(sighting)) {
	for _, n := range t.finals {
		for _, s := range n.seen {
			visit(s)
		}
	}
	for i := range t.views {
		op := t.views[i].op
		for j := range op.Messages {
			s := &op.Messages[j]
			known := t.reference[s.SeqID]
			m := known.message
			if known.MessageID != s.MessageID {
				var sent bool
				if m, sent = t.ids[s.MessageID]; !sent {
					m = -1
				}
			}
			visit(sighting{s, op, m})
		}
	}
}

// attemptsOf calls visit with every attempt of the message until it returns false.
func (t *timeline) attemptsOf(m *message, visit func(*attempt) bool) {
	for at := m.first; at >= 0; at = t.attempts[at].next {
		if !visit(&t.attempts[at]) {
			return
		}
	}
}

// ackedOp is the operation of the first acknowledgement, or nil.
func (t *timeline) ackedOp(m *message) *history.Operation {
	if m.acked < 0 {
		return nil
	}
	return t.attempts[m.acked].op
}

// sortByInvoked orders operations as a history has them.
func sortByInvoked(ops []*history.Operation) {
	slices.SortFunc(ops, func(a, b *history.Operation) int {
		return cmp.Or(cmp.Compare(a.Invoked, b.Invoked), cmp.Compare(a.ID, b.ID))
	})
}
