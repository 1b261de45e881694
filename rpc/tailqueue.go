package rpc

import (
	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// subscription is what one stream knows of one timeline that it follows. There may be
// 100,000 of them on a stream, nearly all of which are idle: so it is small.
type subscription struct {
	stream *tailStream
	topic  *topic
	tag    uint64
	// position is the SeqID that was sent last. It belongs to the sender.
	position tidemark.SeqID
	// place is where it stands in its topic, guarded by Tails.topicsMu.
	place    int32
	priority priority
	// fromNewest says that position is to be taken from the head first.
	fromNewest bool
	notifyOnly bool
	// live says that the client was told that it has caught up. It belongs to the sender.
	live bool
	// queued says that it is in the ready queue, and ended that the client has
	// unsubscribed. Both are guarded by tailStream.mu.
	queued, ended bool
}

// priority is an index of queues.
type priority uint8

const (
	high priority = iota
	normal
	low
	priorities
)

// turns are how many of a round each priority gets, if all have something to send.
var turns = [priorities]int{high: 16, normal: 4, low: 1}

var priorityOf = map[tidemarkv1.TailPriority]priority{
	tidemarkv1.TailPriority_TAIL_PRIORITY_UNSPECIFIED: normal,
	tidemarkv1.TailPriority_TAIL_PRIORITY_NORMAL:      normal,
	tidemarkv1.TailPriority_TAIL_PRIORITY_HIGH:        high,
	tidemarkv1.TailPriority_TAIL_PRIORITY_LOW:         low,
}

// readyQueue holds the subscriptions of a stream that may have something to send, each at
// most once. Those of one priority take turns; the priorities share rounds.
type readyQueue struct {
	queues [priorities]fifo
	left   [priorities]int
}

func (q *readyQueue) push(s *subscription) { q.queues[s.priority].push(s) }

// pop returns the next one, or nil.
func (q *readyQueue) pop() *subscription {
	for range 2 {
		for p := range q.queues {
			if q.left[p] > 0 && q.queues[p].len() > 0 {
				q.left[p]--
				return q.queues[p].pop()
			}
		}
		// The round is over: whoever has turns left has nothing to send.
		q.left = turns
	}
	return nil
}

// fifo is a queue in a ring, which grows as needed.
type fifo struct {
	ring  []*subscription
	first int
	count int
}

func (f *fifo) len() int { return f.count }

func (f *fifo) push(s *subscription) {
	if f.count == len(f.ring) {
		grown := make([]*subscription, max(16, 2*len(f.ring)))
		n := copy(grown, f.ring[f.first:])
		copy(grown[n:], f.ring[:f.first])
		f.ring, f.first = grown, 0
	}
	f.ring[(f.first+f.count)%len(f.ring)] = s
	f.count++
}

func (f *fifo) pop() *subscription {
	s := f.ring[f.first]
	f.ring[f.first] = nil
	f.first = (f.first + 1) % len(f.ring)
	f.count--
	return s
}
