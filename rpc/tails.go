package rpc

import (
	"iter"
	"sync"
	"sync/atomic"

	"tidemark"
)

// Tails wakes the subscriptions of all Tail streams of a node when their timelines
// change. The state machine tells it what it has applied (Changed); it keeps no
// message. All methods are safe for concurrent use.
//
// Whoever applies only leaves the names of the timelines behind; a goroutine of its own
// finds who waits for them. So a timeline with 100,000 subscriptions holds up no append.
//
// Nothing is missed: a subscription is entered before its timeline is read for the first
// time, and what is committed after that is told after it.
type Tails struct {
	// subscriptions counts those of the whole node.
	subscriptions atomic.Int64

	// mu guards what was told and not passed on yet. all stands for every timeline.
	mu      sync.Mutex
	changed []tidemark.TimelineID
	all     bool
	told    chan struct{}

	// topicsMu guards the topics and all that is in them. It is taken before the
	// lock of a stream.
	topicsMu sync.Mutex
	topics   map[tidemark.TimelineID]*topic
}

// topic is a timeline that somebody waits for.
type topic struct {
	timeline      tidemark.TimelineID
	subscriptions []*subscription
}

// maxChanged bounds the names that wait to be passed on; beyond it, all subscriptions
// are woken, and find out for themselves.
const maxChanged = 1 << 16

// NewTails returns one that nobody waits on.
func NewTails() *Tails {
	return &Tails{told: make(chan struct{}, 1), topics: make(map[tidemark.TimelineID]*topic)}
}

// Changed says that the timelines have got messages, which are visible; nil says so of all
// timelines. It does not wait for anybody.
func (t *Tails) Changed(timelines iter.Seq[tidemark.TimelineID]) {
	if t.subscriptions.Load() == 0 {
		return
	}
	t.mu.Lock()
	if timelines == nil {
		t.all = true
	}
	if !t.all {
		for timeline := range timelines {
			t.changed = append(t.changed, timeline)
		}
		t.all = len(t.changed) > maxChanged
	}
	if t.all {
		t.changed = t.changed[:0]
	}
	t.mu.Unlock()
	signal(t.told)
}

// run passes on what was told until stop is closed.
func (t *Tails) run(stop <-chan struct{}) {
	var changed []tidemark.TimelineID
	for {
		select {
		case <-t.told:
		case <-stop:
			return
		}
		var all bool
		t.mu.Lock()
		changed, t.changed = t.changed, changed[:0]
		all, t.all = t.all, false
		t.mu.Unlock()
		t.wake(changed, all)
		clear(changed)
	}
}

func (t *Tails) wake(changed []tidemark.TimelineID, all bool) {
	t.topicsMu.Lock()
	defer t.topicsMu.Unlock()
	if all {
		for _, topic := range t.topics {
			topic.wake()
		}
		return
	}
	for _, timeline := range changed {
		if topic := t.topics[timeline]; topic != nil {
			topic.wake()
		}
	}
}

func (t *topic) wake() {
	for _, s := range t.subscriptions {
		s.stream.ready(s)
	}
}

// enter makes the subscription one that is woken. It reports false, and does nothing, if
// the node has as many as it may.
func (t *Tails) enter(s *subscription, timeline tidemark.TimelineID, most int64) bool {
	if t.subscriptions.Add(1) > most {
		t.subscriptions.Add(-1)
		return false
	}
	t.topicsMu.Lock()
	defer t.topicsMu.Unlock()
	of := t.topics[timeline]
	if of == nil {
		of = &topic{timeline: timeline}
		t.topics[timeline] = of
	}
	s.topic, s.place = of, int32(len(of.subscriptions))
	of.subscriptions = append(of.subscriptions, s)
	return true
}

// leave undoes enter.
func (t *Tails) leave(s *subscription) {
	t.topicsMu.Lock()
	defer t.topicsMu.Unlock()
	of := s.topic
	last := len(of.subscriptions) - 1
	of.subscriptions[s.place] = of.subscriptions[last]
	of.subscriptions[s.place].place = s.place
	of.subscriptions[last] = nil
	if of.subscriptions = of.subscriptions[:last]; last == 0 {
		delete(t.topics, of.timeline)
	}
	t.subscriptions.Add(-1)
}

// signal makes the one that waits on c look again.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
