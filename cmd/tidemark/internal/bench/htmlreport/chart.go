package htmlreport

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tidemark/internal/load"
)

// Sizes of a chart in the units of its view box, which a page scales to its width.
const (
	chartWidth   = 720
	chartHeight  = 300
	marginLeft   = 84
	marginRight  = 16
	marginTop    = 12
	marginBottom = 48
)

// chart is what the template draws.
type chart struct {
	Title, Note string
	// XLabel and YLabel name the axes, with their units.
	XLabel, YLabel string
	X, Y           []tick
	Paths          []path
}

// tick is a place at an axis that has a name.
type tick struct {
	At   float64
	Text string
}

// path is a line, as commands of an SVG path.
type path struct{ Class, Name, D string }

// Places of the edges and labels, for the template.
func (chart) Width() int   { return chartWidth }
func (chart) Height() int  { return chartHeight }
func (chart) Left() int    { return marginLeft }
func (chart) Right() int   { return chartWidth - marginRight }
func (chart) Top() int     { return marginTop }
func (chart) Bottom() int  { return chartHeight - marginBottom }
func (chart) CentreX() int { return (marginLeft + chartWidth - marginRight) / 2 }
func (chart) CentreY() int { return (marginTop + chartHeight - marginBottom) / 2 }

// across and up place a share from 0 to 1 of the axes.
func across(share float64) float64 {
	return marginLeft + share*(chartWidth-marginLeft-marginRight)
}

func up(share float64) float64 {
	return chartHeight - marginBottom - share*(chartHeight-marginBottom-marginTop)
}

// mostNines is where the longest latency of all has its place.
const mostNines = 5

// nines is how many nines a percentile has: 0 for 0, 1 for 90, 2 for 99.
func nines(percentile float64) float64 {
	return math.Min(-math.Log10(math.Max(1-percentile/100, 1e-12)), mostNines)
}

// latencies draws the latency at each percentile, both on scales that show the tail.
func latencies(lines []Line) chart {
	c := chart{
		Title: "Latency by percentile", Note: "each nine is as wide as the one before; lower is better",
		XLabel: "percentile of the calls", YLabel: "latency",
	}
	for _, at := range []struct {
		percentile float64
		text       string
	}{{0, "0 %"}, {50, "50 %"}, {90, "90 %"}, {99, "99 %"}, {99.9, "99.9 %"}, {99.99, "99.99 %"}, {100, "max"}} {
		c.X = append(c.X, tick{across(nines(at.percentile) / mostNines), at.text})
	}
	low, high := decades(lines)
	place := func(d time.Duration) float64 {
		return up((math.Log10(max(d.Seconds(), 1e-6)) - float64(low)) / float64(high-low))
	}
	for decade := low; decade <= high; decade++ {
		d := time.Duration(math.Round(math.Pow10(decade+9))) * time.Nanosecond
		c.Y = append(c.Y, tick{place(d), d.String()})
	}
	for i, line := range lines {
		var d strings.Builder
		for j, percentile := range load.CurvePercentiles() {
			if j < len(line.Latency.Curve) {
				fmt.Fprintf(&d, "%s%.1f %.1f", command(j), across(nines(percentile)/mostNines), place(line.Latency.Curve[j]))
			}
		}
		c.Paths = append(c.Paths, path{class(i), line.Name, d.String()})
	}
	return c
}

// command begins a path, or goes on with it.
func command(i int) string {
	if i == 0 {
		return "M"
	}
	return "L"
}

// decades are the powers of ten, in seconds, between which all latencies lie.
func decades(lines []Line) (low, high int) {
	shortest, longest := math.Inf(1), 0.0
	for _, line := range lines {
		for _, d := range line.Latency.Curve {
			shortest, longest = math.Min(shortest, max(d.Seconds(), 1e-6)), math.Max(longest, d.Seconds())
		}
	}
	if longest == 0 {
		return -6, 0
	}
	low, high = int(math.Floor(math.Log10(shortest))), int(math.Ceil(math.Log10(longest)))
	return low, max(high, low+1)
}

// throughput draws what came in each second.
func throughput(lines []Line, unit string) chart {
	c := chart{
		Title: "Throughput over time", Note: "in each second of the measured time; higher is better",
		XLabel: "seconds since the measured time began", YLabel: unit,
	}
	highest, longest := 0.0, 0.0
	rates := make([][]float64, len(lines))
	for i, line := range lines {
		rates[i] = perSecond(line)
		longest = max(longest, math.Min(line.Lasted.Seconds(), float64(len(rates[i]))))
		for _, rate := range rates[i] {
			highest = max(highest, rate)
		}
	}
	longest = max(longest, 1e-3)
	step := niceStep(highest / 4)
	top := max(math.Ceil(highest/step), 1) * step
	for i := 0; float64(i)*step <= top; i++ {
		c.Y = append(c.Y, tick{up(float64(i) * step / top), count(float64(i) * step)})
	}
	step = niceStep(longest / 10)
	for i := 0; float64(i)*step <= longest; i++ {
		c.X = append(c.X, tick{across(float64(i) * step / longest), strconv.FormatFloat(float64(i)*step, 'g', 6, 64)})
	}
	for i, line := range lines {
		if len(rates[i]) == 0 {
			continue
		}
		var d strings.Builder
		for j, rate := range rates[i] {
			y := up(rate / top)
			if j == 0 {
				fmt.Fprintf(&d, "M%.1f %.1f", across(0), y)
			}
			end := math.Min(float64(j+1), line.Lasted.Seconds())
			fmt.Fprintf(&d, "V%.1fH%.1f", y, across(math.Min(end/longest, 1)))
		}
		c.Paths = append(c.Paths, path{class(i), line.Name, d.String()})
	}
	return c
}

// shortestPart is how long the last part of a second must be to have a rate.
const shortestPart = 0.2

// perSecond are the rates of a line's seconds, of which the last may be cut short.
func perSecond(line Line) (rates []float64) {
	for i, n := range line.Seconds {
		part := math.Min(line.Lasted.Seconds()-float64(i), 1)
		if part < shortestPart && i > 0 {
			break
		}
		rates = append(rates, n/max(part, 1e-3))
	}
	return rates
}

// niceStep is the smallest of 1, 2, 5, 10, 20, … that is at least the raw step.
func niceStep(raw float64) float64 {
	if raw <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, factor := range []float64{1, 2, 5} {
		if power*factor >= raw {
			return power * factor
		}
	}
	return power * 10
}

// count writes a number with commas.
func count(n float64) string {
	if n != math.Trunc(n) {
		return strconv.FormatFloat(n, 'g', 4, 64)
	}
	text := strconv.FormatFloat(n, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
