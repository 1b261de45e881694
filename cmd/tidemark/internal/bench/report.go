package bench

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/internal/load"
)

// Report is what a bench found.
type Report interface {
	// Page shows it to people: its tables in a terminal, all of it in a browser. Who shows it
	// adds what was called, and when.
	Page() htmlreport.Page
}

// settings are the conditions, and what else there is to say.
func (c Conditions) settings(more ...htmlreport.Setting) []htmlreport.Setting {
	loop := "closed: each caller waits for the reply before its next call"
	if c.Rate > 0 {
		loop = fmt.Sprintf("open: %v calls are begun in a second, and latencies count from when a call was to begin", c.Rate)
	}
	return append([]htmlreport.Setting{
		{Name: "callers", Value: strconv.Itoa(c.Callers)}, {Name: "loop", Value: loop},
		{Name: "warm-up", Value: c.Warmup.String()}, {Name: "measured for", Value: c.Duration.String()},
		{Name: "repeats", Value: strconv.Itoa(c.Repeats)}, machine(),
	}, more...)
}

// machine is where the load ran.
func machine() htmlreport.Setting {
	return htmlreport.Setting{Name: "machine of the load", Value: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
}

func numberSetting(name string, n int) htmlreport.Setting {
	return htmlreport.Setting{Name: name, Value: strconv.Itoa(n)}
}

// name tells a run from its repeats.
func (c Conditions) name(run string, repeat int) string {
	if c.Repeats < 2 {
		return run
	}
	return fmt.Sprintf("%s #%d", run, repeat)
}

// runs gathers what is shown of the runs of a bench.
type runs struct {
	results, servers htmlreport.Table
	lines            []htmlreport.Line
}

// newRuns has columns of its own for what a bench counts by the second.
func newRuns(perSecond ...string) *runs {
	head := append([]string{"RUN"}, perSecond...)
	return &runs{
		results: htmlreport.Table{Title: "Results", Numbers: 1, Head: append(head, "P50", "P90", "P99", "P99.9", "MAX")},
		servers: htmlreport.Table{Title: "What the servers used", Numbers: 1},
	}
}

// add shows a run: its own columns, its latency and its line, which counts so many for each call.
func (r *runs) add(name string, m load.Measured, each float64, perSecond ...string) {
	row := append([]string{name}, perSecond...)
	r.results.Rows = append(r.results.Rows, append(row, latencyCells(m.Latency)...))
	r.lines = append(r.lines, htmlreport.Line{Name: name, Latency: m.Latency, Seconds: scaled(m.Seconds, each), Lasted: m.Lasted})
}

// use shows what the nodes used for a run.
func (r *runs) use(name string, u ServerUse) {
	per := "/" + strings.ToUpper(u.Per)
	r.servers.Head = []string{"RUN", "CPU" + per, "DISK WRITES" + per, "FSYNCS" + per, "MEMORY OF THE LARGEST NODE"}
	r.servers.Rows = append(r.servers.Rows, []string{
		name, rounded(u.Processor), fmt.Sprintf("%.0f bytes", u.Written), strconv.FormatFloat(u.Syncs, 'g', 3, 64), fmt.Sprintf("%d MiB", u.Memory>>20),
	})
}

func (r *runs) page(unit string, settings []htmlreport.Setting) htmlreport.Page {
	return htmlreport.Page{Tables: []htmlreport.Table{r.results, r.servers}, Lines: r.lines, Unit: unit, Settings: settings}
}

func latencyCells(l load.Latency) (cells []string) {
	for _, d := range []time.Duration{l.P50, l.P90, l.P99, l.P999, l.Max} {
		cells = append(cells, rounded(d))
	}
	return cells
}

// rounded keeps the digits of a duration that a histogram tells apart.
func rounded(d time.Duration) string {
	unit := time.Nanosecond
	for d/unit >= 10_000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func scaled(counts []int64, each float64) []float64 {
	out := make([]float64, len(counts))
	for i, n := range counts {
		out[i] = float64(n) * each
	}
	return out
}

func wholeNumber(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }
