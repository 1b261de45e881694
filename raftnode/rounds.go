package raftnode

import (
	"context"
	"sync"
)

// rounds lets many callers share one answer: all that come while a round is under
// way wait for the next one, so an answer is never older than the call. One round
// runs at a time, and none when nobody waits.
type rounds[T any] struct {
	// run answers one round.
	run func() (T, error)

	mu      sync.Mutex
	next    *round[T]
	running bool
}

type round[T any] struct {
	done   chan struct{}
	answer T
	err    error
}

// wait returns the answer of a round that begins after the call, or ctx's error.
func (r *rounds[T]) wait(ctx context.Context) (T, error) {
	r.mu.Lock()
	if r.next == nil {
		r.next = &round[T]{done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		go r.loop()
	}
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (r *rounds[T]) loop() {
	for {
		r.mu.Lock()
		current := r.next
		r.next = nil
		if current == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		current.answer, current.err = r.run()
		close(current.done)
	}
}
