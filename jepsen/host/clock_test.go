//go:build linux

package host

import (
	"fmt"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
)

// A clock that is stepped forth and back shows in the server times of new timelines,
// also after a restart. In a timeline that has later ones they do not run backwards.
func TestSetClock(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 1, Loopback: true})
	n := h.Node("n1")
	c := clientOf(t, h, "n1")
	appendTo := func(name string) time.Time {
		t.Helper()
		result, err := c.Append(testContext(t), client.Draft{Timeline: tidemark.TimelineID(name), Sender: "alice", Payload: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		return result.ServerTime
	}
	tries := 0
	awaitOffset := func(want time.Duration) {
		t.Helper()
		eventually(t, fmt.Sprintf("a clock that is off by %v", want), func() bool {
			tries++
			return (time.Until(appendTo(fmt.Sprint("new/", tries))) - want).Abs() < time.Minute
		})
	}
	before := appendTo("old")
	if err := n.SetClock(-3 * time.Hour); err != nil {
		t.Fatal(err)
	}
	awaitOffset(-3 * time.Hour)
	if after := appendTo("old"); after.Before(before) {
		t.Errorf("the server times of a timeline run backwards from %v to %v", before, after)
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(testContext(t)); err != nil {
		t.Fatal(err)
	}
	awaitOffset(-3 * time.Hour)
	if err := n.SetClock(0); err != nil {
		t.Fatal(err)
	}
	awaitOffset(0)
}
