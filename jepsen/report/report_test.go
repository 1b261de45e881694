package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
)

// sampleHistory is ten seconds of appends, with a fault in the middle.
func sampleHistory() *history.History {
	h := &history.History{Meta: history.Meta{
		Seed: 7, Mix: []string{"kill"}, Version: "v1", CommandLine: "jepsen run --seed 7 --out 'a <b>'", Started: time.Unix(1e9, 0).UTC(),
	}}
	for i := range 1000 {
		at := time.Duration(i) * 10 * time.Millisecond
		op := history.Operation{
			ID: int64(i + 1), Process: int64(i % 5), Client: "free-1", Kind: history.KindAppend, Via: history.ViaStream, Timeline: "hot/1",
			Invoked: at, Completed: at + 2*time.Millisecond, Outcome: history.OK,
			Items: []history.Item{{Timeline: "hot/1", MessageID: fmt.Sprintf("m%d", i+1), SeqID: uint64(i + 1), Outcome: history.OK}},
		}
		if i > 400 && i < 600 {
			op.Outcome, op.Error = history.Unknown, "OUTCOME_UNKNOWN"
			op.Items[0].Outcome, op.Items[0].SeqID = history.Unknown, 0
		}
		h.Operations = append(h.Operations, op)
	}
	h.Operations[999].Completed = history.NeverEnded
	for i := range 10 {
		for _, node := range []string{"n1", "n2", "n10"} {
			h.Samples = append(h.Samples, history.Sample{
				At: time.Duration(i) * time.Second, Node: node, AppliedIndex: uint64(100 * i), Term: uint64(1 + i/5), Leader: "n2", MemoryBytes: 50 << 20,
			})
		}
	}
	h.Faults = []history.Fault{
		{Name: "kill-one", Target: "n1", From: 4 * time.Second, To: 6 * time.Second, Detail: "SIGKILL"},
		{Name: "cut-one", Target: `n2"><script>`, From: 9 * time.Second, To: history.NeverHealed},
	}
	return h
}

func render(t *testing.T, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAPassIsTheFirstThingSaid(t *testing.T) {
	text := render(t, Page{History: sampleHistory(), Reason: "no anomaly", Parameters: []Parameter{{"nodes", "3"}}})
	body := text[strings.Index(text, "<main>"):]
	if !strings.Contains(body[:200], "<h1>PASS</h1>") {
		t.Errorf("the page begins with %.200s", body)
	}
	if strings.Contains(text, "What is wrong") {
		t.Error("a page that passed says what is wrong")
	}
	for _, want := range []string{"Throughput", "Latency", "Leaders", "Terms", "Applied index", "jepsen run --seed 7", "kill-one", "OUTCOME_UNKNOWN", "append, stream"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// A band for each fault in each of the five charts, and a bar for each in the strip.
	if n := strings.Count(text, `class="fault"`); n != 10 {
		t.Errorf("there are %d shaded bands, want 10", n)
	}
	if n := strings.Count(text, `class="bar fault-bar"`); n != 2 {
		t.Errorf("there are %d bars of faults, want 2", n)
	}
}

func TestLongestSilence(t *testing.T) {
	times := []time.Duration{1 * time.Second, 2 * time.Second, 5 * time.Second, 6 * time.Second, 16 * time.Second}
	for _, c := range []struct {
		from, to time.Duration
		want     string
	}{
		{0, time.Hour, "10s"},
		{0, 3 * time.Second, "3s"},
		{5500 * time.Millisecond, 5800 * time.Millisecond, "1s"},
		{20 * time.Second, 30 * time.Second, "0s"},
	} {
		if got := longestSilence(times, c.from, c.to); got != c.want {
			t.Errorf("between %v and %v it is %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestAFailureShowsTheOperations(t *testing.T) {
	p := Page{History: sampleHistory(), Reason: "lost-append"}
	p.Verdict.Anomalies = []checker.Anomaly{{Checker: "lost-append", Summary: "m3 is gone", Timeline: "hot/1", Operations: []int64{3}}}
	text := render(t, p)
	for _, want := range []string{"<h1>FAIL</h1>", "What is wrong", "m3 is gone", "m3 is 3", "0.020000"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "m4 is 4") {
		t.Error("the page shows an operation that has nothing to do with it")
	}
}

func TestThePageIsSelfContainedAndEscapes(t *testing.T) {
	text := render(t, Page{History: sampleHistory()})
	if found := regexp.MustCompile(`(src|href)="?(https?:)?//|url\(|@import|<script`).FindString(text); found != "" {
		t.Errorf("the page holds %q", found)
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a chart has a place that is no number")
	}
}

func TestAnEmptyHistoryHasAPage(t *testing.T) {
	if text := render(t, Page{History: &history.History{}}); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a chart has a place that is no number")
	}
}
