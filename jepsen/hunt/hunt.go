//go:build linux

package hunt

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"tidemark/internal/planted"
	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
	"tidemark/jepsen/run"
)

// Found is what came of a search.
type Found struct {
	Search string      `json:"search"`
	Bug    planted.Bug `json:"bug,omitempty"`
	Mix    []string    `json:"mix"`
	// OK says that the bug was found, or that the control passed.
	OK bool `json:"ok"`
	// Checker found it, and Summary is what it says.
	Checker string `json:"checker,omitempty"`
	Summary string `json:"summary,omitempty"`
	// Seed is that of the last run, and Runs how many there were.
	Seed uint64 `json:"seed"`
	Runs int    `json:"runs"`
	// Loaded is for how long clients had worked, over all runs, when the operation
	// ended that shows the bug, apart from reading back; 0 if no operation does.
	Loaded time.Duration `json:"loaded_ns,omitempty"`
	// Took is the wall time of all runs with forming, reading back and judging.
	Took time.Duration `json:"took_ns"`
	// Folder holds the last run.
	Folder string `json:"folder"`
}

// Run looks for a bug with the seeds from 1 on, until it is found or all attempts
// are made. The base options have all that is not the search's own. An error says that
// a run had no verdict.
func (s Search) Run(ctx context.Context, base run.Options, attempts int) (Found, error) {
	found := Found{Search: s.Name(), Bug: s.Bug, Mix: s.Mix}
	begun := time.Now()
	defer func() { found.Took = time.Since(begun) }()
	if s.Bug == "" {
		attempts = 1
	}
	for found.Runs < attempts && !found.OK {
		found.Runs++
		found.Seed++
		if err := s.once(ctx, base, &found); err != nil {
			return found, fmt.Errorf("%s, seed %d: %w", s.Name(), found.Seed, err)
		}
		found.Took = time.Since(begun)
	}
	return found, nil
}

func (s Search) once(ctx context.Context, o run.Options, found *Found) error {
	o.Mix, o.Duration, o.Seed = s.Mix, s.Duration, found.Seed
	if s.Bug != "" {
		o.Env = append(slices.Clone(o.Env), planted.Variable+"="+string(s.Bug))
	}
	if s.Adjust != nil {
		s.Adjust(&o)
	}
	found.Folder = filepath.Join(o.Out, fmt.Sprintf("%s-seed-%d", s.Name(), found.Seed))
	o.Out = found.Folder
	result, err := run.Run(ctx, o)
	if err != nil {
		return err
	}
	if s.Bug == "" {
		found.OK, found.Summary = result.Pass, result.Reason
		return nil
	}
	h, err := history.Read(filepath.Join(o.Out, "history.jsonl.gz"))
	if err != nil {
		return err
	}
	found.Summary = result.Reason
	s.look(h, result.Verdict.Anomalies, found)
	return nil
}

// logMismatch is the one checker whose anomalies no client can see.
const logMismatch = "log-mismatch"

// look finds the anomaly of an expected checker that clients could have seen first. One
// without operations says that something was not read back, and does not count: the
// node may have had a reason not to come back.
func (s Search) look(h *history.History, anomalies []checker.Anomaly, found *Found) {
	begin, end := span(h)
	first := time.Duration(math.MaxInt64)
	for _, a := range anomalies {
		if !slices.Contains(s.Checkers, a.Checker) || len(a.Operations) == 0 && a.Checker != logMismatch {
			continue
		}
		at := shownAt(h, a)
		if found.OK && at >= first {
			continue
		}
		found.OK, found.Checker, found.Summary, first = true, a.Checker, a.Summary, at
	}
	if found.OK && first != math.MaxInt64 {
		end = first
	}
	found.Loaded += end - begin
}

// span is the time from the first operation of the load to the end of the last one.
func span(h *history.History) (begin, end time.Duration) {
	begin = math.MaxInt64
	for i := range h.Operations {
		op := &h.Operations[i]
		if op.Kind.Final() {
			continue
		}
		begin = min(begin, op.Invoked)
		end = max(end, op.Completed)
	}
	return min(begin, end), end
}

// shownAt is when the last operation of an anomaly ended, apart from reading back, or
// the end of time if there is none.
func shownAt(h *history.History, a checker.Anomaly) time.Duration {
	at := time.Duration(-1)
	for i := range h.Operations {
		op := &h.Operations[i]
		if slices.Contains(a.Operations, op.ID) && !op.Kind.Final() {
			at = max(at, op.Completed)
		}
	}
	if at < 0 {
		return math.MaxInt64
	}
	return at
}
