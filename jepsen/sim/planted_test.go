//go:build plantedbugs

package sim

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"tidemark/internal/planted"
)

// Bugs that a server can be built with are found here too. One process has one bug:
//
//	TIDEMARK_PLANTED_BUG=cursor-regress go test -tags plantedbugs ./jepsen/sim -run TestPlantedBuild -v
//
// Three are for runs of processes: EarlyAck is in the log store, which does not run
// here; RestoreWithoutRename needs a crash between two writes of a restore, which takes no
// virtual time; HeartbeatFastPath needs the schedule of trap 1, which random faults
// did not meet in a minute of wall time.
func TestPlantedBuild(t *testing.T) {
	bug := planted.Bug(os.Getenv(planted.Variable))
	checkers, ok := map[planted.Bug][]string{
		planted.NoReadIndex:            {"stale-read"},
		planted.NoDedupe:               {"duplicate-message"},
		planted.CursorRegress:          {"cursor-regress"},
		planted.UnreadByDevice:         {"unread-count"},
		planted.UnreadRedacted:         {"unread-count"},
		planted.ChangesSkip:            {"change-feed"},
		planted.FanOutInTwo:            {"fan-out"},
		planted.SnapshotWithoutCursors: {"cursor-regress", "replica-divergence"},
		planted.AppliedOutsideBatch:    {"lost-append", "vanished-message", "replica-divergence"},
	}[bug]
	if !ok {
		t.Skipf("%s=%s is none that is looked for here", planted.Variable, bug)
	}
	for seed := *first; seed < *first+30; seed++ {
		begun := time.Now()
		_, verdict := judge(t, Options{Seed: seed})
		for _, a := range verdict.Anomalies {
			if slices.Contains(checkers, a.Checker) {
				summary.add(fmt.Sprintf("build with %s: found by %s with seed %d", bug, a.Checker, seed))
				t.Logf("found with seed %d, the last one in %v: %s: %s", seed, time.Since(begun).Round(time.Millisecond), a.Checker, a.Summary)
				return
			}
		}
	}
	t.Error("not found")
}
