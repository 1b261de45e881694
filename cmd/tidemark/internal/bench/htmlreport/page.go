// Package htmlreport renders what a benchmark found as one HTML page that needs nothing
// else: styles and charts, which are SVG drawn here, are in it.
package htmlreport

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"time"

	"tidemark/internal/load"
)

// Page is what a report is made of.
type Page struct {
	// Title is what was measured, and Command does it again.
	Title, Command, Version string
	Started                 time.Time
	// Settings are the conditions under which it was measured.
	Settings []Setting
	Tables   []Table
	// Lines are those of the charts, one for each run. Unit is what they have by the second.
	Lines []Line
	Unit  string
}

// Setting is a name and its value.
type Setting struct{ Name, Value string }

// Table has a row of cells for each of its lines. Cells of the columns from Numbers on are
// numbers.
type Table struct {
	Title   string
	Head    []string
	Numbers int
	Rows    [][]string
}

// Line is a run in the charts.
type Line struct {
	Name    string
	Latency load.Latency
	// Seconds counts what came in each second of what Lasted; without it, the run is not in the
	// chart of throughput.
	Seconds []float64
	Lasted  time.Duration
}

var (
	//go:embed page.html
	source string
	//go:embed style.css
	style template.CSS

	page = template.Must(template.New("page").Funcs(template.FuncMap{
		"style":  func() template.CSS { return style },
		"number": func(t Table, column int) bool { return column >= t.Numbers },
	}).Parse(source))
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
	return page.Execute(w, struct {
		Page
		Charts []chart
	}{p, []chart{latencies(p.Lines), throughput(p.Lines, p.Unit)}})
}

// Lines are told apart by colours, and if there are more of them by dashes, too.
const (
	colours = 7
	dashes  = 3
)

func class(line int) string {
	return fmt.Sprintf("c%d d%d", line%colours+1, line/colours%dashes+1)
}
