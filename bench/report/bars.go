package report

import "tidemark/bench/system"

// The measures of a plot of bars, in pixels.
const (
	barsWidth   = 900
	labelsWidth = 330
	valueWidth  = 190
	barHeight   = 16
	barPitch    = 24
	panelHead   = 40
	panelGap    = 16
)

// bars draws a panel for each work: the median rate of each contender, and a line from the
// least to the largest.
func bars(fields []field) string {
	var d drawing
	y := float64(panelGap)
	for _, f := range fields {
		d.text(12, y+18, 16, "start", ink, f.work.Title+": messages/s")
		y += panelHead
		largest := 0.0
		for _, c := range f.contenders {
			largest = max(largest, c.rate.max)
		}
		for _, c := range f.contenders {
			if len(c.runs) > 0 {
				drawBar(&d, y, f.work.Kind, c, largest)
				y += barPitch
			}
		}
		y += panelGap
	}
	return d.finish(barsWidth, y)
}

func drawBar(d *drawing, y float64, kind system.Kind, c *contender, largest float64) {
	colour := sand
	switch {
	case c.system.Ours:
		if colour = blue; c.way != c.system.Ways[kind][0] {
			colour = pale
		}
	case c.system.Ceiling:
		colour = grey
	}
	x := func(rate float64) float64 { return labelsWidth + rate/largest*(barsWidth-labelsWidth-valueWidth) }
	label := plain(c.name(kind))
	if c.system.NotDurable {
		label += " (not durable)"
	}
	d.text(labelsWidth-8, y+13, 12, "end", ink, label)
	d.bar(labelsWidth, y, x(c.rate.median)-labelsWidth, barHeight, colour, c.system.NotDurable)
	middle := y + barHeight/2
	d.line(x(c.rate.min), middle, x(c.rate.max), middle, 1.5, ink)
	d.line(x(c.rate.min), middle-4, x(c.rate.min), middle+4, 1.5, ink)
	d.line(x(c.rate.max), middle-4, x(c.rate.max), middle+4, 1.5, ink)
	d.text(x(c.rate.max)+8, y+13, 12, "start", nearby, rates(c.rate))
}
