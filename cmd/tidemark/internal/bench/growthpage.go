package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tidemark/cmd/tidemark/internal/bench/htmlreport"
)

// Page implements Report.
func (r *GrowthReport) Page() htmlreport.Page {
	page := htmlreport.Page{Unit: "appends/s"}
	for i := range r.Dimensions {
		d := &r.Dimensions[i]
		page.Tables = append(page.Tables, d.Tables()...)
		for _, setting := range d.Settings() {
			setting.Name = d.Name + ": " + setting.Name
			page.Settings = append(page.Settings, setting)
		}
		for j := range d.Steps {
			for _, call := range d.Steps[j].Calls {
				if call.Call == GrowthAppend {
					page.Lines = append(page.Lines, htmlreport.Line{
						Name: fmt.Sprintf("append, %s %s", Grouped(d.At(&d.Steps[j])), d.Name), Latency: call.Latency,
						Seconds: scaled(call.Seconds, 1), Lasted: call.Lasted,
					})
				}
			}
		}
	}
	return page
}

// Settings are the conditions.
func (d *GrowthDimension) Settings() []htmlreport.Setting {
	settings := []htmlreport.Setting{{Name: "machine of nodes and load", Value: d.Machine}, numberSetting("nodes", d.Nodes)}
	if len(d.ServeFlags) > 0 {
		settings = append(settings, htmlreport.Setting{Name: "flags of a node", Value: strings.Join(d.ServeFlags, " ")})
	}
	return append(settings, numberSetting("callers, each of which waits for its reply", d.Callers),
		htmlreport.Setting{Name: "each call measured for", Value: fmt.Sprintf("%v after %v", d.Duration, d.Warmup)}, numberSetting("messages of a page", d.PageSize))
}

// At is what grows, at a step.
func (d *GrowthDimension) At(s *GrowthStep) int {
	switch d.Name {
	case GrowTimelines:
		return s.Timelines
	case GrowPayloads:
		return s.Payload
	case GrowTails:
		return s.Tails
	default:
		return int(s.Messages)
	}
}

// head and place are the columns that say at which step something was measured.
func (d *GrowthDimension) head() []string {
	switch d.Name {
	case GrowPayloads:
		return []string{"PAYLOAD", "MESSAGES"}
	case GrowTails:
		return []string{"TAILS", "MESSAGES"}
	case GrowTimelines:
		return []string{"TIMELINES", "MESSAGES"}
	default:
		return []string{"MESSAGES", "TIMELINES"}
	}
}

func (d *GrowthDimension) place(s *GrowthStep) []string {
	if d.Name == GrowMessages {
		return []string{Grouped(int(s.Messages)), Grouped(s.Timelines)}
	}
	return []string{Grouped(d.At(s)), Grouped(int(s.Messages))}
}

// Tables show the calls, the space and the times of all steps.
func (d *GrowthDimension) Tables() []htmlreport.Table {
	tables := []htmlreport.Table{d.calls(), d.space()}
	if times := d.times(); len(times.Rows) > 0 {
		tables = append(tables, times)
	}
	return tables
}

// calls has the steps of each kind of call below each other.
func (d *GrowthDimension) calls() htmlreport.Table {
	t := htmlreport.Table{Title: "Growing " + d.Name + ": calls", Numbers: 1, Head: append(append([]string{"CALL"}, d.head()...), "CALLS/S", "P50", "P99", "CPU EACH")}
	for _, kind := range GrowthCalls() {
		for i := range d.Steps {
			for _, call := range d.Steps[i].Calls {
				if call.Call == kind {
					t.Rows = append(t.Rows, append(append([]string{kind}, d.place(&d.Steps[i])...),
						Grouped(int(call.PerSecond)), rounded(call.Latency.P50), rounded(call.Latency.P99), rounded(call.Servers.Processor)))
				}
			}
		}
	}
	for i := range d.Steps {
		if fill := &d.Steps[i].Fill; fill.Messages > 0 {
			t.Rows = append(t.Rows, append(append([]string{"message in a batch"}, d.place(&d.Steps[i])...), Grouped(int(fill.PerSecond)), "", "", rounded(fill.Servers.Processor)))
		}
	}
	return t
}

func (d *GrowthDimension) space() htmlreport.Table {
	t := htmlreport.Table{Title: "Growing " + d.Name + ": space", Head: append(d.head(),
		"STORE/MESSAGE", "LOG/MESSAGE", "WRITTEN/MESSAGE", "WRITTEN/PAYLOAD", "RESIDENT", "PEAK", "LIVE")}
	for i := range d.Steps {
		s := &d.Steps[i]
		row := append(d.place(s), fmt.Sprintf("%.0f bytes", s.Space.StorePerMessage))
		if s.Fill.Messages > 0 {
			row = append(row, fmt.Sprintf("%.0f bytes", s.Fill.LogBytes), fmt.Sprintf("%.0f bytes", s.Fill.Written), fmt.Sprintf("%.3g", s.Fill.Amplification))
		} else {
			row = append(row, "", "", "")
		}
		t.Rows = append(t.Rows, append(row, mebibytes(s.Space.Resident), mebibytes(s.Space.Peak), mebibytes(s.Space.Live)))
	}
	return t
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func (d *GrowthDimension) times() htmlreport.Table {
	t := htmlreport.Table{Title: "Growing " + d.Name + ": times", Head: append(d.head(),
		"START", "AFTER A KILL", "SNAPSHOT", "AT WORST", "BACKUP", "OF", "CATCH-UP", "WITH", "JOIN", "BY")}
	for i := range d.Steps {
		times := d.Steps[i].Times
		if times == nil {
			continue
		}
		by := "log"
		if times.BySnapshot {
			by = "snapshot"
		}
		row := d.place(&d.Steps[i])
		for _, took := range []time.Duration{times.Start, times.Killed, times.Snapshot, times.SnapshotMax, times.Backup} {
			row = append(row, rounded(took))
		}
		t.Rows = append(t.Rows, append(row, mebibytes(times.BackupBytes), rounded(times.CatchUp), Grouped(times.Burst), rounded(times.Join), by))
	}
	return t
}

// Grouped writes a number with commas.
func Grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
