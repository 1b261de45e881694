package raftnode

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

var raftDiscard = slog.New(slog.NewTextHandler(io.Discard, nil))

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestRetentionByTimeAndBytes(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRetention(10*time.Minute, 100_000)
	r.now = func() time.Time { return now }
	r.restart(0)
	if got := r.deletable(1000); got != 0 {
		t.Fatalf("a new log is deletable up to %d", got)
	}
	// One small entry a minute: what is older than ten minutes can go.
	index := uint64(0)
	for range 60 {
		now = now.Add(time.Minute)
		index++
		r.observe(index, 100)
	}
	if got := r.deletable(1000); got != 49 {
		t.Errorf("deletable up to %d, want 49: it was applied 11 minutes ago", got)
	}
	if got := r.deletable(30); got != 30 {
		t.Errorf("deletable up to %d although only 30 are durable", got)
	}
	// A burst of large entries: only the last 100,000 bytes stay.
	for range 50 {
		index++
		r.observe(index, 10_000-entryOverhead)
	}
	if got := r.deletable(1000); got != index-11 {
		t.Errorf("deletable up to %d of %d, want all but 11 entries", got, index)
	}
	if len(r.marks) > 2*marksPerBound+2 {
		t.Errorf("%d marks are kept", len(r.marks))
	}
}

func TestRetentionMarksAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRetention(time.Minute, 1<<20)
	r.now = func() time.Time { return now }
	r.restart(0)
	for i := range 200_000 {
		now = now.Add(time.Millisecond)
		r.observe(uint64(i+1), 10)
	}
	if len(r.marks) > 2*marksPerBound+2 {
		t.Errorf("%d marks are kept", len(r.marks))
	}
}

func TestRetainingLogDeletesOnlyWhatMayGo(t *testing.T) {
	inner := raft.NewInmemStore()
	for i := uint64(1); i <= 100; i++ {
		if err := inner.StoreLog(&raft.Log{Index: i, Term: 1}); err != nil {
			t.Fatal(err)
		}
	}
	keep := newRetention(time.Hour, 1<<30)
	keep.restart(0)
	log := retainingLog{inner, keep, func() uint64 { return 60 }}
	first := func() uint64 { i, _ := inner.FirstIndex(); return i }
	last := func() uint64 { i, _ := inner.LastIndex(); return i }
	if err := log.DeleteRange(1, 90); err != nil || first() != 1 {
		t.Fatalf("entries that are kept were deleted up to %d: %v", first(), err)
	}
	keep.keepBytes = 0
	keep.observe(70, 0)
	keep.observe(80, 0)
	if err := log.DeleteRange(1, 90); err != nil || first() != 61 {
		t.Fatalf("the log begins at %d, want 61, behind what is durable: %v", first(), err)
	}
	if err := log.DeleteRange(95, 100); err != nil || last() != 94 {
		t.Fatalf("a conflicting tail was not deleted: %d, %v", last(), err)
	}
	if err := log.DeleteRange(61, 94); err != nil || last() != 0 {
		t.Fatalf("a conflicting tail that is the whole log was not deleted: %d, %v", last(), err)
	}
}
