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

func TestSimulation(t *testing.T) {
	var mu sync.Mutex
	var virtual time.Duration
	var acknowledged, starts int
	begun := time.Now()
	t.Cleanup(func() {
		wall := time.Since(begun)
		t.Logf("%d seeds, %v virtual in %v: %.1f virtual hours a minute; %d appends acknowledged, %d processes started",
			*seeds, virtual.Round(time.Second), wall.Round(time.Millisecond), virtual.Hours()/wall.Minutes(), acknowledged, starts)
	})
	for i := range *seeds {
		o := Options{Seed: *first + uint64(i), Nodes: *nodes, Duration: time.Duration(*minutes * float64(time.Minute))}
		if o.Nodes == 0 {
			o.Nodes = 3 + 2*int(o.Seed%2)
		}
		t.Run(fmt.Sprintf("seed=%d", o.Seed), func(t *testing.T) {
			t.Parallel()
			result, verdict := judge(t, o)
			for _, err := range result.Failures {
				t.Error(err)
			}
			for _, a := range verdict.Anomalies {
				t.Errorf("%s: %s: %s", a.Checker, a.Timeline, a.Summary)
			}
			acks := 0
			for i := range result.History.Operations {
				op := &result.History.Operations[i]
				if op.Outcome == history.OK && (op.Kind == history.KindAppend || op.Kind == history.KindBatch) {
					acks += len(op.Items)
				}
			}
			if acks == 0 {
				t.Error("no append was acknowledged; the run shows nothing")
			}
			if t.Failed() && *out != "" {
				if err := history.Write(filepath.Join(*out, fmt.Sprintf("seed-%d.jsonl.gz", o.Seed)), result.History); err != nil {
					t.Error(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			virtual += result.Virtual
			acknowledged += acks
			starts += result.Starts
			w := result.Traffic
			t.Logf("%d packets, %d delayed; %d calls of Raft, of which %d lost, %d late, %d doubled; %d copies overtaken",
				w.Packets.Load(), w.Delayed.Load(), w.Calls.Load(), w.Lost.Load(), w.Late.Load(), w.Doubled.Load(), w.Overtaken.Load())
			t.Logf("%d operations, %d appends acknowledged, %d faults, %d processes started, %d ended themselves, term %d, %v virtual",
				len(result.History.Operations), acks, len(result.History.Faults), result.Starts, result.SelfEnded, result.Terms, result.Virtual.Round(time.Second))
		})
	}
}
