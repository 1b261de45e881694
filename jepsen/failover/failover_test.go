package failover

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/jepsen/history"
)

// at makes a history in which each client has an append acknowledged at each of its
// times, in milliseconds.
func at(clients map[string][]int, faults ...history.Fault) *history.History {
	h := &history.History{Faults: faults}
	for client, times := range clients {
		for _, t := range times {
			h.Operations = append(h.Operations, history.Operation{
				Client: client, Outcome: history.OK, Completed: time.Duration(t) * time.Millisecond, Items: make([]history.Item, 1),
			})
		}
	}
	return h
}

func fault(name string, from int) history.Fault {
	return history.Fault{Name: name, From: time.Duration(from) * time.Millisecond}
}

func TestMeasureTakesTheLongestSilenceOfEachTrial(t *testing.T) {
	h := at(map[string][]int{
		// One silence from 90 to 700, in the trial of 100; one from 940 to 2000 that
		// begins in that of 900, and none in that of 2000, when b is served on.
		"a": {10, 50, 90, 700, 800, 910, 930, 2000, 2005, 2010},
		"b": {20, 60, 940, 2001, 2006},
	},
		fault("kill-leader", 900), fault("kill-leader", 100), fault("pause-leader", 2002), fault("another", 2100))
	cases := Measure(h, []string{"kill-leader", "pause-leader", "deaf-leader"})
	if want := []time.Duration{610 * time.Millisecond, 1060 * time.Millisecond}; !slices.Equal(cases[0].Silences, want) {
		t.Errorf("kill-leader: silences are %v, want %v", cases[0].Silences, want)
	}
	if c := cases[0]; c.Min != 610*time.Millisecond || c.Median != 1060*time.Millisecond || c.Worst != c.Median || c.SlowestClient != 1070*time.Millisecond {
		t.Errorf("kill-leader: %+v", c)
	}
	if want := []time.Duration{4 * time.Millisecond}; !slices.Equal(cases[1].Silences, want) {
		t.Errorf("pause-leader: silences are %v, want %v", cases[1].Silences, want)
	}
	if c := cases[2]; len(c.Silences) != 0 || c.Worst != 0 {
		t.Errorf("a case that was not tried is %+v", c)
	}
}

// What was not acknowledged ends no silence.
func TestOnlyAcknowledgedAppendsCount(t *testing.T) {
	h := at(map[string][]int{"a": {0, 100, 200, 300}}, fault("kill-leader", 50))
	h.Operations[1].Outcome = history.Unknown
	h.Operations[2].Items = nil
	if got := Measure(h, []string{"kill-leader"})[0].Worst; got != 300*time.Millisecond {
		t.Errorf("the silence is %v, want 300ms", got)
	}
}

func TestAnomaliesNameSlowAndMissingTrials(t *testing.T) {
	cases := []Case{
		{Name: "fast", Silences: []time.Duration{time.Second, time.Second}, Worst: time.Second},
		{Name: "slow", Silences: []time.Duration{time.Second, time.Minute}, Worst: time.Minute},
		{Name: "few", Silences: []time.Duration{time.Second}, Worst: time.Second},
	}
	anomalies := Anomalies(cases, 2, 20*time.Second)
	if len(anomalies) != 2 || !strings.HasPrefix(anomalies[0].Summary, "slow: 1m0s") || !strings.HasPrefix(anomalies[1].Summary, "few: 1 of 2") {
		t.Errorf("anomalies are %+v", anomalies)
	}
}
