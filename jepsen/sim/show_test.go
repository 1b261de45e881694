package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// trap is one of the library's, shown over many trials: the bare library falls
// into it in some, and the server's floors, or the library with the defence, in none.
type trap struct {
	number int
	name   string
	// bare and ours report whether a trial fell into the trap.
	bare, ours         func(*testing.T, *rand.Rand) bool
	bareTrials, trials int
	// always says that every trial of the bare library must.
	always bool
	// hangs says that a trial may leave goroutines that wait for ever, which keep
	// its bubble from ending.
	hangs bool
}

func showTrap(t *testing.T, s trap) {
	t.Helper()
	t.Parallel()
	red := overTrials(t, s.bareTrials, s.hangs, s.bare)
	if red == 0 || s.always && red < s.bareTrials {
		t.Errorf("trap %d: the bare library fell into it in %d of %d trials; it may have been mended", s.number, red, s.bareTrials)
	}
	hits := overTrials(t, s.trials, false, s.ours)
	if hits > 0 {
		t.Errorf("trap %d: ours fell into it in %d of %d trials", s.number, hits, s.trials)
	}
	summary.add(fmt.Sprintf("trap %2d: bare %d of %d red, ours %d of %d green: %s",
		s.number, red, s.bareTrials, s.trials-hits, s.trials, s.name))
}

// overTrials runs trials, each in a bubble of its own, and counts those that hit.
func overTrials(t *testing.T, count int, hangs bool, trial func(*testing.T, *rand.Rand) bool) (hits int) {
	t.Helper()
	for seed := range uint64(count) {
		inBubble(t, hangs, func(t *testing.T) {
			if trial(t, rand.New(rand.NewPCG(*first+seed, 8))) {
				hits++
			}
		})
	}
	return hits
}

func inBubble(t *testing.T, hangs bool, f func(*testing.T)) {
	t.Helper()
	defer func() {
		if !hangs {
			return
		}
		if err, ok := recover().(error); ok && !strings.Contains(err.Error(), "blocked goroutines remain") {
			panic(err)
		}
	}()
	synctest.Test(t, f)
}

// summary is what a run of the tests ends with.
var summary summaryLines

type summaryLines struct {
	mu    sync.Mutex
	lines []string
}

func (s *summaryLines) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func TestMain(m *testing.M) {
	// The collector would take a fifth of the time, and there is memory.
	debug.SetGCPercent(400)
	code := m.Run()
	slices.Sort(summary.lines)
	if testing.Verbose() {
		for _, line := range summary.lines {
			fmt.Println("sim:", line)
		}
		fmt.Println("sim:", map[bool]string{true: "PASS", false: "FAIL"}[code == 0])
	}
	os.Exit(code)
}
