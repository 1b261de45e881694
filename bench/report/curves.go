package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"tidemark/internal/load"
)

// The measures of a plot of latencies, in pixels.
const (
	curvesWidth  = 900
	curvesHeight = 460
	curvesLeft   = 70
	curvesRight  = 330 // where the labels are
	curvesTop    = 50
	curvesBottom = 50
	labelPitch   = 20
)

// curveColours are those of lines that are neither Tidemark nor its ceiling.
var curveColours = []string{"#c2410c", "#d9a441", "#15803d", "#0f766e", "#7c3aed", "#be185d", "#713f12", "#4d7c0f"}

// point is one place on a curve.
type point struct {
	percentile float64
	latency    time.Duration
}

// curve is the median over the runs of the latency at each percentile. The last one, 100,
// would be that of a single call, and is left out.
func (c *contender) curve() []point {
	var points []point
	for i, percentile := range load.CurvePercentiles() {
		if percentile >= 100 {
			continue
		}
		latency := c.latency(func(l *load.Latency) time.Duration {
			if i >= len(l.Curve) {
				return 0
			}
			return l.Curve[i]
		})
		if latency > 0 {
			points = append(points, point{percentile, latency})
		}
	}
	return points
}

// curves draws the latency of each contender over the percentiles, both in powers of ten.
func curves(f field) string {
	lines := make(map[*contender][]point)
	lowest, highest := time.Duration(math.MaxInt64), time.Duration(0)
	for _, c := range f.contenders {
		lines[c] = c.curve()
		for _, p := range lines[c] {
			lowest, highest = min(lowest, p.latency), max(highest, p.latency)
		}
	}
	if highest == 0 {
		return ""
	}
	bottom, top := math.Floor(math.Log10(float64(lowest))), math.Ceil(math.Log10(float64(highest)))
	x := func(percentile float64) float64 {
		const decades = 4 // up to 99.99
		return curvesLeft - math.Log10(1-percentile/100)/decades*(curvesWidth-curvesLeft-curvesRight)
	}
	y := func(latency time.Duration) float64 {
		return curvesHeight - curvesBottom - (math.Log10(float64(latency))-bottom)/(top-bottom)*(curvesHeight-curvesTop-curvesBottom)
	}
	var d drawing
	d.text(12, 26, 16, "start", ink, f.work.Title+": latency of a call")
	for power := bottom; power <= top; power++ {
		at := time.Duration(math.Pow(10, power))
		d.line(curvesLeft, y(at), curvesWidth-curvesRight, y(at), 1, faint)
		d.text(curvesLeft-8, y(at)+4, 12, "end", nearby, at.String())
	}
	for _, percentile := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		d.line(x(percentile), curvesTop, x(percentile), curvesHeight-curvesBottom, 1, faint)
		d.text(x(percentile), curvesHeight-curvesBottom+18, 12, "middle", nearby, fmt.Sprintf("%v %%", percentile))
	}
	drawCurves(&d, f, lines, x, y)
	return d.finish(curvesWidth, curvesHeight)
}

// drawCurves draws the lines, and labels them in the order of their last points.
func drawCurves(d *drawing, f field, lines map[*contender][]point, x func(float64) float64, y func(time.Duration) float64) {
	drawn := slices.DeleteFunc(slices.Clone(f.contenders), func(c *contender) bool { return len(lines[c]) == 0 })
	slices.SortStableFunc(drawn, func(a, b *contender) int { return int(last(lines[b]) - last(lines[a])) })
	others, below := 0, float64(curvesTop)
	for _, c := range drawn {
		colour, width := blue, 2.5
		switch {
		case c.system.Ours && c.way != c.system.Ways[f.work.Kind][0]:
			colour = pale
		case c.system.Ceiling:
			colour, width = grey, 2
		case !c.system.Ours:
			colour, width = curveColours[others%len(curveColours)], 1.5
			others++
		}
		points := lines[c]
		for i := 1; i < len(points); i++ {
			d.line(x(points[i-1].percentile), y(points[i-1].latency), x(points[i].percentile), y(points[i].latency), width, colour)
		}
		at := max(y(last(points)), below)
		below = at + labelPitch
		d.line(x(points[len(points)-1].percentile), y(last(points)), curvesWidth-curvesRight+14, at, 0.5, colour)
		d.text(curvesWidth-curvesRight+18, at+4, 12, "start", colour, plain(c.name(f.work.Kind)))
	}
}

func last(points []point) time.Duration { return points[len(points)-1].latency }
