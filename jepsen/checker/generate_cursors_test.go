package checker

import (
	"fmt"
	"sort"
	"time"

	"tidemark/jepsen/history"
)

func (s *simulation) chooseAck(op *history.Operation, t *simTimeline) func(*history.Operation) {
	op.Kind, op.Reader = history.KindAck, fmt.Sprint(simReader, s.rand.IntN(3))
	ack := history.CursorSeen{Timeline: t.name, Reader: op.Reader, Delivered: uint64(s.rand.IntN(len(t.messages) + 1))}
	if s.rand.IntN(2) == 0 {
		ack.Read = uint64(s.rand.IntN(len(t.messages) + 1))
	}
	op.Acks = []history.CursorSeen{ack}
	return func(op *history.Operation) {
		index := s.commit()
		op.Position = index
		marks := t.cursors[op.Reader]
		if marks == nil {
			marks = &[]simMark{{}}
			t.cursors[op.Reader] = marks
		}
		was := (*marks)[len(*marks)-1]
		is := simMark{index, max(was.delivered, ack.Delivered, ack.Read), max(was.read, ack.Read)}
		*marks = append(*marks, is)
		op.Cursors = []history.CursorSeen{{Timeline: t.name, Reader: op.Reader, Delivered: is.delivered, Read: is.read}}
	}
}

func (s *simulation) listCursors(op *history.Operation) {
	n := s.nodes[s.rand.IntN(3)]
	op.Node = n.name
	s.catchUp(op, n)
	s.cursorsAt(op, n.applied)
}

func (s *simulation) cursorsAt(op *history.Operation, applied uint64) {
	for _, t := range s.timelines {
		for reader := range 3 {
			name := fmt.Sprint(simReader, reader)
			marks := t.cursors[name]
			if marks == nil || op.Timeline != "" && op.Timeline != t.name || op.Reader != "" && op.Reader != name {
				continue
			}
			at := sort.Search(len(*marks), func(i int) bool { return (*marks)[i].index > applied }) - 1
			if m := (*marks)[at]; at > 0 {
				seen := history.CursorSeen{Timeline: t.name, Reader: name, Delivered: m.delivered, Read: m.read}
				seen.Last = uint64(sort.Search(len(t.index), func(i int) bool { return t.index[i] > applied }))
				seen.Unread = new(uint64)
				for _, sender := range t.senders[min(m.read, seen.Last):seen.Last] {
					if sender != name {
						*seen.Unread++
					}
				}
				op.Cursors = append(op.Cursors, seen)
			}
		}
	}
}

// readBack is the end of every run: all of every timeline, from every node.
func (s *simulation) readBack() {
	for _, n := range s.nodes {
		n.applied = uint64(len(s.commits))
		s.process++
		for _, t := range s.timelines {
			for from := uint64(1); ; from += 100 {
				op := s.finalOperation(n, t, history.KindFinalRead)
				op.Start, op.Direction, op.From, op.Limit = history.FromSeq, history.Forward, from, 100
				op.Level = history.Linearizable
				s.read(op)
				op.Level = history.Local
				if !op.More {
					break
				}
			}
			op := s.finalOperation(n, t, history.KindFinalCursors)
			op.Level = history.Local
			s.cursorsAt(op, n.applied)
		}
	}
}

func (s *simulation) finalOperation(n *simNode, t *simTimeline, kind history.Kind) *history.Operation {
	s.now += time.Millisecond
	op := &history.Operation{ID: int64(len(s.ops) + 1), Process: s.process, Client: "final", Node: n.name, Kind: kind,
		Timeline: t.name, Invoked: s.now, Completed: s.now, Outcome: history.OK}
	s.ops = append(s.ops, op)
	return op
}
