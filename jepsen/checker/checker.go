package checker

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"tidemark/jepsen/history"
)

// Anomaly is one thing that must not be.
type Anomaly struct {
	// Checker is the stable name of the checker that found it, such as lost-append.
	Checker string `json:"checker"`
	// Summary is one sentence for a person.
	Summary  string `json:"summary"`
	Timeline string `json:"timeline,omitempty"`
	// Operations are the ids of the few operations that show it.
	Operations []int64 `json:"operations,omitempty"`
}

// Checker looks for one kind of anomaly. Check does not change the history, and
// may run at the same time as others.
type Checker interface {
	Name() string
	Check(*history.History) []Anomaly
}

// maxAnomalies is how many anomalies of one checker are described; the last of
// them says how many more there are.
const maxAnomalies = 50

// findings gathers the anomalies of one checker.
type findings struct {
	checker string
	list    []Anomaly
	total   int
}

// add describes an anomaly, shown by the operations.
func (f *findings) add(timeline string, operations []*history.Operation, format string, args ...any) {
	f.total++
	if f.total > maxAnomalies {
		return
	}
	a := Anomaly{Checker: f.checker, Summary: fmt.Sprintf(format, args...), Timeline: timeline}
	for _, op := range operations {
		if op != nil {
			a.Operations = append(a.Operations, op.ID)
		}
	}
	f.list = append(f.list, a)
}

// result is what Check returns.
func (f *findings) result() []Anomaly {
	if f.total > maxAnomalies {
		f.list = append(f.list, Anomaly{Checker: f.checker, Summary: fmt.Sprintf("and %d more", f.total-maxAnomalies)})
	}
	return f.list
}

// direct is a checker over the shared index.
type direct struct {
	name  string
	check func(*index, *findings)
}

func (d direct) Name() string { return d.name }

func (d direct) Check(h *history.History) []Anomaly { return d.checkIndex(newIndex(h)) }

func (d direct) checkIndex(x *index) []Anomaly {
	f := findings{checker: d.name}
	d.check(x, &f)
	return f.result()
}

// DefaultRecovery is how long after healing an append must have been acknowledged:
// two elections, each with a node that starts, on a machine that is busy.
const DefaultRecovery = 30 * time.Second

// All are the direct checkers, in a fixed order.
func All() []Checker {
	return []Checker{
		direct{"malformed-history", malformedHistory},
		direct{"lost-append", lostAppend},
		direct{"vanished-message", vanishedMessage},
		direct{"seq-mismatch", seqMismatch},
		direct{"unexpected-message", unexpectedMessage},
		direct{"failed-append-visible", failedAppendVisible},
		direct{"duplicate-message", duplicateMessage},
		direct{"gap", gap},
		direct{"page-contiguity", pageContiguity},
		direct{"real-time-order", realTimeOrder},
		direct{"tail-continuity", tailContinuity},
		direct{"change-feed", changeFeed},
		direct{"stale-read", staleRead},
		direct{"session-violation", sessionViolation},
		direct{"staleness-bound", stalenessBound},
		direct{"cursor-regress", cursorRegress},
		direct{"unread-count", unreadCount},
		direct{"fan-out", fanOut},
		direct{"retention", retention},
		direct{"revision", revision},
		direct{"atomic-batch", atomicBatch},
		direct{"expected-seq", expectedSeq},
		direct{"replica-divergence", replicaDivergence},
		direct{"digest-chain", digestChain},
		direct{"log-mismatch", logMismatch},
		RecoveryTime(DefaultRecovery),
		Resources(DefaultResourceLimits()),
	}
}

// Verdict is the outcome of judging a history.
type Verdict struct {
	// Anomalies are in the order of the checkers.
	Anomalies []Anomaly `json:"anomalies"`
	Checkers  []Ran     `json:"checkers"`
	Counts    Counts    `json:"counts"`
	// Notes say what was not looked at.
	Notes []string `json:"notes,omitempty"`
}

// Ran tells of one checker of a verdict.
type Ran struct {
	Name      string        `json:"name"`
	Anomalies int           `json:"anomalies"`
	Took      time.Duration `json:"took_ns"`
}

// OK reports whether nothing was found.
func (v *Verdict) OK() bool { return len(v.Anomalies) == 0 }

// Noter is a checker that can say, after Check, what it did not look at.
type Noter interface{ Notes() []string }

// Judge runs the checkers, as many at a time as there are processors. A checker
// that panics yields an anomaly under its name.
func Judge(h *history.History, checkers []Checker) Verdict {
	x := newIndex(h)
	v := Verdict{Counts: x.counts(), Checkers: make([]Ran, len(checkers))}
	found := make([][]Anomaly, len(checkers))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range checkers {
		group.Go(func() error {
			begin := time.Now()
			found[i] = runOne(c, h, x)
			v.Checkers[i] = Ran{Name: c.Name(), Anomalies: len(found[i]), Took: time.Since(begin)}
			return nil
		})
	}
	// No function of the group fails.
	_ = group.Wait()
	for i, c := range checkers {
		v.Anomalies = append(v.Anomalies, found[i]...)
		if n, ok := c.(Noter); ok {
			v.Notes = append(v.Notes, n.Notes()...)
		}
	}
	return v
}

func runOne(c Checker, h *history.History, x *index) (found []Anomaly) {
	defer func() {
		if r := recover(); r != nil {
			found = append(found, Anomaly{Checker: c.Name(), Summary: fmt.Sprintf("the checker itself failed: %v", r)})
		}
	}()
	if d, ok := c.(direct); ok {
		return d.checkIndex(x)
	}
	return c.Check(h)
}
