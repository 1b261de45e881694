package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
)

// Page is what a report is made of.
type Page struct {
	History *history.History
	Verdict checker.Verdict
	// Reason says in one line why the run passed or failed.
	Reason string
	// Setting says where the nodes lived, and what could be done to them.
	Setting string
	// Parameters are those of the run, Nemeses what each that took part does.
	Parameters, Nemeses []Parameter
	// Tables are what else the run was to find out.
	Tables []Table
	// Links are further pages beside this one.
	Links []Parameter
}

// Parameter is a name and its value.
type Parameter struct{ Name, Value string }

// Table has a row of cells for each of its lines.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// What pages are made of. All share one style.
var (
	//go:embed page.html
	pageSource string
	//go:embed index.html
	indexSource string
	//go:embed style.css
	style template.CSS

	functions = template.FuncMap{
		"style":     func() template.CSS { return style },
		"thousands": thousands,
	}
	page  = template.Must(template.New("page").Funcs(functions).Parse(pageSource))
	index = template.Must(template.New("index").Funcs(functions).Parse(indexSource))
)

// WriteFile writes a report. An existing file is replaced.
func WriteFile(path string, p Page) error {
	var b bytes.Buffer
	if err := Write(&b, p); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// Write writes a report.
func Write(w io.Writer, p Page) error {
	until := ends(p.History)
	v := view{
		Page: p, Meta: p.History.Meta, Pass: p.Verdict.OK(),
		Charts: []over{
			faultStrip(p.History, until), throughput(p.History, until), latency(p.History, until), leaders(p.History, until),
			terms(p.History, until), applied(p.History, until), memory(p.History, until),
		},
		Figures:   figures(p),
		Faults:    faults(p.History),
		Outcomes:  outcomes(p.History),
		Anomalies: anomalies(p),
	}
	return page.Execute(w, v)
}

// view is what the template shows.
type view struct {
	Page
	Meta      history.Meta
	Pass      bool
	Charts    []over
	Figures   []Parameter
	Faults    []faultRow
	Outcomes  []outcomeRow
	Anomalies []anomalyView
}

// Brief says in one line what was done to what, as far as the parameters tell.
func (p Page) Brief() string {
	var parts []string
	for _, name := range []string{"nodes", "mix", "duration", "seed"} {
		for _, parameter := range p.Parameters {
			if parameter.Name == name {
				parts = append(parts, parameter.Name+" "+parameter.Value)
			}
		}
	}
	return strings.Join(parts, " · ")
}

// figures are the few numbers that say how much the verdict stands on.
func figures(p Page) []Parameter {
	c := p.Verdict.Counts
	return []Parameter{
		{"appends acknowledged", thousands(c.AcknowledgedAppends)},
		{"of them found again", thousands(c.Duplicates)},
		{"appends unknown", thousands(c.UnknownAppends)},
		{"appends failed", thousands(c.FailedAppends)},
		{"reads", thousands(c.LinearizableReads + c.SessionReads + c.LocalReads)},
		{"acknowledgements", thousands(c.Acks)},
		{"messages read back", thousands(c.MessagesReadBack)},
		{"log entries compared", thousands(c.LogEntries)},
		{"timelines", thousands(c.Timelines)},
		{"processes", thousands(c.Processes)},
		{"faults", thousands(c.Faults)},
		{"longest silence", longestSilence(answered(p.History), 0, math.MaxInt64)},
	}
}

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// answered are the times at which appends were acknowledged, in order.
func answered(h *history.History) []time.Duration {
	var times []time.Duration
	for i := range h.Operations {
		op := &h.Operations[i]
		if len(op.Items) > 0 && op.Outcome == history.OK && op.Completed != history.NeverEnded {
			times = append(times, op.Completed)
		}
	}
	slices.Sort(times)
	return times
}

// longestSilence is the longest time between two acknowledged appends of which some
// part is between from and to.
func longestSilence(times []time.Duration, from, to time.Duration) string {
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		if times[i] >= from && times[i-1] <= to {
			longest = max(longest, times[i]-times[i-1])
		}
	}
	return longest.Round(time.Millisecond).String()
}

// faultRow is a fault, and the longest time without an append while it was in force.
type faultRow struct{ Name, Target, Detail, From, For, Silence string }

func faults(h *history.History) []faultRow {
	sorted, times := slices.Clone(h.Faults), answered(h)
	slices.SortFunc(sorted, func(a, b history.Fault) int { return int(a.From - b.From) })
	var rows []faultRow
	for _, f := range sorted {
		row := faultRow{Name: f.Name, Target: f.Target, Detail: f.Detail, From: seconds(f.From), For: "not healed"}
		to := time.Duration(math.MaxInt64)
		if f.To != history.NeverHealed {
			row.For, to = seconds(f.To-f.From), f.To
		}
		row.Silence = longestSilence(times, f.From, to)
		rows = append(rows, row)
	}
	return rows
}

// outcomeRow counts operations of one kind.
type outcomeRow struct {
	Kind              string
	OK, Fail, Unknown int
	// Errors are the most frequent ones.
	Errors string
}

func outcomes(h *history.History) []outcomeRow {
	type tally struct {
		outcomeRow
		errors map[string]int
	}
	var order []string
	tallies := map[string]*tally{}
	for i := range h.Operations {
		op := &h.Operations[i]
		kind := string(op.Kind)
		if op.Via != "" {
			kind += ", " + op.Via
		} else if op.Level != "" && !op.Kind.Final() {
			kind += ", " + op.Level
		}
		t := tallies[kind]
		if t == nil {
			t = &tally{outcomeRow: outcomeRow{Kind: kind}, errors: map[string]int{}}
			tallies[kind] = t
			order = append(order, kind)
		}
		switch op.Outcome {
		case history.OK:
			t.OK++
		case history.Fail:
			t.Fail++
		default:
			t.Unknown++
		}
		if op.Error != "" {
			t.errors[op.Error]++
		}
	}
	slices.Sort(order)
	var rows []outcomeRow
	for _, kind := range order {
		t := tallies[kind]
		t.Errors = mostFrequent(t.errors, 4)
		rows = append(rows, t.outcomeRow)
	}
	return rows
}

func mostFrequent(counts map[string]int, n int) string {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names[:min(n, len(names))] {
		short := name
		if len(short) > 80 {
			short = short[:80] + "…"
		}
		parts = append(parts, fmt.Sprintf("%s × %d", short, counts[name]))
	}
	return strings.Join(parts, ", ")
}
