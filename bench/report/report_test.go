package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/bench/result"
	"tidemark/bench/system"
	"tidemark/internal/load"
)

var update = flag.Bool("update", false, "write testdata anew")

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{5, 1, 3}, spread{3, 1, 5}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
}

// Ratios are those of one round each: the median of ratios is not the ratio of medians.
func TestRatioIsByRound(t *testing.T) {
	runs := func(rates map[int]float64) *contender {
		c := new(contender)
		for round, rate := range rates {
			c.runs = append(c.runs, result.Run{Round: round, Messages: rate})
		}
		return c
	}
	a := runs(map[int]float64{1: 100, 2: 400, 3: 300, 4: 1000})
	b := runs(map[int]float64{1: 50, 2: 100, 3: 300})
	got, rounds := a.ratio(b)
	if want := (spread{2, 1, 4}); got != want || rounds != 3 {
		t.Errorf("got %v of %d rounds, want %v of 3", got, rounds, want)
	}
	if _, rounds := a.ratio(runs(map[int]float64{5: 1})); rounds != 0 {
		t.Errorf("a ratio of %d rounds that they do not share", rounds)
	}
}

func TestFormat(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(1000): "1,000", count(1234567): "1,234,567",
		rate(876.6): "877", rate(1234): "1,230", rate(13249): "13,200", rate(163499): "163,000",
		three(0.1234): "0.12", three(12.34): "12.3", three(1234.5): "1,234",
		duration(0): "–", duration(732 * time.Nanosecond): "0.73 µs", duration(12345 * time.Microsecond): "12.3 ms", duration(2 * time.Second): "2.00 s",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// example is a report of systems that win, lose, fail and are not there.
func example() *result.Report {
	both := map[system.Kind][]string{system.Append: {"x"}, system.Tail: {"x"}}
	r := &result.Report{
		Settings: result.Settings{Commit: "v1.2.3", Warmup: time.Second, Duration: 5 * time.Second},
		Command:  "go run -C bench .", Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine: result.Machine{Processor: "A processor", Cores: 2, Memory: 24 << 30, FileSystem: "ext4", Kernel: "6.1", Go: "go1.26"},
		Systems: []result.System{
			{Version: "v1.2.3", Description: system.Description{
				Name: "ours", Title: "Ours", Ours: true, Nodes: 3, Acknowledged: "safe", Retry: "known", Config: "As it comes.",
				Ways: map[system.Kind][]string{system.Append: {"SDK", "unary"}, system.Tail: {"SDK"}},
			}},
			{Version: "v1", Description: system.Description{Name: "most", Title: "Most", Ceiling: true, Nodes: 3, Ways: map[system.Kind][]string{system.Append: {"x"}}}},
			{Version: "v2", Description: system.Description{Name: "fast", Title: "Fast `mode`", NotDurable: true, Nodes: 3, Ways: both}},
			{Version: "v3", Description: system.Description{Name: "single", Title: "Single", Nodes: 1, Ways: map[system.Kind][]string{system.Append: {"x", "y"}}}},
			{Version: "v4", Description: system.Description{Name: "sick", Title: "Sick", Nodes: 3, Ways: both}},
			{Missing: "not installed", Description: system.Description{Name: "gone", Title: "Gone", Nodes: 1, Ways: both}},
		},
	}
	add := func(work, name, way string, rates ...float64) {
		for i, rate := range rates {
			run := result.Run{
				Round: i + 1, Work: work, System: name, Way: way, Messages: rate,
				Processor: 40 * time.Microsecond, Written: 1234, Memory: 100 << 20,
			}
			if work != "tail" {
				run.Latency = load.Latency{P50: time.Millisecond, P99: 10 * time.Millisecond, Max: 20 * time.Millisecond}
				for at := range load.CurvePercentiles() {
					run.Latency.Curve = append(run.Latency.Curve, time.Duration(at+1)*time.Millisecond)
				}
			}
			if rate == 0 {
				run = result.Run{Round: i + 1, Work: work, System: name, Way: way, Failed: "3 of 100 calls failed", FailedShare: 0.03}
			}
			r.Runs = append(r.Runs, run)
		}
	}
	add("append-64", "ours", "SDK", 30_000, 32_000, 28_000)
	add("append-64", "ours", "unary", 15_000, 16_000, 14_000)
	add("append-64", "most", "x", 60_000, 64_000, 56_000)
	add("append-64", "fast", "x", 31_000, 31_000, 31_000)
	add("append-64", "single", "x", 45_000, 48_000, 42_000)
	add("append-64", "single", "y", 9_000, 9_500, 8_500)
	add("append-64", "sick", "x", 25_000, 0, 26_000)
	add("tail", "ours", "SDK", 200_000, 220_000)
	add("tail", "fast", "x", 180_000, 210_000)
	r.Runs = append(r.Runs, result.Run{Round: 1, Work: "tail", System: "sick", Way: "x", Failed: "it did not start: a|b\nits log"})
	return r
}

func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.md")
	if err := Write(example(), path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("not as in %s; look at it, and write it anew with -update:\n%s", golden, got)
	}
	for _, name := range []string{"appends.svg", "reads.svg", "latency-append-64.svg"} {
		svg, err := os.ReadFile(filepath.Join(filepath.Dir(path), "report", name))
		if err != nil {
			t.Fatal(err)
		}
		checkSVG(t, name, string(svg))
	}
}

// checkSVG says whether a drawing is XML, has its numbers, and needs nothing from elsewhere.
func checkSVG(t *testing.T, name, svg string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "href", "url("} {
		if strings.Contains(svg, bad) {
			t.Errorf("%s has %s", name, bad)
		}
	}
	if !strings.Contains(svg, "Ours SDK") || !strings.Contains(svg, "Fast mode") {
		t.Errorf("%s does not name all", name)
	}
}

// A report of nothing but failures has no rates, ratios and plots to divide by zero in.
func TestReportOfFailures(t *testing.T) {
	r := example()
	for i := range r.Runs {
		r.Runs[i] = result.Run{Round: r.Runs[i].Round, Work: r.Runs[i].Work, System: r.Runs[i].System, Way: r.Runs[i].Way, Failed: "no leader"}
	}
	for _, p := range plotsOf(r) {
		if strings.Contains(p.svg, "NaN") || strings.Contains(p.svg, "Inf") {
			t.Errorf("%s:\n%s", p.name, p.svg)
		}
	}
	for _, f := range fields(r) {
		for _, c := range f.contenders {
			if math.IsNaN(c.rate.median) || c.rate.median != 0 {
				t.Errorf("%+v", c.rate)
			}
		}
		if lines := verdicts(f); len(lines) != 0 {
			t.Errorf("verdicts of nothing: %q", lines)
		}
	}
}
