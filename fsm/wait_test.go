package fsm

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"tidemark"
)

func TestWaitersWakeAtTheirIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waiters
		w.publish(3)
		if err := w.wait(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		woken := make([]bool, 20)
		for index := 4; index < len(woken); index++ {
			go func() {
				if err := w.wait(t.Context(), uint64(index)); err != nil {
					t.Error(err)
				}
				woken[index] = true
			}()
		}
		for _, reached := range []uint64{4, 5, 9, 19} { // indexes have gaps
			w.publish(reached)
			synctest.Wait()
			for index := 4; index < len(woken); index++ {
				if want := uint64(index) <= reached; woken[index] != want {
					t.Errorf("at index %d: waiter for %d woken is %v", reached, index, woken[index])
				}
			}
		}
		if len(w.heap) != 0 {
			t.Errorf("%d waiters are left", len(w.heap))
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w waiters
		cause := errors.New("client went away")
		contexts := make([]context.CancelCauseFunc, 10)
		errs := make([]error, len(contexts))
		for i := range contexts {
			ctx, cancel := context.WithCancelCause(t.Context())
			contexts[i] = cancel
			go func() { errs[i] = w.wait(ctx, uint64(1+i%3)) }()
		}
		synctest.Wait()
		for _, i := range []int{5, 0, 9, 4} {
			contexts[i](cause)
			synctest.Wait()
			if !errors.Is(errs[i], tidemark.ErrNotCaughtUp) || !errors.Is(errs[i], cause) {
				t.Errorf("waiter %d: %v", i, errs[i])
			}
		}
		if len(w.heap) != 6 {
			t.Errorf("%d waiters are in the heap, want 6", len(w.heap))
		}
		w.publish(3)
		synctest.Wait()
		for _, i := range []int{1, 2, 3, 6, 7, 8} {
			if errs[i] != nil {
				t.Errorf("waiter %d: %v", i, errs[i])
			}
		}
	})
}

// Waiters come and go while indexes are published: none is forgotten, none is early.
func TestWaitersUnderConcurrency(t *testing.T) {
	const indexes, callers = 2000, 16
	var w waiters
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(caller)))
			for index := uint64(0); index < indexes; {
				index = min(indexes, w.reached.Load()+random.Uint64N(4))
				ctx, cancel := context.WithCancel(context.Background())
				if random.IntN(3) == 0 {
					go cancel()
				}
				err := w.wait(ctx, index)
				cancel()
				if reached := w.reached.Load(); err == nil && reached < index {
					t.Errorf("woken for %d at %d", index, reached)
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	for index := range uint64(indexes) {
		w.publish(index + 1)
	}
	group.Wait()
	if len(w.heap) != 0 {
		t.Errorf("%d waiters are left", len(w.heap))
	}
}

func BenchmarkWaitSatisfied(b *testing.B) {
	var w waiters
	w.publish(10)
	for b.Loop() {
		if err := w.wait(b.Context(), 10); err != nil {
			b.Fatal(err)
		}
	}
}

// What a commit pays for 10,000 callers that wait for something far ahead.
func BenchmarkPublishPastFarWaiters(b *testing.B) {
	var w waiters
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range 10_000 {
		group.Go(func() { _ = w.wait(ctx, 1<<60) })
	}
	for waiting := 0; waiting < 10_000; runtime.Gosched() {
		w.mu.Lock()
		waiting = len(w.heap)
		w.mu.Unlock()
	}
	index := uint64(0)
	for b.Loop() {
		index++
		w.publish(index)
	}
	cancel()
	group.Wait()
}

// A commit and the wake-up of one caller that waits for it.
func BenchmarkPublishAndWake(b *testing.B) {
	var w waiters
	index := uint64(0)
	done := make(chan struct{})
	for b.Loop() {
		index++
		waiting := w.enter(index)
		go func() { <-waiting.woken; done <- struct{}{} }()
		w.publish(index)
		<-done
	}
}
