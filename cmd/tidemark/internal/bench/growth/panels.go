package growth

import (
	"math"
	"time"

	"tidemark/cmd/tidemark/internal/bench"
)

// panelsOf are what is shown of a dimension: what calls cost, then space, then times.
func panelsOf(d *bench.GrowthDimension) []panel {
	panels := []panel{
		callPanel(d, "Processor time of all nodes, each call", func(r *bench.Run) time.Duration { return r.Servers.Processor }),
		callPanel(d, "Latency, p50", func(r *bench.Run) time.Duration { return r.Latency.P50 }),
		callPanel(d, "Latency, p99", func(r *bench.Run) time.Duration { return r.Latency.P99 }),
		{"Memory of the largest node", mebibytes, []line{
			stepLine(d, "peak", func(s *bench.GrowthStep) float64 { return float64(s.Space.Peak) / (1 << 20) }),
			stepLine(d, "resident", func(s *bench.GrowthStep) float64 { return float64(s.Space.Resident) / (1 << 20) }),
			stepLine(d, "live", func(s *bench.GrowthStep) float64 { return float64(s.Space.Live) / (1 << 20) }),
		}},
		{"Bytes of a message, each node", bytes, []line{
			stepLine(d, "store", func(s *bench.GrowthStep) float64 { return s.Space.StorePerMessage }),
			stepLine(d, "Raft log", func(s *bench.GrowthStep) float64 { return s.Fill.LogBytes }),
			stepLine(d, "all written", func(s *bench.GrowthStep) float64 { return s.Fill.Written }),
		}},
	}
	times := timesPanel(d)
	for _, l := range times.lines {
		for _, value := range l.values {
			if !math.IsNaN(value) {
				return append(panels, times)
			}
		}
	}
	return panels
}

// callPanel has a line for each kind of call; on that of processor time, batches are one, too.
func callPanel(d *bench.GrowthDimension, title string, value func(*bench.Run) time.Duration) panel {
	p := panel{title: title, text: nanoseconds}
	for _, kind := range bench.GrowthCalls() {
		p.lines = append(p.lines, stepLine(d, kind, func(s *bench.GrowthStep) float64 {
			for i := range s.Calls {
				if s.Calls[i].Call == kind {
					return float64(value(&s.Calls[i].Run))
				}
			}
			return 0
		}))
	}
	batches := stepLine(d, "in a batch", func(s *bench.GrowthStep) float64 {
		return float64(value(&bench.Run{Servers: s.Fill.Servers}))
	})
	if !math.IsNaN(batches.values[0]) {
		p.lines = append(p.lines, batches)
	}
	return p
}

func timesPanel(d *bench.GrowthDimension) panel {
	p := panel{title: "How long it takes", text: nanoseconds}
	for _, one := range []struct {
		name  string
		value func(*bench.GrowthTimes) time.Duration
	}{
		{"start", func(t *bench.GrowthTimes) time.Duration { return t.Start }},
		{"after a kill", func(t *bench.GrowthTimes) time.Duration { return t.Killed }},
		{"catch-up", func(t *bench.GrowthTimes) time.Duration { return t.CatchUp }},
		{"join", func(t *bench.GrowthTimes) time.Duration { return t.Join }},
		{"backup", func(t *bench.GrowthTimes) time.Duration { return t.Backup }},
		{"snapshot", func(t *bench.GrowthTimes) time.Duration { return t.Snapshot }},
	} {
		p.lines = append(p.lines, stepLine(d, one.name, func(s *bench.GrowthStep) float64 {
			if s.Times == nil {
				return 0
			}
			return float64(one.value(s.Times))
		}))
	}
	return p
}

// stepLine has a value for each step. Zero is none.
func stepLine(d *bench.GrowthDimension, name string, value func(*bench.GrowthStep) float64) line {
	l := line{name: name}
	for i := range d.Steps {
		v := value(&d.Steps[i])
		if v == 0 {
			v = math.NaN()
		}
		l.values = append(l.values, v)
	}
	return l
}
