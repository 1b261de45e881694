package fsm

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"tidemark"
)

// waiters wakes callers when an applied index is reached. A commit wakes those
// whose index it reached and touches no other: thousands of session reads that
// wait on a node far behind cost its commits nothing.
type waiters struct {
	reached atomic.Uint64
	mu      sync.Mutex
	heap    waiterHeap // least index first
}

// waiter is one caller. position is its place in the heap, or -1 once woken.
type waiter struct {
	index    uint64
	woken    chan struct{}
	position int
}

// publish says that index is applied. Each index is published once, after its
// commit; only a state that was replaced as a whole may go back.
func (w *waiters) publish(index uint64) {
	// Stored before the lock is taken: a waiter that holds the lock before us
	// is in the heap when we look, and one after us sees the index.
	w.reached.Store(index)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.heap) > 0 && w.heap[0].index <= index {
		close(heap.Pop(&w.heap).(*waiter).woken)
	}
}

// wait returns nil once index is applied. If ctx ends first, the error wraps
// tidemark.ErrNotCaughtUp and the context's cause.
func (w *waiters) wait(ctx context.Context, index uint64) error {
	if w.reached.Load() >= index {
		return nil
	}
	waiting := w.enter(index)
	if waiting == nil {
		return nil
	}
	select {
	case <-waiting.woken:
		return nil
	case <-ctx.Done():
		if w.leave(waiting) {
			return fmt.Errorf("%w: applied index is %d, waited for %d: %w", tidemark.ErrNotCaughtUp, w.reached.Load(), index, context.Cause(ctx))
		}
		return nil
	}
}

// enter returns nil if index was reached meanwhile.
func (w *waiters) enter(index uint64) *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reached.Load() >= index {
		return nil
	}
	waiting := &waiter{index: index, woken: make(chan struct{})}
	heap.Push(&w.heap, waiting)
	return waiting
}

// leave takes a waiter out, and reports whether it still waited.
func (w *waiters) leave(waiting *waiter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waiting.position < 0 {
		return false
	}
	heap.Remove(&w.heap, waiting.position)
	return true
}

// waiterHeap is a heap.Interface by index.
type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = i, j
}

// Push adds a *waiter.
func (h *waiterHeap) Push(x any) {
	added := x.(*waiter)
	added.position = len(*h)
	*h = append(*h, added)
}

// Pop removes the last *waiter.
func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	removed := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	removed.position = -1
	return removed
}
