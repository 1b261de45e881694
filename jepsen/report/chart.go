package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"tidemark/jepsen/history"
)

// Sizes of a chart in the units of its view box, which a page scales to its width.
const (
	chartWidth  = 720
	chartHeight = 200
	marginLeft  = 72
	marginRight = 8
	marginTop   = 10
	marginLow   = 22
)

// point is one value of a line. A value of NaN interrupts it.
type point struct {
	at    time.Duration
	value float64
}

// line is one series of a chart.
type line struct {
	name   string
	class  string
	points []point
	// step draws the value until the next one, as of a number that jumps.
	step bool
}

// chart is several lines over the same time.
type chart struct {
	until  time.Duration
	faults []history.Fault
	lines  []line
	// low and high are the bounds of the values. log makes the
	// distance of powers of ten equal.
	low, high float64
	log       bool
	// label renders a value at the axis.
	label func(float64) string
}

func (c *chart) x(at time.Duration) float64 {
	if c.until <= 0 {
		return marginLeft
	}
	return marginLeft + float64(at)/float64(c.until)*(chartWidth-marginLeft-marginRight)
}

func (c *chart) y(value float64) float64 {
	low, high := c.low, c.high
	if c.log {
		value, low, high = math.Log10(math.Max(value, low)), math.Log10(low), math.Log10(high)
	}
	if high <= low {
		high = low + 1
	}
	share := math.Min(math.Max((value-low)/(high-low), 0), 1)
	return chartHeight - marginLow - share*(chartHeight-marginLow-marginTop)
}

// svg draws the chart.
func (c *chart) svg(title string) template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, template.HTMLEscapeString(title))
	c.drawFaults(&b)
	c.drawAxes(&b)
	for _, l := range c.lines {
		fmt.Fprintf(&b, `<path class="line %s" d="%s"><title>%s</title></path>`, l.class, c.path(l), template.HTMLEscapeString(l.name))
	}
	b.WriteString(`</svg>`)
	// All text in it was escaped above, and the rest are numbers.
	return template.HTML(b.String())
}

func (c *chart) drawFaults(b *strings.Builder) {
	for _, f := range c.faults {
		to := f.To
		if to == history.NeverHealed {
			to = c.until
		}
		fmt.Fprintf(b, `<rect class="fault" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`,
			c.x(f.From), marginTop, math.Max(c.x(to)-c.x(f.From), 1), chartHeight-marginLow-marginTop,
			template.HTMLEscapeString(fmt.Sprintf("%s %s, %s to %s", f.Name, f.Target, seconds(f.From), seconds(to))))
	}
}

func (c *chart) drawAxes(b *strings.Builder) {
	for _, value := range c.ticks() {
		y := c.y(value)
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, marginLeft, chartWidth-marginRight, y, y)
		fmt.Fprintf(b, `<text class="axis" x="%d" y="%.1f" text-anchor="end">%s</text>`, marginLeft-5, y+4, template.HTMLEscapeString(c.label(value)))
	}
	c.drawTimes(b, chartHeight)
}

// drawTimes names times at the lower edge.
func (c *chart) drawTimes(b *strings.Builder, height int) {
	step := timeStep(c.until)
	for at := time.Duration(0); at <= c.until; at += step {
		fmt.Fprintf(b, `<text class="axis" x="%.1f" y="%d" text-anchor="middle">%s</text>`, c.x(at), height-6, seconds(at))
	}
}

// ticks are the values that are named at the axis.
func (c *chart) ticks() []float64 {
	var ticks []float64
	if c.log {
		for value := c.low; value <= c.high*1.001; value *= 10 {
			ticks = append(ticks, value)
		}
		return ticks
	}
	step := niceStep((c.high - c.low) / 4)
	for value := math.Ceil(c.low/step) * step; value <= c.high+step/1000; value += step {
		ticks = append(ticks, value)
	}
	return ticks
}

// niceStep is the smallest of 1, 2, 5, 10, 20, … that is at least the raw step.
func niceStep(raw float64) float64 {
	if raw <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if power*factor >= raw {
			return power * factor
		}
	}
	return power * 10
}

// timeStep is the distance of times that are named at the axis.
func timeStep(until time.Duration) time.Duration {
	for _, step := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute} {
		if until/step <= 9 {
			return step
		}
	}
	return time.Hour
}

// path is the line as the commands of an SVG path.
func (c *chart) path(l line) string {
	var b strings.Builder
	drawing := false
	for _, p := range l.points {
		if math.IsNaN(p.value) {
			drawing = false
			continue
		}
		x, y := c.x(p.at), c.y(p.value)
		switch {
		case !drawing:
			fmt.Fprintf(&b, "M%.1f %.1f", x, y)
		case l.step:
			fmt.Fprintf(&b, "H%.1fV%.1f", x, y)
		default:
			fmt.Fprintf(&b, "L%.1f %.1f", x, y)
		}
		drawing = true
	}
	return b.String()
}

func seconds(d time.Duration) string {
	if d < 100*time.Second {
		return fmt.Sprintf("%.4gs", math.Round(d.Seconds()*10)/10)
	}
	return d.Round(time.Second).String()
}
