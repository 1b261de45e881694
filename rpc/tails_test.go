package rpc

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"tidemark"
)

func newSubscription(stream *tailStream, tag uint64) *subscription {
	return &subscription{stream: stream, tag: tag, priority: normal}
}

// taken are the tags that wait in the queue of a stream, which is emptied.
func (t *tailStream) taken() (tags []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := t.queue.pop(); s != nil; s = t.queue.pop() {
		s.queued = false
		tags = append(tags, s.tag)
	}
	slices.Sort(tags)
	return tags
}

func newQuietStream() *tailStream {
	return &tailStream{wake: make(chan struct{}, 1), room: make(chan struct{}, 1), subscriptions: map[uint64]*subscription{}}
}

// pass does what run does with what was told.
func (t *Tails) pass() {
	t.mu.Lock()
	changed, all := t.changed, t.all
	t.changed, t.all = nil, false
	t.mu.Unlock()
	t.wake(changed, all)
}

func TestTailsWakeWhoWaits(t *testing.T) {
	tails, stream := NewTails(), newQuietStream()
	tails.Changed(slices.Values([]tidemark.TimelineID{"a"}))
	if len(tails.changed) > 0 {
		t.Error("names are kept although nobody waits")
	}
	subscriptions := make([]*subscription, 4)
	for i, timeline := range []tidemark.TimelineID{"a", "a", "b", "a"} {
		subscriptions[i] = newSubscription(stream, uint64(i))
		tails.enter(subscriptions[i], timeline, 100)
	}
	woken := func(names ...tidemark.TimelineID) string {
		tails.Changed(slices.Values(names))
		tails.pass()
		return fmt.Sprint(stream.taken())
	}
	if got := woken("a", "c", "a"); got != "[0 1 3]" {
		t.Errorf("a woke %v", got)
	}
	tails.leave(subscriptions[0])
	if got := woken("a", "b"); got != "[1 2 3]" {
		t.Errorf("a and b woke %v", got)
	}
	for _, s := range subscriptions[1:] {
		tails.leave(s)
	}
	if len(tails.topics) != 0 || tails.subscriptions.Load() != 0 {
		t.Errorf("%d topics and %d subscriptions are left", len(tails.topics), tails.subscriptions.Load())
	}
}

// Names beyond a bound, and a state that was replaced, wake everybody.
func TestTailsWakeAll(t *testing.T) {
	tails, stream := NewTails(), newQuietStream()
	for i := range uint64(3) {
		tails.enter(newSubscription(stream, i), tidemark.TimelineID(fmt.Sprint(i)), 100)
	}
	tails.Changed(nil)
	tails.Changed(slices.Values([]tidemark.TimelineID{"1"}))
	tails.pass()
	if got := fmt.Sprint(stream.taken()); got != "[0 1 2]" {
		t.Errorf("a state that was replaced woke %v", got)
	}
	for range maxChanged + 1 {
		tails.Changed(slices.Values([]tidemark.TimelineID{"other"}))
	}
	if len(tails.changed) > 0 {
		t.Errorf("%d names are kept", len(tails.changed))
	}
	tails.pass()
	if got := fmt.Sprint(stream.taken()); got != "[0 1 2]" {
		t.Errorf("too many names woke %v", got)
	}
}

func TestTailsAreBounded(t *testing.T) {
	tails, stream := NewTails(), newQuietStream()
	first := newSubscription(stream, 1)
	if !tails.enter(first, "a", 1) || tails.enter(newSubscription(stream, 2), "a", 1) {
		t.Fatal("not exactly one was let in")
	}
	tails.leave(first)
	if !tails.enter(newSubscription(stream, 3), "a", 1) {
		t.Error("what left takes room")
	}
}

// Each priority gets its share of the turns, and the turns that others leave.
func TestReadyQueueShares(t *testing.T) {
	var q readyQueue
	push := func(p priority, n int) {
		for range n {
			q.push(&subscription{priority: p})
		}
	}
	count := func(n int) (got [priorities]int) {
		for range n {
			if s := q.pop(); s != nil {
				got[s.priority]++
			}
		}
		return got
	}
	push(high, 100)
	push(normal, 100)
	push(low, 100)
	if got := count(42); got != [priorities]int{32, 8, 2} {
		t.Errorf("of 42 turns: %v", got)
	}
	count(1000)
	if q.pop() != nil {
		t.Error("the queue is not empty")
	}
	push(low, 50)
	if got := count(50); got[low] != 50 {
		t.Errorf("alone it got %v of 50 turns", got)
	}
}

func TestFIFO(t *testing.T) {
	var f fifo
	next, want := uint64(0), uint64(0)
	for round := range 50 {
		for range 7 {
			next++
			f.push(&subscription{tag: next})
		}
		for range 3 + round%5 {
			if f.len() == 0 {
				break
			}
			want++
			if got := f.pop().tag; got != want {
				t.Fatalf("got %d, want %d", got, want)
			}
		}
	}
}

// An idle subscription takes less than a KiB on the server, with its timeline's name. All
// that is allocated counts, also what maps leave behind when they grow: the size of the
// heap would count what earlier tests leave to the collector, too.
func TestIdleSubscriptionIsSmall(t *testing.T) {
	const count = 50_000
	allocated := func() uint64 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.TotalAlloc
	}
	before := allocated()
	tails, stream := NewTails(), newQuietStream()
	for i := range uint64(count) {
		s := newSubscription(stream, i)
		tails.enter(s, tidemark.TimelineID(fmt.Sprintf("inbox/user-%012d", i)), count)
		stream.subscriptions[i] = s
		stream.ready(s)
	}
	stream.taken()
	each := (allocated() - before) / count
	t.Logf("at most %d bytes for each subscription", each)
	if each >= 1024 {
		t.Errorf("up to %d bytes for each subscription", each)
	}
}
