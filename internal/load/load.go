package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tidemark"
)

// Load says how calls are made.
type Load struct {
	// Callers is how many calls are under way at a time, at most.
	Callers int
	// Rate is how many calls are begun in a second, whatever the cluster does (an open loop);
	// with 0 each caller begins the next call when the last one has ended (a closed loop).
	Rate float64
	// Warmup is how long calls are made before Duration, which is measured.
	Warmup, Duration time.Duration
}

const (
	maxCallers = 65_536
	maxRate    = 10_000_000
)

// Validate names the first field that is out of range.
func (l *Load) Validate() error {
	switch {
	case l.Callers < 1 || l.Callers > maxCallers:
		return tidemark.Invalid("callers", "must be 1 to %d; it is %d", maxCallers, l.Callers)
	case l.Rate < 0 || l.Rate > maxRate:
		return tidemark.Invalid("rate", "must be 0 to %d; it is %v", maxRate, l.Rate)
	case l.Warmup < 0 || l.Warmup > time.Hour:
		return tidemark.Invalid("warmup", "must be 0 to 1h; it is %v", l.Warmup)
	case l.Duration < 100*time.Millisecond || l.Duration > time.Hour:
		return tidemark.Invalid("duration", "must be 100ms to 1h; it is %v", l.Duration)
	}
	return nil
}

// FailedError says that calls failed, so that a rate would say nothing.
type FailedError struct {
	Failed, Calls int64
	// Reasons counts the failures by their text.
	Reasons map[string]int64
}

// Error names the share, and the most frequent reason.
func (e *FailedError) Error() string {
	reasons := slices.SortedFunc(maps.Keys(e.Reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(e.Reasons[b], e.Reasons[a]), cmp.Compare(a, b))
	})
	return fmt.Sprintf("%d of %d calls failed (%.3g %%), so there is no rate: %s", e.Failed, e.Calls, 100*float64(e.Failed)/float64(e.Calls), reasons[0])
}

// Measured is what came of a load.
type Measured struct {
	// Calls ended within the measured time, and PerSecond is their rate.
	Calls     int64   `json:"calls"`
	PerSecond float64 `json:"calls_per_second"`
	// Latency is that of calls, from when they were to begin. In an open loop a call that
	// begins late, because all callers wait, has waited too.
	Latency Latency `json:"latency"`
	// Seconds counts the calls that ended in each second of the measured time, for a plot.
	// The last one may be cut short.
	Seconds []int64 `json:"calls_by_second"`
}

// Run makes calls and measures them. begun, which may be nil, is called when the warm-up is
// over, and ended when the measured time is.
func (l *Load) Run(ctx context.Context, call func(ctx context.Context, caller int) error, begun, ended func() error) (m Measured, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	from := start.Add(l.Warmup)
	until := from.Add(l.Duration)
	var next atomic.Int64 // of the open loop
	gathered := gathered{latency: NewHistogram(), reasons: make(map[string]int64)}
	var callers sync.WaitGroup
	for caller := range l.Callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				intended := time.Now()
				if l.Rate > 0 {
					intended = start.Add(time.Duration(float64(next.Add(1)-1) / l.Rate * float64(time.Second)))
				}
				if !intended.Before(until) || SleepUntil(ctx, intended) != nil {
					return
				}
				err := call(ctx, caller)
				if now := time.Now(); !now.Before(from) && (l.Rate > 0 || now.Before(until)) {
					gathered.add(now.Sub(from), now.Sub(intended), err)
				} else if err != nil && now.Before(from) {
					gathered.add(0, 0, err)
				}
			}
		})
	}
	err = errors.Join(l.at(ctx, from, begun), l.at(ctx, until, ended))
	if err != nil {
		cancel()
	}
	callers.Wait()
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return m, err
	}
	return gathered.measured(l.Duration)
}

// at calls do at a time.
func (l *Load) at(ctx context.Context, at time.Time, do func() error) error {
	if err := SleepUntil(ctx, at); err != nil || do == nil {
		return err
	}
	return do()
}

// gathered is what the callers have measured.
type gathered struct {
	mu      sync.Mutex
	latency Histogram
	calls   int64
	failed  int64
	reasons map[string]int64
	seconds []int64
}

// add counts a call that ended so long after the measured time began.
func (g *gathered) add(at, took time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	if err != nil {
		g.failed++
		g.reasons[err.Error()]++
		return
	}
	g.latency.Record(took)
	second := int(at / time.Second)
	for len(g.seconds) <= second {
		g.seconds = append(g.seconds, 0)
	}
	g.seconds[second]++
}

func (g *gathered) measured(d time.Duration) (Measured, error) {
	switch {
	case g.failed > 0:
		return Measured{}, &FailedError{Failed: g.failed, Calls: g.calls, Reasons: g.reasons}
	case g.calls == 0:
		return Measured{}, errors.New("no call ended within the measured time: measure longer")
	}
	return Measured{Calls: g.calls, PerSecond: float64(g.calls) / d.Seconds(), Latency: g.latency.Latency(), Seconds: g.seconds}, nil
}

// SleepUntil returns at that time, or with the error of ctx if that ends first.
func SleepUntil(ctx context.Context, at time.Time) error {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
