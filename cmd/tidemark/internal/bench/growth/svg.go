package growth

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"

	"tidemark/cmd/tidemark/internal/bench"
)

// Measures of a plot, in pixels: panels are side by side and below each other.
const (
	columns      = 3
	panelWidth   = 330
	panelHeight  = 270
	marginLeft   = 70
	marginRight  = 18
	marginTop    = 76 // for the title, and two lines of the legend
	marginBottom = 34
	legendPitch  = 16
	legendColumn = 122
)

const (
	ink   = "#1d2329"
	soft  = "#5b6570"
	faint = "#e3e7ec"
)

// colours tell lines apart, also for those who do not see all of them.
var colours = []string{"#1f5fbf", "#c2410c", "#15803d", "#7c3aed", "#b8860b", "#0f766e"}

// line has a value for each step; NaN where there is none.
type line struct {
	name   string
	values []float64
}

// panel has lines with one unit.
type panel struct {
	title string
	text  func(float64) string
	lines []line
}

// draw draws a record: all panels over what grows.
func draw(r *record) string {
	panels := panelsOf(&r.GrowthDimension)
	var at []float64
	for i := range r.Steps {
		at = append(at, float64(r.At(&r.Steps[i])))
	}
	var b strings.Builder
	rows := (len(panels) + columns - 1) / columns
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" font-family="system-ui, sans-serif" font-size="11">`+"\n", columns*panelWidth, rows*panelHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*panelWidth, i/columns*panelHeight)
		p.draw(&b, axis(at), r.Name)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// place is where a step is on the axis, from 0 to 1, and what stands there.
type place struct {
	share float64
	text  string
}

// axis places the steps by their logarithms, or in equal distances if one is zero.
func axis(at []float64) []place {
	places := make([]place, len(at))
	for i, value := range at {
		places[i] = place{share: 0.5, text: bench.Grouped(int(value))}
		first, last := at[0], at[len(at)-1]
		switch {
		case len(at) == 1:
		case first <= 0, first == last:
			places[i].share = float64(i) / float64(len(at)-1)
		default:
			places[i].share = math.Log(value/first) / math.Log(last/first)
		}
	}
	return places
}

func (p *panel) draw(b *strings.Builder, places []place, grows string) {
	fmt.Fprintf(b, `<text x="10" y="22" font-size="13" font-weight="600" fill="%s">%s</text>`+"\n", ink, html.EscapeString(p.title))
	ticks, share := p.scale()
	across := func(share float64) float64 { return marginLeft + share*(panelWidth-marginLeft-marginRight) }
	up := func(value float64) float64 {
		return panelHeight - marginBottom - share(value)*(panelHeight-marginTop-marginBottom)
	}
	for _, value := range ticks {
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/>`+"\n", marginLeft, panelWidth-marginRight, up(value), up(value), faint)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end" fill="%s">%s</text>`+"\n", marginLeft-6, up(value)+4, soft, html.EscapeString(p.text(value)))
	}
	for i, place := range places {
		anchor := "middle"
		if len(places) > 1 && i == len(places)-1 {
			anchor = "end"
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="%s" fill="%s">%s</text>`+"\n", across(place.share), panelHeight-marginBottom+15, anchor, soft, place.text)
	}
	fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="%s">%s</text>`+"\n", across(0.5), panelHeight-marginBottom+29, soft, grows)
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		x, y := 12+i%columns*legendColumn-i%columns*18, 40+i/columns*legendPitch
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="9" height="9" rx="2" fill="%s"/><text x="%d" y="%d" fill="%s">%s</text>`+"\n", x, y-8, colour, x+13, y, ink, html.EscapeString(l.name))
		command, d := "M", ""
		for j, value := range l.values {
			if math.IsNaN(value) {
				continue
			}
			d += fmt.Sprintf("%s%.1f %.1f", command, across(places[j].share), up(value))
			command = "L"
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s, %s %s: %s</title></circle>`+"\n",
				across(places[j].share), up(value), colour, html.EscapeString(l.name), places[j].text, grows, html.EscapeString(p.text(value)))
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.8"/>`+"\n", d, colour)
	}
}

// steep is how much larger the largest value may be than the smallest to be shown from zero on,
// where what is twice as much is twice as high.
const steep = 40

// scale chooses between a scale from zero on and one of powers of ten: it returns values to
// name, and where a value is from 0 to 1.
func (p *panel) scale() (ticks []float64, share func(float64) float64) {
	least, most := math.Inf(1), 0.0
	for _, l := range p.lines {
		for _, value := range l.values {
			if value > 0 {
				least, most = math.Min(least, value), math.Max(most, value)
			}
		}
	}
	if most == 0 {
		return []float64{0}, func(float64) float64 { return 0 }
	}
	if most <= steep*least {
		step := niceStep(most / 4)
		top := math.Ceil(most/step) * step
		for value := 0.0; value <= top*1.001; value += step {
			ticks = append(ticks, value)
		}
		return ticks, func(value float64) float64 { return value / top }
	}
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	for power := low; power <= high; power++ {
		ticks = append(ticks, math.Pow(10, power))
	}
	return ticks, func(value float64) float64 {
		return math.Max(math.Log10(value)-low, 0) / (high - low)
	}
}

// niceStep is the smallest of 1, 2, 5, 10, 20, … that is at least the raw step.
func niceStep(raw float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, factor := range []float64{1, 2, 5} {
		if power*factor >= raw*0.999 {
			return power * factor
		}
	}
	return power * 10
}

// nanoseconds, bytes and mebibytes name values.
func nanoseconds(value float64) string {
	d := time.Duration(value)
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func bytes(value float64) string { return bench.Grouped(int(math.Round(value))) + " B" }

func mebibytes(value float64) string { return fmt.Sprintf("%.4g MiB", value) }
