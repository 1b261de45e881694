//go:build linux

package host

import (
	"math/rand/v2"
	"sync"
	"time"
)

// gate is one direction between two ends of relayed connections. All connections
// that way share it.
type gate struct {
	// mu guards what follows.
	mu            sync.Mutex
	delay, jitter time.Duration
	// open is closed while the gate is open.
	open chan struct{}
	shut bool
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) set(l link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay, g.jitter = l.delay, l.jitter
	switch {
	case l.cut && !g.shut:
		g.open = make(chan struct{})
	case !l.cut && g.shut:
		close(g.open)
	}
	g.shut = l.cut
}

// due says when what comes now may go on, as far as it does not have to wait for what
// came before it.
func (g *gate) due(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	due := now.Add(g.delay)
	if g.jitter > 0 {
		due = due.Add(rand.N(2*g.jitter+1) - g.jitter)
	}
	return due
}

// pass waits until the gate is open, or done is closed, and reports whether it is open.
func (g *gate) pass(done <-chan struct{}) bool {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-done:
		return false
	}
}
