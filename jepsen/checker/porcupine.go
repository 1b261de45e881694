package checker

import (
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"

	"tidemark/jepsen/history"
)

// PorcupineOptions bound the search.
type PorcupineOptions struct {
	// Timeout is for one window, Budget for all of them together.
	Timeout, Budget time.Duration
	// MaxOperations is the most operations of a timeline that are judged in one
	// piece; from a longer one, at most Windows windows of about that many are.
	MaxOperations, Windows int
	// Folder is where pages are written: one for each window that is not
	// linearizable, and for the first Pictures others. Empty for none.
	Folder   string
	Pictures int
}

// DefaultPorcupineOptions finish in about a minute on two processors.
func DefaultPorcupineOptions() PorcupineOptions {
	return PorcupineOptions{Timeout: 10 * time.Second, Budget: time.Minute, MaxOperations: 1000, Windows: 8, Pictures: 1}
}

// PorcupineChecker asks Porcupine whether each timeline is linearizable. It looks at
// appends, linearizable reads and final reads; not at cursors, weaker reads, and
// atomicity over several timelines.
type PorcupineChecker struct {
	options PorcupineOptions
	mu      sync.Mutex
	results []PorcupineResult
}

// PorcupineResult is what became of one window.
type PorcupineResult struct {
	Timeline string
	// First and Last are the SeqIDs of the window; both 0 for a whole timeline.
	First, Last uint64
	Operations  int
	// Result is porcupine.Ok, Illegal, or Unknown if it was not finished.
	Result porcupine.CheckResult
	Took   time.Duration
	// Page is the picture, if one was written.
	Page string
	err  error
}

// Porcupine is a second opinion on the direct checkers.
func Porcupine(options PorcupineOptions) *PorcupineChecker {
	return &PorcupineChecker{options: options}
}

// Name is porcupine.
func (c *PorcupineChecker) Name() string { return "porcupine" }

// Results tell of each window of the last Check.
func (c *PorcupineChecker) Results() []PorcupineResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.results)
}

// Notes say what was judged and what was not.
func (c *PorcupineChecker) Notes() []string {
	results := c.Results()
	var whole, parts, unfinished, operations int
	var notes []string
	for _, r := range results {
		switch {
		case r.Result == porcupine.Unknown:
			unfinished++
			if unfinished <= 5 {
				notes = append(notes, fmt.Sprintf("porcupine did not finish %s within %v (%d operations)", r.what(), r.Took.Round(time.Millisecond), r.Operations))
			}
			continue
		case r.Last == 0:
			whole++
		default:
			parts++
		}
		operations += r.Operations
		if r.err != nil {
			notes = append(notes, fmt.Sprintf("porcupine's picture of %s: %v", r.what(), r.err))
		}
	}
	return append(notes, fmt.Sprintf("porcupine judged %d timelines whole and %d windows of longer ones, %d operations; %d were not finished", whole, parts, operations, unfinished))
}

func (r *PorcupineResult) what() string {
	if r.Last == 0 {
		return "timeline " + r.Timeline
	}
	return fmt.Sprintf("timeline %s, SeqIds %d to %d", r.Timeline, r.First, r.Last)
}

// Check judges windows at the same time, as many as there are processors.
func (c *PorcupineChecker) Check(h *history.History) []Anomaly {
	var around []time.Duration
	for _, f := range h.Faults {
		around = append(around, f.From)
		if f.To != history.NeverHealed {
			around = append(around, f.To)
		}
	}
	var windows []window
	for _, t := range traces(h) {
		windows = append(windows, t.windows(c.options.MaxOperations, c.options.Windows, around)...)
	}
	c.mu.Lock()
	c.results = make([]PorcupineResult, len(windows))
	results := c.results
	c.mu.Unlock()
	found := make([]*Anomaly, len(windows))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	deadline := time.Now().Add(c.options.Budget)
	for i := range windows {
		group.Go(func() error {
			results[i], found[i] = c.judge(h, &windows[i], i, deadline)
			return nil
		})
	}
	// No function of the group fails.
	_ = group.Wait()
	var anomalies []Anomaly
	for _, a := range found {
		if a != nil {
			anomalies = append(anomalies, *a)
		}
	}
	return anomalies
}

// judge asks about one window. What is wrong is asked again with a picture.
func (c *PorcupineChecker) judge(h *history.History, w *window, number int, deadline time.Time) (PorcupineResult, *Anomaly) {
	r := PorcupineResult{Timeline: w.trace.name, Result: porcupine.Unknown}
	if !w.whole {
		r.First, r.Last = w.first, w.last
	}
	begin := time.Now()
	timeout := min(c.options.Timeout, deadline.Sub(begin))
	if timeout <= 0 {
		r.Operations = len(w.trace.steps)
		return r, nil
	}
	ops, before := w.operations()
	r.Operations = len(ops)
	model := timelineModel(before)
	r.Result = porcupine.CheckOperationsTimeout(model, ops, timeout)
	r.Took = time.Since(begin)
	illegal := r.Result == porcupine.Illegal
	if !illegal && (number >= c.options.Pictures || c.options.Folder == "") {
		return r, nil
	}
	_, info := porcupine.CheckOperationsVerbose(model, ops, timeout)
	if c.options.Folder != "" {
		c.draw(h, w, model, info, &r)
	}
	if !illegal {
		return r, nil
	}
	a := Anomaly{Checker: c.Name(), Timeline: r.Timeline, Operations: unexplained(info, ops),
		Summary: fmt.Sprintf("%s is not linearizable (%d operations)", r.what(), r.Operations)}
	if r.Page != "" {
		a.Summary += "; see " + filepath.Base(r.Page)
	}
	return r, &a
}

// draw writes the picture of a window, with the faults.
func (c *PorcupineChecker) draw(h *history.History, w *window, model porcupine.Model, info porcupine.LinearizationInfo, r *PorcupineResult) {
	var notes []porcupine.Annotation
	for _, f := range h.Faults {
		notes = append(notes, porcupine.Annotation{Tag: "faults", Start: int64(f.From), End: int64(max(f.From, f.To)),
			Description: f.Name + " " + f.Target, Details: f.Detail})
	}
	info.AddAnnotations(notes)
	name := "porcupine-" + strings.ReplaceAll(url.PathEscape(w.trace.name), "%", "-")
	if !w.whole {
		name += fmt.Sprintf("-%d", w.first)
	}
	path := filepath.Join(c.options.Folder, name+".html")
	if r.err = porcupine.VisualizePath(model, info, path); r.err == nil {
		r.Page = path
	}
}

// unexplained are the first operations that the longest linearization leaves out.
func unexplained(info porcupine.LinearizationInfo, ops []porcupine.Operation) []int64 {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, partial := range partition {
			if len(partial) > len(longest) {
				longest = partial
			}
		}
	}
	in := make(map[any]bool, len(longest))
	for _, op := range longest {
		in[op.Input] = true
	}
	var out []int64
	for _, op := range ops {
		if !in[op.Input] && len(out) < 5 {
			out = append(out, op.Metadata.(int64))
		}
	}
	return out
}
