package checker

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkJudgeMillion judges 1,000,000 operations and what was read back from
// three nodes. The generator, which is not timed, needs about as long.
func BenchmarkJudgeMillion(b *testing.B) {
	judgeMany(b, 1_000_000)
}

func judgeMany(t testing.TB, operations int) {
	t.Helper()
	h := generate(workload{seed: 42, operations: operations, processes: 64, timelines: 40, pageLimit: 20})
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	v := Judge(h, All())
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	if !v.OK() {
		t.Fatalf("%+v", v.Anomalies[0])
	}
	t.Logf("judged %d operations (%d appends acknowledged, %d messages read, %d read back) in %v; the history holds %d MiB, judging allocated %d MiB",
		v.Counts.Operations, v.Counts.AcknowledgedAppends, v.Counts.MessagesRead, v.Counts.MessagesReadBack, took.Round(time.Millisecond),
		before.HeapAlloc>>20, (after.TotalAlloc-before.TotalAlloc)>>20)
	for _, r := range v.Checkers {
		t.Logf("  %-22s %v", r.Name, r.Took.Round(time.Millisecond))
	}
}

// BenchmarkPorcupine asks about windows of a history that is far too long for one search.
func BenchmarkPorcupine(b *testing.B) {
	h := generate(workload{seed: 42, operations: 200_000, processes: 32, timelines: 20, pageLimit: 20})
	for b.Loop() {
		v := Judge(h, []Checker{Porcupine(DefaultPorcupineOptions())})
		if !v.OK() {
			b.Fatalf("%+v", v.Anomalies[0])
		}
		b.Log(v.Notes)
	}
}

// The time to judge grows about as the history does: what is quadratic anywhere
// would take minutes here.
func TestJudgesManyOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a few seconds")
	}
	judgeMany(t, 20_000)
}
