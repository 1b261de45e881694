package checker

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// This file is Porcupine's model of one timeline. It is written without a look at
// the direct checkers, and shares no code with them.

// written is one message as the model knows it.
type written struct {
	id      string
	content uint64
}

// action is the input of one operation of the model.
type action struct {
	kind actionKind
	// items are appended together.
	items []appendItem
	// What a look shows: the last SeqID if head is set, and messages at SeqIDs.
	head  bool
	last  uint64
	shown []placed
	// A look for a message that was not there, by SeqID or by id.
	absentSeq uint64
	absentID  string
}

type actionKind uint8

const (
	// doAppend was acknowledged.
	doAppend actionKind = iota
	// mayAppend has an unknown outcome.
	mayAppend
	// conflictSeq failed because another last SeqID was expected.
	conflictSeq
	// conflictID failed because the id stands for other content.
	conflictID
	// look is a linearizable read.
	look
)

type appendItem struct {
	written
	expected  *uint64
	seq       uint64
	duplicate bool
}

type placed struct {
	seq uint64
	written
}

// modelState is a timeline: a list from the last message back to those that stood
// before the window. It is never changed.
type modelState struct {
	last  uint64
	tail  *modelLink
	front *front
}

type modelLink struct {
	written
	before *modelLink
	// hash covers the list up to here.
	hash uint64
}

// front is what stood in the timeline before the window.
type front struct {
	messages []written
	places   map[string]uint64
}

func newFront(messages []written) *front {
	f := &front{messages: messages, places: make(map[string]uint64, len(messages))}
	for i, m := range messages {
		f.places[m.id] = uint64(i + 1)
	}
	return f
}

// find returns the place of an id, or 0.
func (s modelState) find(id string) (uint64, written) {
	seq := s.last
	for l := s.tail; l != nil; l = l.before {
		if l.id == id {
			return seq, l.written
		}
		seq--
	}
	if seq := s.front.places[id]; seq != 0 {
		return seq, s.front.messages[seq-1]
	}
	return 0, written{}
}

// at returns what stands at a place.
func (s modelState) at(seq uint64) (written, bool) {
	if seq == 0 || seq > s.last {
		return written{}, false
	}
	if seq <= uint64(len(s.front.messages)) {
		return s.front.messages[seq-1], true
	}
	l := s.tail
	for range s.last - seq {
		l = l.before
	}
	return l.written, true
}

// push appends one message.
func (s modelState) push(w written) modelState {
	const prime = 1099511628211
	hash := (s.hash() ^ w.content) * prime
	for i := range len(w.id) {
		hash = (hash ^ uint64(w.id[i])) * prime
	}
	return modelState{s.last + 1, &modelLink{w, s.tail, hash}, s.front}
}

func (s modelState) hash() uint64 {
	if s.tail == nil {
		return 14695981039346656037
	}
	return s.tail.hash
}

func (s modelState) equal(other modelState) bool {
	if s.last != other.last || s.hash() != other.hash() {
		return false
	}
	for a, b := s.tail, other.tail; a != b; a, b = a.before, b.before {
		if a == nil || b == nil || a.written != b.written {
			return false
		}
	}
	return true
}

// step says whether the timeline can do this now, and what it is then.
func (s modelState) step(a *action) (bool, modelState) {
	switch a.kind {
	case doAppend:
		return s.append(a.items)
	case mayAppend:
		return true, s.tryAppend(a.items)
	case conflictSeq:
		at, _ := s.find(a.items[0].id)
		return at == 0 && a.items[0].expected != nil && *a.items[0].expected != s.last, s
	case conflictID:
		at, there := s.find(a.items[0].id)
		return at != 0 && there.content != a.items[0].content, s
	default:
		return s.shows(a), s
	}
}

// append is an acknowledged append: each answer has to be the right one.
func (s modelState) append(items []appendItem) (bool, modelState) {
	for _, item := range items {
		at, there := s.find(item.id)
		switch {
		case at != 0:
			if there.content != item.content || item.seq != at || !item.duplicate {
				return false, s
			}
		case item.expected != nil && *item.expected != s.last, item.seq != s.last+1:
			return false, s
		default:
			// The answer may say duplicate: an earlier try of the same call was the first.
			s = s.push(item.written)
		}
	}
	return true, s
}

// tryAppend is what an append does of which nobody saw the answer: all or nothing.
func (s modelState) tryAppend(items []appendItem) modelState {
	after := s
	for _, item := range items {
		at, there := after.find(item.id)
		switch {
		case at != 0 && there.content == item.content:
		case at != 0, item.expected != nil && *item.expected != after.last:
			return s
		default:
			after = after.push(item.written)
		}
	}
	return after
}

// shows judges a linearizable read.
func (s modelState) shows(a *action) bool {
	if a.head && a.last != s.last || a.absentSeq != 0 && a.absentSeq <= s.last {
		return false
	}
	if a.absentID != "" {
		if at, _ := s.find(a.absentID); at != 0 {
			return false
		}
	}
	for _, p := range a.shown {
		if there, ok := s.at(p.seq); !ok || there != p.written {
			return false
		}
	}
	return true
}

// timelineModel is the model of a timeline that begins with front.
func timelineModel(f *front) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return modelState{last: uint64(len(f.messages)), front: f} },
		Step: func(state, input, _ any) (bool, any) {
			return state.(modelState).step(input.(*action))
		},
		Equal:             func(a, b any) bool { return a.(modelState).equal(b.(modelState)) },
		Hash:              func(state any) uint64 { return state.(modelState).hash() },
		DescribeOperation: func(input, _ any) string { return input.(*action).describe() },
		DescribeState: func(state any) string {
			s := state.(modelState)
			if s.tail == nil {
				return fmt.Sprintf("%d messages", s.last)
			}
			return fmt.Sprintf("%d messages, the last is %s", s.last, s.tail.id)
		},
		DescribeOperationMetadata: func(info any) string { return fmt.Sprintf("operation %v", info) },
	}
}

func (a *action) describe() string {
	if a.kind == look {
		switch {
		case a.absentID != "":
			return "get " + a.absentID + ": not found"
		case a.absentSeq != 0:
			return fmt.Sprintf("get %d: not found", a.absentSeq)
		case len(a.shown) == 0:
			return fmt.Sprintf("head: %d", a.last)
		}
		first, last := a.shown[0], a.shown[len(a.shown)-1]
		return fmt.Sprintf("read %d–%d of %d (the last is %s)", first.seq, last.seq, a.last, last.id)
	}
	var parts []string
	for _, item := range a.items {
		part := item.id
		if item.expected != nil {
			part += fmt.Sprintf(" after %d", *item.expected)
		}
		switch a.kind {
		case mayAppend:
			part += ": unknown"
		case conflictSeq:
			part += ": other last SeqId"
		case conflictID:
			part += ": other content"
		default:
			part += fmt.Sprintf(": %d", item.seq)
			if item.duplicate {
				part += " (duplicate)"
			}
		}
		parts = append(parts, part)
	}
	return "append " + strings.Join(parts, ", ")
}
