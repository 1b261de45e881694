package bench

import (
	"context"
	"fmt"
	"time"

	"tidemark"
	"tidemark/internal/load"
)

// Plan says what is measured by calls, and how they are made.
type Plan struct {
	Target
	load.Load
	// Repeats is how often everything is measured.
	Repeats int
	// Timeout is how long a call may take, retries included. One that takes longer has failed.
	Timeout time.Duration
	// Progress is told what is done; it may be nil.
	Progress func(string)
}

const maxRepeats = 100

// Validate names the first field that is out of range.
func (p *Plan) Validate() error {
	if err := p.Target.validate(); err != nil {
		return err
	}
	if err := p.Load.Validate(); err != nil {
		return err
	}
	switch {
	case p.Repeats < 1 || p.Repeats > maxRepeats:
		return tidemark.Invalid("repeats", "must be 1 to %d; it is %d", maxRepeats, p.Repeats)
	case p.Timeout <= 0:
		return tidemark.Invalid("timeout", "must be more than 0; it is %v", p.Timeout)
	}
	return nil
}

// Conditions are those of a Plan, in reports.
type Conditions struct {
	Callers  int           `json:"callers"`
	Rate     float64       `json:"rate,omitempty"`
	Warmup   time.Duration `json:"warmup_ns"`
	Duration time.Duration `json:"duration_ns"`
	Repeats  int           `json:"repeats"`
}

func (p *Plan) conditions() Conditions {
	return Conditions{Callers: p.Callers, Rate: p.Rate, Warmup: p.Warmup, Duration: p.Duration, Repeats: p.Repeats}
}

// Run is what was measured of one run.
type Run struct {
	// Repeat counts from 1.
	Repeat int `json:"repeat"`
	load.Measured
	// Servers is what the nodes used meanwhile.
	Servers ServerUse `json:"servers"`
}

func (p *Plan) say(format string, args ...any) {
	if p.Progress != nil {
		p.Progress(fmt.Sprintf(format, args...))
	}
}

// run makes calls of one kind, and measures them and what the nodes use meanwhile.
func (p *Plan) run(ctx context.Context, call func(ctx context.Context, caller int) error) (m load.Measured, used nodeSample, err error) {
	m, _, used, err = p.runKinds(ctx, 1, func(ctx context.Context, caller int) (int, error) { return 0, call(ctx, caller) })
	return m, used, err
}

// runKinds is run for calls of several kinds.
func (p *Plan) runKinds(ctx context.Context, kinds int, call func(ctx context.Context, caller int) (kind int, err error)) (all load.Measured, each []load.Measured, used nodeSample, err error) {
	var before, after serverSample
	sample := func(s *serverSample) func() error {
		return func() (err error) {
			*s, err = sampleServers(ctx, p.HTTP)
			return err
		}
	}
	all, each, err = p.RunKinds(ctx, kinds, func(ctx context.Context, caller int) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, p.Timeout)
		defer cancel()
		return call(ctx, caller)
	}, sample(&before), sample(&after))
	if err != nil {
		return all, each, used, err
	}
	return all, each, after.since(before), nil
}
