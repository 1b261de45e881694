// Package failover measures, in the history of a run, how long a cluster that lost
// its leader took no appends. A trial lasts from the moment at which the leader is
// harmed until the next trial begins, so that what the leader's return costs counts
// as well. What is measured is the longest time in it between two acknowledgements,
// by whatever client; the one before it may be older than the harm.
package failover

import (
	"fmt"
	"slices"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
)

// Case is what all trials of one harm came to.
type Case struct {
	Name string `json:"name"`
	// Silences are the longest times without an acknowledged append, one for each
	// trial, in the order of the trials.
	Silences []time.Duration `json:"silences_ns"`
	Min      time.Duration   `json:"min_ns"`
	Median   time.Duration   `json:"median_ns"`
	Worst    time.Duration   `json:"worst_ns"`
	// SlowestClient is the longest that any one client was without an acknowledgement,
	// while others may have had some.
	SlowestClient time.Duration `json:"slowest_client_ns"`
}

// Measure returns a Case for each of the names, from the faults that have them.
func Measure(h *history.History, names []string) []Case {
	faults := slices.Clone(h.Faults)
	slices.SortFunc(faults, func(a, b history.Fault) int { return int(a.From - b.From) })
	all, byClient := acknowledged(h)
	cases := make([]Case, len(names))
	for i, name := range names {
		cases[i].Name = name
	}
	for i, f := range faults {
		at := slices.Index(names, f.Name)
		if at < 0 {
			continue
		}
		until := time.Duration(1<<63 - 1)
		if i+1 < len(faults) {
			until = faults[i+1].From
		}
		c := &cases[at]
		c.Silences = append(c.Silences, silence(all, f.From, until))
		for _, times := range byClient {
			c.SlowestClient = max(c.SlowestClient, silence(times, f.From, until))
		}
	}
	for i := range cases {
		cases[i].summarize()
	}
	return cases
}

func (c *Case) summarize() {
	if len(c.Silences) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(c.Silences))
	// Of an even number the upper one of the two in the middle, which flatters nobody.
	c.Min, c.Median, c.Worst = sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}

// acknowledged are the times at which appends were acknowledged, in order: all of
// them, and those of each client.
func acknowledged(h *history.History) (all []time.Duration, byClient map[string][]time.Duration) {
	byClient = map[string][]time.Duration{}
	for i := range h.Operations {
		op := &h.Operations[i]
		if len(op.Items) > 0 && op.Outcome == history.OK && op.Completed != history.NeverEnded {
			all = append(all, op.Completed)
			byClient[op.Client] = append(byClient[op.Client], op.Completed)
		}
	}
	slices.Sort(all)
	for _, times := range byClient {
		slices.Sort(times)
	}
	return all, byClient
}

// silence is the longest time between two neighbours of which the later one is not
// before from, and the earlier one is before until.
func silence(times []time.Duration, from, until time.Duration) time.Duration {
	var longest time.Duration
	first, _ := slices.BinarySearch(times, from)
	for i := max(first, 1); i < len(times) && times[i-1] < until; i++ {
		longest = max(longest, times[i]-times[i-1])
	}
	return longest
}

// Anomalies are the cases that took longer than the bound, or were tried less often
// than they were to be.
func Anomalies(cases []Case, trials int, bound time.Duration) []checker.Anomaly {
	var anomalies []checker.Anomaly
	for _, c := range cases {
		if c.Worst > bound {
			anomalies = append(anomalies, checker.Anomaly{Checker: "failover-time", Summary: fmt.Sprintf(
				"%s: %v without an acknowledged append; the bound is %v", c.Name, c.Worst.Round(time.Millisecond), bound)})
		}
		if len(c.Silences) < trials {
			anomalies = append(anomalies, checker.Anomaly{Checker: "failover-time", Summary: fmt.Sprintf(
				"%s: %d of %d trials could be done", c.Name, len(c.Silences), trials)})
		}
	}
	return anomalies
}

// Head names the columns of Rows.
var Head = []string{"case", "trials", "min", "median", "worst", "slowest client"}

// Rows are the cases as a person reads them, in seconds.
func Rows(cases []Case) [][]string {
	var rows [][]string
	for _, c := range cases {
		row := []string{c.Name, fmt.Sprint(len(c.Silences))}
		for _, d := range []time.Duration{c.Min, c.Median, c.Worst, c.SlowestClient} {
			row = append(row, fmt.Sprintf("%.2f s", d.Seconds()))
		}
		rows = append(rows, row)
	}
	return rows
}
