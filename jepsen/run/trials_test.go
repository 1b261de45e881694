//go:build linux

package run

import (
	"strings"
	"testing"
	"time"
)

// A trial takes the leader away until another one serves, and what it costs is in the
// result and judged by the bound.
func TestATrialMeasuresTheLossOfTheLeader(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Mix, o.Workloads = []string{"kill-leader", "deaf-leader"}, []string{"probe"}
	// An election takes longer than that.
	o.Trials, o.FailoverBound = 1, time.Millisecond
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Failovers) != 2 || len(result.Failovers[0].Silences) != 1 || len(result.Failovers[1].Silences) != 1 {
		t.Fatalf("failovers are %+v", result.Failovers)
	}
	for _, c := range result.Failovers {
		if c.Worst < 100*time.Millisecond || c.Worst > time.Minute || c.SlowestClient < c.Worst {
			t.Errorf("%s took %v, of one client %v", c.Name, c.Worst, c.SlowestClient)
		}
	}
	if result.Pass || !strings.HasPrefix(result.Reason, "failover-time;") {
		t.Errorf("with a bound of 1ms the result is %v, %q; want nothing wrong but failover-time", result.Pass, result.Reason)
	}
	if faults := result.Verdict.Counts.Faults; faults != 2 {
		t.Errorf("there were %d faults", faults)
	}
}

// With rounds, each nemesis has its turns, and a run in which one has not is no evidence.
func TestRoundsAreComplete(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Mix, o.Rounds, o.Duration = []string{"pause-one", "cut-one"}, 1, time.Minute
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Pass || result.Verdict.Counts.Faults != 2 {
		t.Errorf("the result is %v, %q, with %d faults", result.Pass, result.Reason, result.Verdict.Counts.Faults)
	}

	o.Out, o.Duration = t.TempDir(), o.Calm/4
	if result, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "rounds") {
		t.Errorf("a run without time for its round has the result %+v, error %v", result, err)
	}
}
