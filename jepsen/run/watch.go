//go:build linux

package run

import (
	"context"
	"slices"
	"sync"
	"time"

	"tidemark/jepsen/history"
)

// watch tells how far a run has come.
type watch struct {
	r *run

	mu       sync.Mutex
	phase    Phase
	inForce  []history.Fault
	injected int
}

func newWatch(r *run) *watch { return &watch{r: r} }

// enter notes what the run does now, and tells of it at once.
func (w *watch) enter(phase Phase) {
	w.mu.Lock()
	w.phase = phase
	w.mu.Unlock()
	w.r.Logger.Info("phase", "name", phase)
	w.tell()
}

func (w *watch) begun(f history.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inForce = append(w.inForce, f)
	w.injected++
}

func (w *watch) ended(f history.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inForce = slices.DeleteFunc(w.inForce, func(o history.Fault) bool { return o.Name == f.Name && o.From == f.From })
}

// run tells of it every second until ctx ends.
func (w *watch) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.tell()
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) tell() {
	if w.r.Progress == nil {
		return
	}
	tally := &w.r.env.Tally
	w.mu.Lock()
	defer w.mu.Unlock()
	p := Progress{
		Phase: w.phase, Elapsed: w.r.recorder.Now(), Injected: w.injected,
		Acknowledged: tally.Acknowledged.Load(), OK: tally.OK.Load(), Failed: tally.Failed.Load(), Unknown: tally.Unknown.Load(),
	}
	for _, f := range w.inForce {
		p.Faults = append(p.Faults, f.Name+" "+f.Target)
	}
	w.r.Progress(p)
}
