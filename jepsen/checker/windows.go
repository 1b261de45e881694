package checker

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"

	"tidemark/jepsen/history"
)

// trace is one timeline as Porcupine sees it.
type trace struct {
	name string
	// order is what stands at each SeqID from 1, as the first node's final reads show it.
	order []written
	place map[string]uint64
	// steps are its operations, in order of call.
	steps []step
	// firstShown is when a read that shows the id had ended.
	firstShown map[string]time.Duration
	// senders counts attempts that may have been the first, by id.
	senders map[string]int
	// marks are SeqIDs that an answer named, with when it had ended; in order of at,
	// each with the largest SeqID so far.
	marks  []reachedMark
	finals []*history.Operation
}

// reachedMark says that the timeline had reached seq at a time.
type reachedMark struct {
	at  time.Duration
	seq uint64
}

// step is one operation with its action. An open one has no known end.
type step struct {
	op     *history.Operation
	action *action
	open   bool
}

// window is a part of a trace that is judged alone: the operations around the
// SeqIDs from first to last, begun from all that stands before them. If the whole
// history is linearizable, so is each window; whole windows are whole traces.
type window struct {
	trace       *trace
	first, last uint64
	whole       bool
}

// traces sorts a history by timelines, in order of the first operation of each.
func traces(h *history.History) []*trace {
	byName := make(map[string]*trace)
	var all []*trace
	of := func(name string) *trace {
		t := byName[name]
		if t == nil {
			t = &trace{name: name, place: make(map[string]uint64), firstShown: make(map[string]time.Duration), senders: make(map[string]int)}
			byName[name] = t
			all = append(all, t)
		}
		return t
	}
	for i := range h.Operations {
		op := &h.Operations[i]
		switch {
		case slices.Contains([]history.Kind{history.KindFanOut, history.KindInbox, history.KindFinalInbox, history.KindKept, history.KindFinalKept,
			history.KindRevised, history.KindRevisedTail, history.KindRevisedTailEnd, history.KindFinalRevised}, op.Kind):
			// They have checkers of their own.
		case len(op.Items) > 0:
			addAppends(op, of)
		case op.Timeline != "":
			of(op.Timeline).addRead(op)
		}
	}
	for _, t := range all {
		t.readOrder()
		t.dropIdle()
		slices.SortStableFunc(t.steps, func(a, b step) int { return int(a.op.Invoked - b.op.Invoked) })
	}
	return all
}

// addAppends makes a step of each item, or of all of them in one timeline if they are atomic.
func addAppends(op *history.Operation, of func(string) *trace) {
	atomic := make(map[*trace]*action)
	for i := range op.Items {
		item := &op.Items[i]
		name := item.Timeline
		if name == "" {
			name = op.Timeline
		}
		t := of(name)
		a := &action{items: []appendItem{{written{item.MessageID, item.Content}, item.Expected, item.SeqID, item.Duplicate}}}
		switch outcome := op.ItemOutcome(item); {
		case outcome == history.OK:
			a.kind = doAppend
		case outcome == history.Unknown:
			a.kind = mayAppend
		case item.Error == history.SequenceConflict && item.Expected != nil && op.Via != history.ViaAtomic:
			a.kind = conflictSeq
		case item.Error == history.MessageIDConflict && op.Via != history.ViaAtomic:
			a.kind = conflictID
		default:
			continue
		}
		if a.kind == doAppend || a.kind == mayAppend {
			t.senders[item.MessageID]++
		}
		if a.kind == doAppend {
			t.marks = append(t.marks, reachedMark{op.Completed, item.SeqID})
		}
		if op.Via == history.ViaAtomic {
			if together := atomic[t]; together != nil {
				together.items = append(together.items, a.items...)
				continue
			}
			atomic[t] = a
		}
		t.steps = append(t.steps, step{op, a, a.kind == mayAppend})
	}
}

// addRead makes a step of a linearizable read, and of a final one.
func (t *trace) addRead(op *history.Operation) {
	notFound := op.Error == history.TimelineNotFound || op.Error == history.MessageNotFound
	if !notFound && op.Outcome != history.OK {
		return
	}
	if op.HeadLast > 0 {
		t.marks = append(t.marks, reachedMark{op.Completed, op.HeadLast})
	}
	a := &action{kind: look, head: op.Kind != history.KindGet, last: op.HeadLast}
	for _, m := range op.Messages {
		a.shown = append(a.shown, placed{m.SeqID, written{m.MessageID, m.Content}})
		if at, ok := t.firstShown[m.MessageID]; !ok || op.Completed < at {
			t.firstShown[m.MessageID] = op.Completed
		}
	}
	switch op.Kind {
	case history.KindFinalRead:
		t.finals = append(t.finals, op)
	case history.KindRead, history.KindHead:
		if op.Level != history.Linearizable {
			return
		}
	case history.KindGet:
		if op.Level != history.Linearizable {
			return
		}
		switch {
		case op.Error == history.TimelineNotFound:
			a.head = true
		case op.MessageID != "" && notFound:
			a.absentID = op.MessageID
		case notFound:
			a.absentSeq = op.From
		}
	default:
		return
	}
	t.steps = append(t.steps, step{op: op, action: a})
}

// readOrder takes the order of messages from the final reads of one node.
func (t *trace) readOrder() {
	for _, op := range t.finals {
		if op.Node != t.finals[0].Node {
			continue
		}
		for _, m := range op.Messages {
			if m.SeqID == uint64(len(t.order))+1 {
				t.order = append(t.order, written{m.MessageID, m.Content})
				t.place[m.MessageID] = m.SeqID
			}
		}
	}
}

// dropIdle removes appends of unknown outcome that changed nothing, because each
// would double the search: those that no read ever showed, if there are final reads,
// and those that were invoked when their messages had been shown already.
func (t *trace) dropIdle() {
	slices.SortFunc(t.marks, func(a, b reachedMark) int { return int(a.at - b.at) })
	for i := 1; i < len(t.marks); i++ {
		t.marks[i].seq = max(t.marks[i].seq, t.marks[i-1].seq)
	}
	t.steps = slices.DeleteFunc(t.steps, func(s step) bool {
		if !s.open {
			return false
		}
		known := 0
		var last time.Duration
		for _, item := range s.action.items {
			if at, ok := t.thereBy(item.id); ok {
				known++
				last = max(last, at)
			}
		}
		return known == 0 && len(t.finals) > 0 || known == len(s.action.items) && last < s.op.Invoked
	})
}

// thereBy is when a message was there at the latest: when an answer that names its
// place, or one after it, or that shows it, had ended.
func (t *trace) thereBy(id string) (time.Duration, bool) {
	at, ok := t.firstShown[id]
	if place := t.place[id]; place > 0 {
		i := sort.Search(len(t.marks), func(i int) bool { return t.marks[i].seq >= place })
		if i < len(t.marks) && (!ok || t.marks[i].at < at) {
			return t.marks[i].at, true
		}
	}
	return at, ok
}

// windows cuts the trace into at most count windows of about limit operations, evenly
// spread and around the given times, unless all of it is no more than limit.
func (t *trace) windows(limit, count int, around []time.Duration) []window {
	if len(t.steps) <= limit || len(t.order) == 0 {
		return []window{{t, 1, math.MaxUint64, true}}
	}
	total := uint64(len(t.order))
	width := max(1, total*uint64(limit)/uint64(len(t.steps)))
	var starts []uint64
	for i := range uint64(max(1, count/2)) {
		starts = append(starts, 1+i*(total-min(total, width))/uint64(max(1, count/2-1)))
	}
	for _, at := range around {
		if len(starts) < count {
			reached := t.reached(at)
			starts = append(starts, max(1, reached-min(reached, width/2)))
		}
	}
	slices.Sort(starts)
	var cut []window
	for _, first := range slices.Compact(starts) {
		cut = append(cut, window{t, first, min(total, first+width-1), false})
	}
	return cut
}

// reached is the largest acknowledged SeqID at a time.
func (t *trace) reached(at time.Duration) (seq uint64) {
	for _, s := range t.steps {
		if s.action.kind == doAppend && s.op.EndsBefore(at) {
			seq = max(seq, s.action.items[0].seq)
		}
	}
	return seq
}

// covers reduces a step to what concerns the window.
func (w *window) covers(s *step) *action {
	if w.whole {
		return s.action
	}
	switch s.action.kind {
	case doAppend, mayAppend:
		var within []appendItem
		for _, item := range s.action.items {
			if at := w.trace.place[item.id]; at >= w.first && at <= w.last {
				within = append(within, item)
			}
		}
		if len(within) > 0 {
			return &action{kind: s.action.kind, items: within}
		}
	case look:
		if s.action.head && s.action.last+1 >= w.first && s.action.last <= w.last {
			return s.action
		}
	}
	return nil
}

// operations are those of the window for Porcupine, and what stands before it.
func (w *window) operations() ([]porcupine.Operation, *front) {
	var ops []porcupine.Operation
	var end int64
	for i := range w.trace.steps {
		s := &w.trace.steps[i]
		a := w.covers(s)
		if a == nil {
			continue
		}
		back := int64(s.op.Completed)
		if s.open || s.op.Completed == history.NeverEnded {
			back = w.trace.latest(s)
		} else {
			end = max(end, back)
		}
		ops = append(ops, porcupine.Operation{Input: a, Call: int64(s.op.Invoked), Return: back, Metadata: s.op.ID})
		end = max(end, int64(s.op.Invoked))
	}
	for i := range ops {
		ops[i].Return = min(ops[i].Return, end+1)
	}
	assignLanes(ops)
	var before []written
	if !w.whole {
		before = w.trace.order[:w.first-1]
	}
	return ops, newFront(before)
}

// latest is when an append of unknown outcome had happened at the latest, or may be
// taken to have. If it made a message, that was before the message was shown. If
// another append did, this one changed nothing after that, and may as well have done
// so before the message was shown. Of several messages together that others sent
// too, this holds only for the last one.
func (t *trace) latest(s *step) int64 {
	first, last := int64(math.MaxInt64), int64(0)
	alone := true
	for _, item := range s.action.items {
		at, ok := t.thereBy(item.id)
		if !ok {
			last = math.MaxInt64
			continue
		}
		first, last = min(first, int64(at)), max(last, int64(at))
		alone = alone && t.senders[item.id] == 1
	}
	if alone {
		return first
	}
	return last
}

// assignLanes gives operations that overlap different lanes, for the picture.
func assignLanes(ops []porcupine.Operation) {
	var free []int64
	for i := range ops {
		lane := slices.IndexFunc(free, func(until int64) bool { return until < ops[i].Call })
		if lane < 0 {
			lane = len(free)
			free = append(free, 0)
		}
		ops[i].ClientId, free[lane] = lane, ops[i].Return
	}
}
