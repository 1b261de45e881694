package e2e

import (
	"testing"
	"time"
)

// Five leaders in a row are killed under 64 writers. Every acknowledged message is
// there once, at its SeqID, on every node; no message is there twice.
func TestLeaderKilledFiveTimes(t *testing.T) {
	c := start(t, 3)
	cl := c.client()
	l := startLoad(c, 64)
	for round := range 5 {
		l.waitFor(500)
		leader := c.leader(cl)
		killed := time.Now()
		if err := leader.Kill(); err != nil {
			t.Fatal(err)
		}
		next := c.leader(cl)
		l.waitFor(100)
		t.Logf("round %d: killed %s, %s leads and acknowledges after %v", round+1, leader.ID, next.ID, time.Since(killed).Round(time.Millisecond))
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		if err := leader.WaitReady(testContext(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	l.waitFor(500)
	l.end()
	l.verify(c, c.Nodes...)
	c.stopAll()
	checkStopped(t, c.Nodes...)
}

// All nodes are killed in the same instant under load. Nothing that was
// acknowledged is lost.
func TestAllKilledAtOnce(t *testing.T) {
	c := start(t, 3)
	l := startLoad(c, 64)
	for range 2 {
		l.waitFor(2000)
		if err := c.KillAll(); err != nil {
			t.Fatal(err)
		}
		c.startAll()
	}
	l.waitFor(500)
	l.end()
	l.verify(c, c.Nodes...)
	c.stopAll()
	checkStopped(t, c.Nodes...)
}
