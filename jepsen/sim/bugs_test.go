package sim

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var allBugs = flag.Bool("sim.bugs", false, "plant all bugs, also those that take a while to be found")

// Each bug that is planted must be found, by the checker that is there for it,
// within a few seeds; a simulation that is always green shows nothing.
func TestPlantedBugs(t *testing.T) {
	for _, planted := range []struct {
		bug      Bug
		duration time.Duration
		slow     bool
		checkers []string
	}{
		{BugEarlyAck, time.Minute, true, []string{"lost-append", "vanished-message", "replica-divergence", "log-mismatch"}},
		{BugNoReadIndex, 8 * time.Second, false, []string{"stale-read"}},
		{BugNoDedupe, 8 * time.Second, false, []string{"duplicate-message"}},
	} {
		t.Run(string(planted.bug), func(t *testing.T) {
			t.Parallel()
			if planted.slow && !*allBugs {
				t.Skip("takes a while; run with -sim.bugs")
			}
			for seed := uint64(1); seed <= 30; seed++ {
				begun := time.Now()
				result, verdict := judge(t, Options{Seed: seed, Bug: planted.bug, Duration: planted.duration})
				for _, a := range verdict.Anomalies {
					// A node that refuses to start is a finding too, but not this one.
					if result.ReadBack && slices.Contains(planted.checkers, a.Checker) {
						summary.add(fmt.Sprintf("bug %s: found by %s with seed %d", planted.bug, a.Checker, seed))
						t.Logf("found with seed %d, the last one in %v: %s: %s", seed, time.Since(begun).Round(time.Millisecond), a.Checker, a.Summary)
						return
					}
				}
				for _, err := range result.Failures {
					t.Logf("seed %d: %v", seed, err)
				}
			}
			t.Error("not found")
		})
	}
}
