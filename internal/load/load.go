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
	// Lasted is how long was measured: Load.Duration, or in an open loop until the last call
	// ended, if that was later.
	Lasted time.Duration `json:"lasted_ns"`
	// Latency is that of calls, from when they were to begin. In an open loop a call that
	// begins late, because all callers wait, has waited too.
	Latency Latency `json:"latency"`
	// Seconds counts the calls that ended in each second of the measured time, for a plot.
	// The last one may be cut short.
	Seconds []int64 `json:"calls_by_second"`
}

// Run makes calls and measures them. begun, which may be nil, is called when the warm-up is
// over, and ended when the measured time is.
func (l *Load) Run(ctx context.Context, call func(ctx context.Context, caller int) error, begun, ended func() error) (Measured, error) {
	all, _, err := l.RunKinds(ctx, 1, func(ctx context.Context, caller int) (int, error) {
		return 0, call(ctx, caller)
	}, begun, ended)
	return all, err
}

// RunKinds is Run with calls of several kinds, which are measured together and each for
// itself. A call returns of which it was, from 0.
func (l *Load) RunKinds(ctx context.Context, kinds int, call func(ctx context.Context, caller int) (kind int, err error), begun, ended func() error) (all Measured, each []Measured, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := running{Load: *l, call: call, start: time.Now(), gathered: newGathered(kinds)}
	r.from = r.start.Add(l.Warmup)
	r.until = r.from.Add(l.Duration)
	var callers sync.WaitGroup
	for caller := range l.Callers {
		callers.Go(func() { r.caller(ctx, caller) })
	}
	err = at(ctx, r.from, begun)
	if l.Rate == 0 {
		err = errors.Join(err, at(ctx, r.until, ended))
	}
	if err != nil {
		cancel()
	}
	callers.Wait()
	if l.Rate > 0 && err == nil {
		err = at(ctx, r.until, ended)
	}
	if err = errors.Join(err, context.Cause(ctx)); err != nil {
		return all, nil, err
	}
	return r.gathered.measured(l.Duration)
}

// at calls do at a time.
func at(ctx context.Context, at time.Time, do func() error) error {
	if err := SleepUntil(ctx, at); err != nil || do == nil {
		return err
	}
	return do()
}

// running is one Run.
type running struct {
	Load
	call func(ctx context.Context, caller int) (kind int, err error)
	// next counts the calls of the open loop.
	next               atomic.Int64
	start, from, until time.Time
	gathered           *gathered
}

// caller makes one call after the other.
func (r *running) caller(ctx context.Context, caller int) {
	for ctx.Err() == nil {
		intended := time.Now()
		if r.Rate > 0 {
			intended = r.start.Add(time.Duration(float64(r.next.Add(1)-1) / r.Rate * float64(time.Second)))
		}
		if !intended.Before(r.until) || SleepUntil(ctx, intended) != nil {
			return
		}
		kind, err := r.call(ctx, caller)
		now := time.Now()
		measured := !now.Before(r.from) && (r.Rate > 0 || now.Before(r.until))
		r.gathered.add(kind, measured, now.Sub(r.from), now.Sub(intended), err)
	}
}

// gathered is what the callers have measured.
type gathered struct {
	mu   sync.Mutex
	all  tally
	each []tally
	// last is when the last call of them ended.
	last time.Duration
	// made counts all calls, also before the measured time and after it.
	made, failed int64
	reasons      map[string]int64
}

// tally is what was measured of some calls.
type tally struct {
	latency Histogram
	calls   int64
	seconds []int64
}

func newGathered(kinds int) *gathered {
	g := &gathered{all: tally{latency: NewHistogram()}, each: make([]tally, kinds), reasons: make(map[string]int64)}
	for i := range g.each {
		g.each[i].latency = NewHistogram()
	}
	return g
}

// add counts a call that ended so long after the measured time began.
func (g *gathered) add(kind int, measured bool, at, took time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made++
	switch {
	case err != nil:
		g.failed++
		g.reasons[err.Error()]++
	case measured:
		g.last = max(g.last, at)
		g.all.add(at, took)
		g.each[kind].add(at, took)
	}
}

func (t *tally) add(at, took time.Duration) {
	t.calls++
	t.latency.Record(took)
	second := int(at / time.Second)
	t.lengthen(second + 1)
	t.seconds[second]++
}

func (t *tally) lengthen(seconds int) {
	for len(t.seconds) < seconds {
		t.seconds = append(t.seconds, 0)
	}
}

func (t *tally) measured(lasted time.Duration) Measured {
	t.lengthen(int((lasted + time.Second - 1) / time.Second))
	return Measured{Calls: t.calls, PerSecond: float64(t.calls) / lasted.Seconds(), Lasted: lasted, Latency: t.latency.Latency(), Seconds: t.seconds}
}

func (g *gathered) measured(d time.Duration) (all Measured, each []Measured, err error) {
	switch {
	case g.failed > 0:
		return all, nil, &FailedError{Failed: g.failed, Calls: g.made, Reasons: g.reasons}
	case g.all.calls == 0:
		return all, nil, errors.New("no call ended within the measured time: measure longer")
	}
	lasted := max(d, g.last)
	for i := range g.each {
		each = append(each, g.each[i].measured(lasted))
	}
	return g.all.measured(lasted), each, nil
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
