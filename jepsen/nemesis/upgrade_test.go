//go:build linux

package nemesis

import (
	"slices"
	"strings"
	"testing"
)

// Each node is stopped, upgraded and started once, and no two are away together;
// afterwards the nemesis has nothing to do.
func TestRollingUpgrade(t *testing.T) {
	c, faults := play(t, 1, "rolling-upgrade")
	if len(faults) != 1 || len(strings.Fields(faults[0].Target)) != 5 {
		t.Fatalf("faults are %+v, want one of all nodes", faults)
	}
	upgraded := map[string]bool{}
	// Healing resumes all that run.
	done := slices.DeleteFunc(c.done, func(what string) bool { return strings.HasPrefix(what, "resume") })
	for steps := range slices.Chunk(done, 4) {
		first, id, _ := strings.Cut(steps[0], " ")
		if want := []string{"terminate " + id, "upgrade " + id, "start " + id, "ready " + id}; first != "terminate" || !slices.Equal(steps, want) {
			t.Errorf("%v was done, want %v", steps, want)
		}
		upgraded[id] = true
	}
	if len(upgraded) != 5 {
		t.Errorf("only %v were upgraded", upgraded)
	}
	for _, n := range c.nodes {
		if n := n.(*node); !n.upgraded || !n.running {
			t.Errorf("%s: upgraded %v, running %v", n.id, n.upgraded, n.running)
		}
	}
}
