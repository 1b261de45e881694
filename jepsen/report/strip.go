package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"tidemark/jepsen/history"
)

// Sizes of a strip, whose width and margins are those of a chart.
const (
	barHeight = 12
	rowHeight = 20
	// namedRowHeight is that of a row with its name above the bars.
	namedRowHeight = 38
	// namedRows is the most rows that have their names above them.
	namedRows = 10
)

// strip is bars over time, in rows.
type strip struct {
	until time.Duration
	rows  []stripRow
	// above puts the names of the rows above their bars, and not at the axis.
	above bool
}

type stripRow struct {
	name string
	bars []bar
}

// bar is something that held from one time to another.
type bar struct {
	from, to     time.Duration
	class, title string
}

// svg draws the strip.
func (s *strip) svg(title string) template.HTML {
	height := rowHeight
	if s.above {
		height = namedRowHeight
	}
	low := marginTop + height*len(s.rows)
	c := chart{until: s.until}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, low+marginLow, template.HTMLEscapeString(title))
	for i, row := range s.rows {
		bottom := marginTop + height*(i+1)
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%d" y2="%d"/>`, marginLeft, chartWidth-marginRight, bottom, bottom)
		name := template.HTMLEscapeString(row.name)
		if s.above {
			fmt.Fprintf(&b, `<text class="axis" x="%d" y="%d">%s</text>`, marginLeft, bottom-barHeight-6, name)
		} else {
			fmt.Fprintf(&b, `<text class="axis" x="%d" y="%d" text-anchor="end">%s</text>`, marginLeft-5, bottom-4, name)
		}
		for _, bar := range row.bars {
			fmt.Fprintf(&b, `<rect class="bar %s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`, bar.class,
				c.x(bar.from), bottom-barHeight-2, math.Max(c.x(bar.to)-c.x(bar.from), 1.5), barHeight, template.HTMLEscapeString(bar.title))
		}
	}
	c.drawTimes(&b, low+marginLow)
	b.WriteString(`</svg>`)
	// All text in it was escaped above, and the rest are numbers.
	return template.HTML(b.String())
}

// faultStrip shows when each nemesis was at work: a row for each, or as few rows as
// they need if there are many.
func faultStrip(h *history.History, until time.Duration) over {
	sorted := slices.Clone(h.Faults)
	slices.SortFunc(sorted, func(a, b history.Fault) int { return int(a.From - b.From) })
	var names []string
	for _, f := range sorted {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	s := strip{until: until, above: len(names) <= namedRows}
	for _, f := range sorted {
		to := f.To
		if to == history.NeverHealed {
			to = until
		}
		b := bar{f.From, to, "fault-bar", fmt.Sprintf("%s %s, %s to %s: %s", f.Name, f.Target, seconds(f.From), seconds(to), f.Detail)}
		at := slices.IndexFunc(s.rows, func(row stripRow) bool {
			return s.above && row.name == f.Name || !s.above && row.bars[len(row.bars)-1].to < f.From
		})
		if at < 0 {
			at = len(s.rows)
			s.rows = append(s.rows, stripRow{})
			if s.above {
				s.rows[at].name = f.Name
			}
		}
		s.rows[at].bars = append(s.rows[at].bars, b)
	}
	note := "when each nemesis was at work, from harm to healing; whom it hit is in the table of faults below"
	if len(s.rows) == 0 {
		note = "none"
	}
	return over{Title: "Nemeses", Note: note, SVG: s.svg("Nemeses")}
}

// leaders shows whom each node takes for the leader. A node that does not answer has
// no bar.
func leaders(h *history.History, until time.Duration) over {
	names := nodes(h)
	s := strip{until: until}
	seen := make([]bool, len(names)+1)
	for _, node := range names {
		row := stripRow{name: node}
		for _, sample := range h.Samples {
			if sample.Node != node {
				continue
			}
			leader := slices.Index(names, sample.Leader)
			seen[leader+1] = true
			class, title := "nobody", node+" knows no leader"
			if leader >= 0 {
				class, title = colour(leader), node+" takes "+names[leader]+" for the leader"
			}
			// A bar goes on to the next sample, unless that is far.
			if last := len(row.bars) - 1; last >= 0 && sample.At-row.bars[last].to <= gap {
				row.bars[last].to = sample.At
				if row.bars[last].class == class {
					continue
				}
			}
			row.bars = append(row.bars, bar{sample.At, sample.At, class, title})
		}
		s.rows = append(s.rows, row)
	}
	o := over{Title: "Leaders", Note: "whom each node takes for the leader; no bar while it does not answer", SVG: s.svg("Leaders")}
	for i, name := range names {
		if seen[i+1] {
			o.Legend = append(o.Legend, entry{colour(i), name})
		}
	}
	if seen[0] {
		o.Legend = append(o.Legend, entry{"nobody", "none"})
	}
	return o
}

// colour is the class of the i-th node in all charts.
func colour(i int) string { return fmt.Sprintf("c%d", i%7+1) }
