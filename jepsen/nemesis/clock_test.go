//go:build linux

package nemesis

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// All clocks are right after a schedule in which each nemesis of clocks had its turn.
func TestClocksAreSteppedBack(t *testing.T) {
	c, faults := play(t, 2, "clock-one", "clock-minority", "clock-majority", "clock-all", "clock-leader", "clock-strobe")
	for _, n := range c.nodes {
		if n := n.(*node); n.clock != 0 {
			t.Errorf("the clock of %s is off by %v", n.id, n.clock)
		}
	}
	stepped := map[string]int{}
	for _, f := range faults {
		stepped[f.Name] = len(strings.Fields(f.Target))
	}
	want := map[string]int{"clock-one": 1, "clock-minority": 2, "clock-majority": 3, "clock-all": 5, "clock-leader": 1, "clock-strobe": 5}
	for name, nodes := range want {
		if stepped[name] != nodes {
			t.Errorf("%s stepped the clocks of %d nodes, want %d", name, stepped[name], nodes)
		}
	}
}

// Steps are ahead and behind, from milliseconds to hours.
func TestStepsOfAClock(t *testing.T) {
	w := &World{Rand: rand.New(rand.NewPCG(1, 1))}
	kinds := map[string]bool{}
	for range 200 {
		d := step(w)
		if d.Abs() < leastStep || d.Abs() > mostStep {
			t.Fatalf("a step of %v", d)
		}
		size := "seconds"
		switch {
		case d.Abs() < time.Second:
			size = "milliseconds"
		case d.Abs() > time.Hour:
			size = "hours"
		}
		kinds[map[bool]string{true: "ahead ", false: "behind "}[d > 0]+size] = true
	}
	if len(kinds) != 6 {
		t.Errorf("in 200 steps there are only %v", kinds)
	}
}
