package workload

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Threads that are hushed begin nothing until clients may speak, and then go on.
func TestHushedThreadsBeginNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Environment{Pause: time.Second, Stop: make(chan struct{})}
		e.SetDoors([]*Door{{Name: "free"}})
		thread := &Thread{Environment: e, rand: rand.New(rand.NewPCG(1, 1))}
		var begun atomic.Int64
		stop := make(chan struct{})
		e.Stop = stop
		go func() {
			for thread.pause(t.Context()) {
				begun.Add(1)
			}
		}()
		e.Hush()
		e.Hush()
		time.Sleep(time.Minute)
		if n := begun.Load(); n > 0 {
			t.Errorf("%d operations were begun in silence", n)
		}
		e.Speak()
		e.Speak()
		time.Sleep(time.Minute)
		if n := begun.Load(); n < 30 {
			t.Errorf("%d operations were begun in a minute", n)
		}
		e.Hush()
		close(stop)
	})
}
