package raftnode

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRoundsAreSharedAndNeverOlderThanTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		r := rounds[int]{run: func() (int, error) {
			runs++
			mine := runs
			time.Sleep(time.Second)
			return mine, nil
		}}
		var wg sync.WaitGroup
		ask := func(want int) {
			wg.Go(func() {
				if got, err := r.wait(t.Context()); err != nil || got != want {
					t.Errorf("got round %d, %v; want %d", got, err, want)
				}
			})
		}
		ask(1)
		synctest.Wait()
		for range 100 { // all of them came after round 1 began
			ask(2)
		}
		wg.Wait()
		if runs != 2 {
			t.Fatalf("%d rounds for two", runs)
		}
		time.Sleep(time.Hour)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.running || runs != 2 {
			t.Fatal("rounds go on without callers")
		}
	})
}

func TestRoundsEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		r := rounds[int]{run: func() (int, error) { <-block; return 0, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		close(block)
	})
}
