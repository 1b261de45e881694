package checker

import (
	"cmp"
	"maps"
	"slices"

	"tidemark/jepsen/history"
)

// register is one cursor. Each of its marks is a register that keeps the maximum.
type register struct{ timeline, reader string }

// marks are those of a cursor; what is read is delivered.
type marks struct{ delivered, read, floor uint64 }

func marksOf(c history.CursorSeen) marks { return marks{max(c.Delivered, c.Read), c.Read, c.Floor} }

// cursorBook is what is known about one cursor, for each mark: shown is by
// Completed, asked by Invoked.
type cursorBook struct {
	shown, asked [2]frontier
	// acked is whether any acknowledgement was answered with success.
	acked bool
	// rewound is whether anybody may have set it back; it is no maximum then.
	rewound bool
}

// each are the marks that keep the maximum.
func (m marks) each() [2]uint64 { return [2]uint64{m.delivered, m.read} }

var markNames = [2]string{"delivered", "read"}

// cursors is the history by cursors.
type cursors struct {
	x     *index
	books map[register]*cursorBook
	// readers and timelines find the cursors that a listing covers.
	readers, timelines map[string][]register
}

func newCursors(x *index) *cursors {
	c := &cursors{x: x, books: make(map[register]*cursorBook), readers: make(map[string][]register), timelines: make(map[string][]register)}
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		for _, ack := range op.Acks {
			b := c.book(op, ack)
			b.rewound = b.rewound || op.Rewind && op.Outcome != history.Fail
			for mark, value := range marksOf(ack).each() {
				if op.Outcome != history.Fail {
					b.asked[mark] = append(b.asked[mark], known{int64(op.Invoked), value, op})
				}
				if op.Outcome == history.OK {
					b.acked = true
					b.shown[mark] = append(b.shown[mark], known{int64(op.Completed), value, op})
				}
			}
		}
		if op.Outcome != history.OK || op.Kind == history.KindFinalCursors {
			continue
		}
		for _, shown := range op.Cursors {
			b := c.book(op, shown)
			for mark, value := range marksOf(shown).each() {
				b.shown[mark] = append(b.shown[mark], known{int64(op.Completed), value, op})
			}
		}
	}
	for _, b := range c.books {
		for mark := range markNames {
			b.shown[mark], b.asked[mark] = newFrontier(b.shown[mark]), newFrontier(b.asked[mark])
		}
	}
	return c
}

func registerOf(op *history.Operation, c history.CursorSeen) register {
	return register{cmp.Or(c.Timeline, op.Timeline), cmp.Or(c.Reader, op.Reader)}
}

func (c *cursors) book(op *history.Operation, seen history.CursorSeen) *cursorBook {
	r := registerOf(op, seen)
	b := c.books[r]
	if b == nil {
		b = &cursorBook{}
		c.books[r] = b
		c.readers[r.reader] = append(c.readers[r.reader], r)
		c.timelines[r.timeline] = append(c.timelines[r.timeline], r)
	}
	return b
}

// observations are the cursors that an answer shows, with those at 0 that a
// complete listing leaves out.
func (c *cursors) observations(op *history.Operation) map[register]marks {
	shown := make(map[register]marks, len(op.Cursors))
	if op.Kind != history.KindAck && !op.More {
		covered := c.timelines[op.Timeline]
		if op.Timeline == "" {
			covered = c.readers[op.Reader]
		}
		for _, r := range covered {
			if op.Reader == "" || op.Timeline == "" || r.reader == op.Reader {
				shown[r] = marks{}
			}
		}
	}
	for _, seen := range op.Cursors {
		// Delivered stands as it is, so that a mark below Read is found.
		shown[registerOf(op, seen)] = marks{seen.Delivered, seen.Read, seen.Floor}
	}
	return shown
}

// cursorRegress finds cursors that went back: a linearizable answer shows at least
// every mark that was acknowledged or shown before it was invoked, an answer to an
// acknowledgement at least what it asked for, the end everything; and none shows
// more than anyone had asked for.
func cursorRegress(x *index, f *findings) {
	c := newCursors(x)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Outcome != history.OK && op.Error != history.TimelineNotFound {
			continue
		}
		switch op.Kind {
		case history.KindAck, history.KindCursors, history.KindFinalCursors:
			c.judge(op, f)
		}
	}
	c.judgeReadBack(f)
}

func (c *cursors) judge(op *history.Operation, f *findings) {
	observed := c.observations(op)
	for _, r := range slices.SortedFunc(maps.Keys(observed), compareRegisters) {
		b := c.books[r]
		if b == nil {
			b = &cursorBook{}
		}
		shown := observed[r]
		if shown.read > shown.delivered {
			f.add(r.timeline, []*history.Operation{op}, "the cursor of %q is read up to %d and delivered up to %d", r.reader, shown.read, shown.delivered)
		}
		if b.rewound {
			continue
		}
		for mark, value := range shown.each() {
			if k := b.asked[mark].below(int64(op.Completed) + 1); value > k.seq {
				f.add(r.timeline, []*history.Operation{op, k.op}, "the cursor of %q is %s up to %d, and nobody had asked for more than %d", r.reader, markNames[mark], value, k.seq)
			}
			if k := b.least(mark, op, r); value < k.seq {
				f.add(r.timeline, []*history.Operation{k.op, op}, "the cursor of %q is %s up to %d, and it had been at %d before", r.reader, markNames[mark], value, k.seq)
			}
		}
	}
}

func compareRegisters(a, b register) int {
	return cmp.Or(cmp.Compare(a.timeline, b.timeline), cmp.Compare(a.reader, b.reader))
}

// least is what an answer has to show at least.
func (b *cursorBook) least(mark int, op *history.Operation, r register) (k known) {
	switch {
	case op.Kind == history.KindFinalCursors:
		return b.shown[mark].before(never)
	case op.Kind == history.KindCursors && op.Level != history.Linearizable:
		return known{}
	}
	k = b.shown[mark].before(op.Invoked)
	for _, ack := range op.Acks {
		if own := marksOf(ack).each()[mark]; registerOf(op, ack) == r && own > k.seq {
			k = known{0, own, op}
		}
	}
	return k
}

// judgeReadBack finds cursors that were acknowledged and not read back from every node.
func (c *cursors) judgeReadBack(f *findings) {
	type place struct{ node, name string }
	byTimeline, byReader := make(map[place]bool), make(map[place]bool)
	for i := range c.x.h.Operations {
		op := &c.x.h.Operations[i]
		if op.Kind != history.KindFinalCursors || op.Outcome != history.OK && op.Error != history.TimelineNotFound {
			continue
		}
		if op.Timeline != "" {
			byTimeline[place{op.Node, op.Timeline}] = true
		} else {
			byReader[place{op.Node, op.Reader}] = true
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(c.books), compareRegisters) {
		for _, node := range c.x.readBack {
			if c.books[r].acked && !byTimeline[place{node, r.timeline}] && !byReader[place{node, r.reader}] {
				f.add(r.timeline, nil, "the cursor of %q was acknowledged, and it was not read back from node %s", r.reader, node)
			}
		}
	}
}

// finalCursors finds cursors that differ between nodes at the end.
func finalCursors(x *index, f *findings) {
	c := newCursors(x)
	type first struct {
		marks marks
		op    *history.Operation
	}
	seen := make(map[register]first)
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if op.Kind != history.KindFinalCursors || op.Outcome != history.OK {
			continue
		}
		observed := c.observations(op)
		for _, r := range slices.SortedFunc(maps.Keys(observed), compareRegisters) {
			other, ok := seen[r]
			if !ok {
				seen[r] = first{observed[r], op}
				continue
			}
			if a, b := other.marks, observed[r]; a != b {
				f.add(r.timeline, []*history.Operation{other.op, op}, "at the end the cursor of %q is delivered %d, read %d, floor %d on node %q, and delivered %d, read %d, floor %d on node %q",
					r.reader, a.delivered, a.read, a.floor, other.op.Node, b.delivered, b.read, b.floor, op.Node)
			}
		}
	}
}
