package history

import (
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Times are exact: what a caller waited is what the record says.
func TestTimesAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(Meta{Seed: 1})
		p := r.NewProcess("a")
		time.Sleep(3 * time.Second)
		op := p.Begin(Operation{Kind: KindHead, Level: Linearizable, Timeline: "t"})
		time.Sleep(5 * time.Millisecond)
		op.Outcome, op.HeadLast = OK, 7
		p.End(op)
		got := r.History().Operations
		want := []Operation{{ID: 1, Process: 1, Client: "a", Kind: KindHead, Level: Linearizable, Timeline: "t", Outcome: OK, HeadLast: 7,
			Invoked: 3 * time.Second, Completed: 3*time.Second + 5*time.Millisecond}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("recorded %+v; want %+v", got, want)
		}
	})
}

// After an unknown outcome, of the whole or of one item, a thread goes on as a new process.
func TestUnknownOutcomeEndsTheProcess(t *testing.T) {
	r := NewRecorder(Meta{})
	p := r.NewProcess("a")
	other := r.NewProcess("b")
	var ids []int64
	for _, outcome := range []Outcome{OK, Fail, Unknown, OK} {
		op := p.Begin(Operation{Kind: KindAck})
		op.Outcome = outcome
		p.End(op)
		ids = append(ids, op.Process)
	}
	op := p.Begin(Operation{Kind: KindBatch, Items: make([]Item, 2)})
	op.Outcome, op.Items[1].Outcome = Fail, Unknown
	p.End(op)
	ids = append(ids, op.Process, p.ID())
	if want := []int64{1, 1, 1, 3, 3, 4}; !reflect.DeepEqual(ids, want) {
		t.Errorf("processes %v; want %v", ids, want)
	}
	if other.ID() != 2 {
		t.Errorf("the other process became %d", other.ID())
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

// Misuse is a bug of the harness, and does not become a record.
func TestMisusePanics(t *testing.T) {
	r := NewRecorder(Meta{})
	p := r.NewProcess("a")
	op := p.Begin(Operation{Kind: KindAck})
	mustPanic(t, "beginning twice", func() { p.Begin(Operation{}) })
	mustPanic(t, "ending without an outcome", func() { p.End(op) })
	op.Outcome = OK
	p.End(op)
	mustPanic(t, "ending twice", func() { p.End(op) })
}

// An operation without an end is in the history with what was known when it began,
// and its answers may be filled in meanwhile.
func TestOpenOperations(t *testing.T) {
	r := NewRecorder(Meta{})
	op := r.NewProcess("a").Begin(Operation{Kind: KindAppend, Items: []Item{{MessageID: "m"}}})
	var wg sync.WaitGroup
	wg.Go(func() { op.Items[0].SeqID, op.HeadLast = 9, 9 })
	h := r.History()
	wg.Wait()
	got := h.Operations[0]
	if got.Completed != NeverEnded || got.Outcome != Unknown || got.Items[0].SeqID != 0 || got.EndsBefore(1<<62) {
		t.Errorf("open operation is %+v", got)
	}
}

// record drives a recorder from many goroutines.
func record(r *Recorder) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			p := r.NewProcess(fmt.Sprint("client-", i))
			for j := range 1000 {
				op := p.Begin(Operation{Kind: KindAppend, Via: ViaUnary, Items: []Item{{Timeline: "t", MessageID: fmt.Sprint(i, "-", j), Content: 1 << 63}}})
				op.Outcome = []Outcome{OK, Fail, Unknown}[j%3]
				op.Items[0].SeqID = uint64(j)
				p.End(op)
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			r.Fault(Fault{Name: "kill", From: time.Duration(i), To: NeverHealed})
			r.Sample(Sample{Node: "n1", At: time.Duration(i)})
			r.Log(LogEntry{Node: "n1", Index: uint64(i), Term: 1, Hash: "h"})
		}
	})
	wg.Wait()
}

// Concurrent recording loses nothing, orders by Invoked, and lets no process overlap.
func TestConcurrentRecording(t *testing.T) {
	r := NewRecorder(Meta{})
	record(r)
	assertRecorded(t, r.History())
}

func assertRecorded(t *testing.T, h *History) {
	t.Helper()
	if len(h.Operations) != 8000 || len(h.Faults) != 100 || len(h.Samples) != 100 || len(h.Logs) != 100 {
		t.Fatalf("%d operations, %d faults, %d samples, %d log entries", len(h.Operations), len(h.Faults), len(h.Samples), len(h.Logs))
	}
	ids := make(map[int64]bool)
	last := make(map[int64]*Operation)
	for i := range h.Operations {
		op := &h.Operations[i]
		if ids[op.ID] {
			t.Fatalf("id %d is there twice", op.ID)
		}
		ids[op.ID] = true
		if i > 0 && op.Invoked < h.Operations[i-1].Invoked {
			t.Fatal("not ordered by Invoked")
		}
		if before := last[op.Process]; before != nil && (before.Completed > op.Invoked || before.Outcome == Unknown) {
			t.Fatalf("process %d overlaps itself: %+v, %+v", op.Process, before, op)
		}
		last[op.Process] = op
	}
}

// A spilling recorder keeps nothing in memory and writes the same.
func TestSpilling(t *testing.T) {
	for _, name := range []string{"history.jsonl", "history.jsonl.gz"} {
		path := filepath.Join(t.TempDir(), name)
		r, err := NewSpillingRecorder(Meta{Seed: 1 << 63}, path)
		if err != nil {
			t.Fatal(err)
		}
		record(r)
		r.Amend(func(m *Meta) { m.ReadBack = []string{"n1"} })
		if n := len(r.History().Operations); n != 0 {
			t.Errorf("%d operations were kept", n)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		h, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		assertRecorded(t, h)
		if h.Meta.Seed != 1<<63 || len(h.Meta.ReadBack) != 1 {
			t.Errorf("meta is %+v", h.Meta)
		}
	}
}

// An error of the disk is not forgotten.
func TestSpillErrorIsReported(t *testing.T) {
	r, err := NewSpillingRecorder(Meta{}, "/dev/full")
	if err != nil {
		t.Skip("no /dev/full here: ", err)
	}
	record(r)
	if r.Close() == nil {
		t.Error("a full disk went unnoticed")
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder(Meta{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		p := r.NewProcess("a")
		for pb.Next() {
			op := p.Begin(Operation{Kind: KindAppend, Items: []Item{{Timeline: "t", MessageID: "m"}}})
			op.Outcome = OK
			p.End(op)
		}
	})
}
