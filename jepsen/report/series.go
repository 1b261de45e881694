package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"tidemark/jepsen/history"
)

// buckets is into how many pieces time is cut, at most; none is shorter than bucketMin.
const (
	buckets   = 240
	bucketMin = 250 * time.Millisecond
)

// over is one chart of a page.
type over struct {
	Title, Note string
	Legend      []entry
	SVG         any
}

// entry names one line of a chart.
type entry struct{ Class, Name string }

// ends is when the last thing of a history happened.
func ends(h *history.History) time.Duration {
	var last time.Duration
	for i := range h.Operations {
		last = max(last, h.Operations[i].Completed, h.Operations[i].Invoked)
	}
	for _, s := range h.Samples {
		last = max(last, s.At)
	}
	return last
}

func bucketOf(until time.Duration) time.Duration { return max(until/buckets, bucketMin) }

// throughput counts the messages that were acknowledged, and the operations that
// ended otherwise.
func throughput(h *history.History, until time.Duration) over {
	width := bucketOf(until)
	n := int(until/width) + 1
	counts := map[history.Outcome][]float64{}
	for _, o := range []history.Outcome{history.OK, history.Fail, history.Unknown} {
		counts[o] = make([]float64, n)
	}
	reads := make([]float64, n)
	perSecond := 1 / width.Seconds()
	for i := range h.Operations {
		op := &h.Operations[i]
		if op.Completed == history.NeverEnded || op.Kind.Final() {
			continue
		}
		at := int(op.Completed / width)
		if len(op.Items) == 0 {
			if op.Outcome == history.OK {
				reads[at] += perSecond
			}
			continue
		}
		for j := range op.Items {
			counts[op.ItemOutcome(&op.Items[j])][at] += perSecond
		}
	}
	c := chart{until: until, faults: h.Faults, label: func(v float64) string { return fmt.Sprintf("%.4g", v) }}
	add := func(name, class string, values []float64) {
		l := line{name: name, class: class}
		for i, v := range values {
			l.points = append(l.points, point{time.Duration(i)*width + width/2, v})
			c.high = math.Max(c.high, v)
		}
		c.lines = append(c.lines, l)
	}
	add("reads and acknowledgements answered", "c2", reads)
	add("appends failed", "c4", counts[history.Fail])
	add("appends unknown", "c3", counts[history.Unknown])
	add("appends acknowledged", "c1", counts[history.OK])
	return c.over("Throughput", "per second, by the time of the answer")
}

// latency shows how long acknowledged appends and linearizable reads took.
func latency(h *history.History, until time.Duration) over {
	width := bucketOf(until)
	n := int(until/width) + 1
	appends, reads := make([][]float64, n), make([][]float64, n)
	for i := range h.Operations {
		op := &h.Operations[i]
		if op.Outcome != history.OK || op.Completed == history.NeverEnded {
			continue
		}
		took := float64(op.Completed-op.Invoked) / float64(time.Millisecond)
		at := int(op.Completed / width)
		switch {
		case len(op.Items) > 0:
			appends[at] = append(appends[at], took)
		case op.Kind == history.KindRead && op.Level == history.Linearizable:
			reads[at] = append(reads[at], took)
		}
	}
	c := chart{until: until, faults: h.Faults, log: true, low: 1, high: 10_000,
		label: func(v float64) string {
			if v >= 1000 {
				return fmt.Sprintf("%g s", v/1000)
			}
			return fmt.Sprintf("%g ms", v)
		}}
	c.lines = []line{
		quantiles("reads, median", "c2", reads, width, 0.5),
		quantiles("appends, 99 of 100 below", "c4", appends, width, 0.99),
		quantiles("appends, median", "c1", appends, width, 0.5),
	}
	return c.over("Latency", "of appends that were acknowledged and of linearizable reads, by the time of the answer")
}

func quantiles(name, class string, values [][]float64, width time.Duration, q float64) line {
	l := line{name: name, class: class}
	for i, bucket := range values {
		value := math.NaN()
		if len(bucket) > 0 {
			slices.Sort(bucket)
			value = bucket[int(q*float64(len(bucket)-1))]
		}
		l.points = append(l.points, point{time.Duration(i)*width + width/2, value})
	}
	return l
}

// nodes are the nodes that were sampled, in order.
func nodes(h *history.History) []string {
	var names []string
	for _, s := range h.Samples {
		if !slices.Contains(names, s.Node) {
			names = append(names, s.Node)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	return names
}

// gap is the time without a sample after which a line is interrupted.
const gap = 2500 * time.Millisecond

// bySample draws one line for each node.
func bySample(h *history.History, until time.Duration, step bool, of func(history.Sample) float64) chart {
	c := chart{until: until, faults: h.Faults, low: math.Inf(1), label: func(v float64) string { return fmt.Sprintf("%.6g", v) }}
	for i, node := range nodes(h) {
		l := line{name: node, class: colour(i), step: step}
		last := time.Duration(-1)
		for _, s := range h.Samples {
			if s.Node != node {
				continue
			}
			if last >= 0 && s.At-last > gap {
				l.points = append(l.points, point{last, math.NaN()})
			}
			v := of(s)
			c.low, c.high = math.Min(c.low, v), math.Max(c.high, v)
			l.points = append(l.points, point{s.At, v})
			last = s.At
		}
		c.lines = append(c.lines, l)
	}
	if math.IsInf(c.low, 1) {
		c.low = 0
	}
	if c.high <= c.low {
		c.high = c.low + 1
	}
	return c
}

func applied(h *history.History, until time.Duration) over {
	c := bySample(h, until, false, func(s history.Sample) float64 { return float64(s.AppliedIndex) })
	return c.over("Applied index", "of each node; a line breaks off while the node does not answer")
}

func memory(h *history.History, until time.Duration) over {
	c := bySample(h, until, false, func(s history.Sample) float64 { return float64(s.MemoryBytes) / (1 << 20) })
	c.low = 0
	return c.over("Memory", "resident, MiB, of each node")
}

func terms(h *history.History, until time.Duration) over {
	c := bySample(h, until, true, func(s history.Sample) float64 { return float64(s.Term) })
	return c.over("Terms", "of each node; every election begins a new one")
}

func (c *chart) over(title, note string) over {
	o := over{Title: title, Note: note, SVG: c.svg(title)}
	for i := len(c.lines) - 1; i >= 0; i-- {
		o.Legend = append(o.Legend, entry{c.lines[i].class, c.lines[i].name})
	}
	if len(c.faults) > 0 {
		o.Legend = append(o.Legend, entry{"shade", "a fault is in force"})
	}
	return o
}
