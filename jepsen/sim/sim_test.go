package sim

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
)

var (
	seeds   = flag.Int("sim.seeds", 2, "how many seeds to simulate")
	first   = flag.Uint64("sim.seed", 1, "the first seed")
	minutes = flag.Float64("sim.minutes", 0.2, "virtual minutes of work for each seed")
	nodes   = flag.Int("sim.nodes", 0, "nodes; 0 is three and five in turn")
	logs    = flag.Bool("sim.log", false, "show what the nodes log")
	out     = flag.String("sim.out", "", "write the history of a seed that failed into this directory")
)

// judge runs one simulation and returns what is wrong with it.
func judge(t *testing.T, o Options) (*Result, checker.Verdict) {
	t.Helper()
	if *logs {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	dir := t.TempDir()
	var result *Result
	synctest.Test(t, func(*testing.T) { result = Run(o, dir) })
	return result, checker.Judge(result.History, checker.All())
}

// totals is what all seeds together did.
type totals struct {
	mu                                    sync.Mutex
	begun                                 time.Time
	seeds, failed                         int
	virtual                               time.Duration
	operations, acknowledged, faults      int
	fannedOut, counts                     int
	starts, selfEnded                     int
	calls, lost, late, doubled, overtaken int64
	packets, delayed                      int64
}

func (s *totals) add(r *Result, acknowledged int, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seeds++
	if failed {
		s.failed++
	}
	s.virtual += r.Virtual
	s.operations += len(r.History.Operations)
	s.acknowledged += acknowledged
	for i := range r.History.Operations {
		op := &r.History.Operations[i]
		switch {
		case op.Outcome != history.OK:
		case op.Kind == history.KindFanOut:
			s.fannedOut++
		case op.Kind == history.KindCursors:
			s.counts += len(op.Cursors)
		}
	}
	s.faults += len(r.History.Faults)
	s.starts += r.Starts
	s.selfEnded += r.SelfEnded
	w := r.Traffic
	s.packets, s.delayed = s.packets+w.Packets.Load(), s.delayed+w.Delayed.Load()
	s.calls, s.lost, s.late = s.calls+w.Calls.Load(), s.lost+w.Lost.Load(), s.late+w.Late.Load()
	s.doubled, s.overtaken = s.doubled+w.Doubled.Load(), s.overtaken+w.Overtaken.Load()
}

func (s *totals) summarize() {
	wall := time.Since(s.begun)
	summary.add(fmt.Sprintf("seeds %d to %d: %d green, %d red; %.2f virtual hours in %v, %.1f virtual hours a minute",
		*first, *first+uint64(*seeds)-1, s.seeds-s.failed, s.failed, s.virtual.Hours(), wall.Round(100*time.Millisecond), s.virtual.Hours()/wall.Minutes()))
	summary.add(fmt.Sprintf("seeds: %d operations judged, %d appends acknowledged, %d faults, %d processes started, %d of which ended themselves as they must",
		s.operations, s.acknowledged, s.faults, s.starts, s.selfEnded))
	summary.add(fmt.Sprintf("seeds: %d fan-outs acknowledged, %d unread counts judged", s.fannedOut, s.counts))
	summary.add(fmt.Sprintf("seeds: %d packets, %d delayed; %d calls of Raft, %d lost, %d late, %d doubled, %d overtaken by later ones",
		s.packets, s.delayed, s.calls, s.lost, s.late, s.doubled, s.overtaken))
}

func TestSimulation(t *testing.T) {
	total := &totals{begun: time.Now()}
	t.Cleanup(func() {
		total.summarize()
		if total.fannedOut == 0 || total.counts == 0 {
			t.Errorf("%d fan-outs were acknowledged, and %d unread counts judged; the runs show nothing of them", total.fannedOut, total.counts)
		}
	})
	for i := range *seeds {
		o := Options{Seed: *first + uint64(i), Nodes: *nodes, Duration: time.Duration(*minutes * float64(time.Minute))}
		if o.Nodes == 0 {
			o.Nodes = 3 + 2*int(o.Seed%2)
		}
		t.Run(fmt.Sprintf("seed=%d", o.Seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, o, total)
		})
	}
}

// simulate fails if anything is wrong with a run.
func simulate(t *testing.T, o Options, total *totals) {
	t.Helper()
	result, verdict := judge(t, o)
	for _, err := range result.Failures {
		t.Error(err)
	}
	for _, a := range verdict.Anomalies {
		t.Errorf("%s: %s: %s", a.Checker, a.Timeline, a.Summary)
	}
	acknowledged := 0
	for i := range result.History.Operations {
		op := &result.History.Operations[i]
		if op.Outcome == history.OK && (op.Kind == history.KindAppend || op.Kind == history.KindBatch) {
			acknowledged += len(op.Items)
		}
	}
	if acknowledged == 0 {
		t.Error("no append was acknowledged; the run shows nothing")
	}
	if t.Failed() {
		if *out != "" {
			if err := history.Write(filepath.Join(*out, fmt.Sprintf("seed-%d.jsonl.gz", o.Seed)), result.History); err != nil {
				t.Error(err)
			}
		}
		summary.add(fmt.Sprintf("seeds: seed %d is red: go test ./jepsen/sim -run 'TestSimulation$' -sim.seed %d -sim.seeds 1 -sim.minutes %v", o.Seed, o.Seed, *minutes))
	}
	total.add(result, acknowledged, t.Failed())
	t.Logf("%d operations, %d appends acknowledged, %d faults, %d processes started, %d ended themselves, term %d, %v virtual",
		len(result.History.Operations), acknowledged, len(result.History.Faults), result.Starts, result.SelfEnded, result.Terms, result.Virtual.Round(time.Second))
}
