//go:build linux

package host

import (
	"slices"
	"sync"
	"testing"
)

// What each process left is inspected once, while the node does not run: before the
// next start, before the node is removed, and when all are stopped.
func TestWhatAProcessLeftIsInspectedOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []NodeID
	h := form(t, Options{Nodes: 3, Loopback: true, Inspect: func(n Node) {
		mu.Lock()
		defer mu.Unlock()
		if n.Running() {
			t.Errorf("%s is inspected while it runs", n.ID())
		}
		seen = append(seen, n.ID())
	}})
	want := func(when string, ids ...NodeID) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(seen)
		if !slices.Equal(seen, ids) {
			t.Errorf("%s: inspected are %v, want %v", when, seen, ids)
		}
		seen = nil
	}
	want("after the first start")
	n1 := h.Node("n1")
	if err := n1.Start(); err == nil {
		t.Error("a node that runs was started")
	}
	want("while it runs")
	for range 2 {
		if err := n1.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := n1.Start(); err != nil {
			t.Fatal(err)
		}
		want("before it is started again", "n1")
	}
	if err := h.Remove("n2"); err != nil {
		t.Fatal(err)
	}
	want("before it is removed", "n2")
	for range 2 {
		if err := h.Stop(); err != nil {
			t.Fatal(err)
		}
		for _, n := range h.Nodes() {
			if n.Running() {
				t.Errorf("%s runs after all were stopped", n.ID())
			}
		}
	}
	want("when all are stopped", "n1", "n3")
	if err := n1.Start(); err != nil {
		t.Fatal(err)
	}
	want("when one is started after all")
}
