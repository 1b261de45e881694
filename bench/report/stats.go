package report

import (
	"cmp"
	"slices"
	"time"

	"tidemark/bench/result"
	"tidemark/bench/system"
	"tidemark/internal/load"
)

// spread is the median of values, and the least and the largest of them.
type spread struct{ median, min, max float64 }

// spreadOf is 0 throughout for no values.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	s := spread{median: sorted[middle], min: sorted[0], max: sorted[len(sorted)-1]}
	if len(sorted)%2 == 0 {
		s.median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return s
}

// contender is one way of a system to do a work.
type contender struct {
	system *result.System
	way    string
	// runs are those with figures, and failed those without.
	runs, failed []result.Run
	rate         spread
}

// name is what tables call it. The way is left out where there is no other.
func (c *contender) name(kind system.Kind) string {
	switch {
	case c.system.Ours:
		return c.system.Title + " " + c.way
	case len(c.system.Ways[kind]) == 1:
		return c.system.Title
	default:
		return c.system.Title + ", " + c.way
	}
}

// over is the median over the runs.
func (c *contender) over(value func(*result.Run) float64) float64 {
	var values []float64
	for i := range c.runs {
		values = append(values, value(&c.runs[i]))
	}
	return spreadOf(values).median
}

// latency is the median over the runs of a latency.
func (c *contender) latency(of func(*load.Latency) time.Duration) time.Duration {
	return time.Duration(c.over(func(run *result.Run) float64 { return float64(of(&run.Latency)) }))
}

// ratio is how many times other's rate this one's is, round by round: only rounds in which
// both have a figure count. There may be none.
func (c *contender) ratio(other *contender) (s spread, rounds int) {
	var ratios []float64
	for _, mine := range c.runs {
		for _, theirs := range other.runs {
			if theirs.Round == mine.Round {
				ratios = append(ratios, mine.Messages/theirs.Messages)
			}
		}
	}
	return spreadOf(ratios), len(ratios)
}

// field is all that was measured of a work, the fastest first.
type field struct {
	work       system.Work
	contenders []*contender
}

// fields are the works of which something was measured. Systems that are missing are in
// those that they would have done.
func fields(r *result.Report) []field {
	var all []field
	for _, work := range system.Works() {
		f, measured := field{work: work}, false
		for i := range r.Systems {
			s := &r.Systems[i]
			for _, way := range s.Ways[work.Kind] {
				c := gather(r, work, s, way)
				there := len(c.runs)+len(c.failed) > 0
				if measured = measured || there; there || s.Missing != "" {
					f.contenders = append(f.contenders, c)
				}
			}
		}
		if measured {
			slices.SortStableFunc(f.contenders, func(a, b *contender) int { return cmp.Compare(b.rate.median, a.rate.median) })
			all = append(all, f)
		}
	}
	return all
}

func gather(r *result.Report, work system.Work, s *result.System, way string) *contender {
	c := &contender{system: s, way: way}
	var rates []float64
	for _, run := range r.Runs {
		switch {
		case run.Work != work.Name || run.System != s.Name || run.Way != way:
		case run.Failed != "":
			c.failed = append(c.failed, run)
		default:
			c.runs = append(c.runs, run)
			rates = append(rates, run.Messages)
		}
	}
	c.rate = spreadOf(rates)
	return c
}

// ours are Tidemark's ways, in their own order: the first is the one to compare with.
func (f *field) ours() []*contender {
	var ours []*contender
	for _, c := range f.contenders {
		if c.system.Ours {
			ours = append(ours, c)
		}
	}
	slices.SortFunc(ours, func(a, b *contender) int {
		ways := a.system.Ways[f.work.Kind]
		return cmp.Compare(slices.Index(ways, a.way), slices.Index(ways, b.way))
	})
	return ours
}
