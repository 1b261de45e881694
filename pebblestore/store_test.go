package pebblestore_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tidemark"
	"tidemark/internal/crashfs"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// TestReadersBesideWriterAndInstall reads all the time while messages are appended
// and states are swapped. Each page is whole, its chain closes, and it claims no
// less than it shows.
func TestReadersBesideWriterAndInstall(t *testing.T) {
	s := storetest.Open(t, nil)
	commit(t, s, 1, draft("a", "m1", "x"))
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for !stop.Load() {
				if err := readConsistently(s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for index := uint64(2); index < 300; index++ {
		// The message of an index says the index, so that a page shows how far it reaches.
		commit(t, s, index, draft("a", fmt.Sprintf("m%d", index), "x"))
		if index%50 == 0 {
			transfer(t, s, s)
		}
	}
	stop.Store(true)
	readers.Wait()
}

// TestReadIntoMemory: pages in the same memory, one after the other, are those in memory of their own.
func TestReadIntoMemory(t *testing.T) {
	s := storetest.Open(t, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	for index := uint64(1); index <= 200; index++ {
		d := draft("a", fmt.Sprintf("m%d", index), strings.Repeat("x", rng.IntN(2000)))
		if rng.IntN(2) == 0 {
			d.Attributes = tidemark.Attributes{{Key: "number", Value: fmt.Sprint(index)}}
		}
		commit(t, s, index, d)
	}
	var memory tidemark.PageMemory
	for range 300 {
		r := tidemark.Range{
			Timeline: "a", Seq: tidemark.SeqID(rng.IntN(210)), Direction: tidemark.Direction(rng.IntN(2)), Limit: 1 + rng.IntN(150), MaxBytes: 1 + rng.IntN(200_000),
		}
		want, err := s.Read(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Memory = &memory
		got, err := s.Read(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 0 {
			got.Messages, want.Messages = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
	}
}

func readConsistently(s *pebblestore.Store) error {
	page, err := s.Read(tidemark.Range{Timeline: "a", Start: tidemark.StartNewest, Limit: 20, MaxBytes: 1000})
	if err != nil {
		return err
	}
	digest := page.PreviousDigest
	for i := range page.Messages {
		m := &page.Messages[i]
		digest = tidemark.NextDigest(digest, m.SeqID, m.ServerTime, m.ID, m.Hash(tidemark.HashPayload(m.Payload)))
	}
	if digest != page.Head.Digest || uint64(page.Head.Last) != page.Applied {
		return fmt.Errorf("page up to %d with head %+v claims index %d and chains to %s", page.Messages[len(page.Messages)-1].SeqID, page.Head, page.Applied, digest)
	}
	return nil
}

// TestSnapshotsBesideWriter takes snapshots all the time while messages are
// appended. Each holds exactly the applied record that it announces; Finish tells.
func TestSnapshotsBesideWriter(t *testing.T) {
	s, other := storetest.Open(t, nil), storetest.Open(t, nil)
	commit(t, s, 1, draft("a", "m1", "x"))
	// The writer makes so many batches beside each transfer: as many as it could would be too
	// many to read.
	const beside = 200
	rounds := make(chan struct{}, 1)
	var writer sync.WaitGroup
	writer.Go(func() {
		index := uint64(1)
		for range rounds {
			for range beside {
				index++
				commit(t, s, index, draft("a", fmt.Sprintf("m%d", index), "x"))
			}
		}
	})
	for range 30 {
		rounds <- struct{}{}
		transfer(t, s, other)
		if err := readConsistently(other); err != nil {
			t.Error(err)
		}
	}
	close(rounds)
	writer.Wait()
}

// TestInstallReplacesAll: after a snapshot of another and earlier history was
// installed, nothing of the history before it is remembered.
func TestInstallReplacesAll(t *testing.T) {
	s, source := storetest.Open(t, nil), storetest.Open(t, nil)
	commit(t, s, 5, draft("a", "m1", "x"), draft("a", "m2", "x"), draft("b", "m1", "x"))
	commit(t, source, 3, draft("b", "m9", "y"))
	applied := transfer(t, source, s)
	if applied.Index != 3 || s.Applied().Index != 3 || s.DurableIndex() != 3 {
		t.Errorf("applied %d, durable %d; want 3", s.Applied().Index, s.DurableIndex())
	}
	commit(t, s, 4, draft("b", "m1", "z"), draft("a", "m1", "z"))
	b, _, err := s.GetByID("b", "m1")
	a, _, errA := s.GetByID("a", "m1")
	if err := errors.Join(err, errA); err != nil || b.SeqID != 2 || a.SeqID != 1 || string(a.Payload) != "z" {
		t.Errorf("got %+v and %+v, %v; want the second message of b and the first of a", b, a, err)
	}
}

// TestSnapshotOutlivesItsStore: an open snapshot streams what it held, whatever is
// written or installed meanwhile.
func TestSnapshotOutlivesItsStore(t *testing.T) {
	s := storetest.Open(t, nil)
	commit(t, s, 1, draft("a", "m1", "x"))
	snapshot, err := s.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, 2, draft("a", "m2", "x"))
	transfer(t, s, s)
	other := storetest.Open(t, nil)
	in, err := other.Receive()
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(in, snapshot)
	applied, finishErr := in.Finish()
	if err := errors.Join(err, finishErr, other.Install(in), snapshot.Close()); err != nil {
		t.Fatal(err)
	}
	if applied.Index != 1 || snapshot.Applied().Index != 1 || other.Applied().Index != 1 {
		t.Errorf("the snapshot holds index %d, want 1", applied.Index)
	}
	if _, err := snapshot.Read(make([]byte, 1)); err == nil {
		t.Error("a closed snapshot must not be read")
	}
}

func TestClosedStore(t *testing.T) {
	s := storetest.Open(t, nil)
	commit(t, s, 1, draft("a", "m1", "x"))
	b := s.NewBatch()
	if err := s.Close(); err == nil {
		t.Error("a store with an open batch must not close")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a second batch must not begin")
			}
		}()
		s.NewBatch()
	}()
	b.Discard()
	mustClose(t, s)
	mustClose(t, s)
	late := s.NewBatch()
	_, _, headErr := late.Head("a")
	late.CreateTimeline("b", 1)
	late.SetApplied(tidemark.Applied{Index: 2})
	_, readErr := s.Read(tidemark.Range{Timeline: "a", Limit: 1, MaxBytes: 1})
	_, snapshotErr := s.OpenSnapshot()
	_, receiveErr := s.Receive()
	_, checkErr := s.Check(nil)
	for name, err := range map[string]error{
		"head": headErr, "commit": late.Commit(), "read": readErr, "sync": s.Sync(),
		"snapshot": snapshotErr, "receive": receiveErr, "check": checkErr,
	} {
		if !errors.Is(err, tidemark.ErrStopping) {
			t.Errorf("%s: got %v, want ErrStopping", name, err)
		}
	}
	if s.Applied().Index != 1 || s.DurableIndex() != 1 || s.Metrics().AppliedIndex != 1 {
		t.Error("a closed store still says how far it came")
	}
}

// full makes a file system without room, once it is on.
func full(fs vfs.FS, on *atomic.Bool, only string) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpCreate, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFilePreallocate:
			if on.Load() && strings.Contains(op.Path, only) {
				return syscall.ENOSPC
			}
		}
		return nil
	}))
}

// TestFullDiskStopsWrites: when what is flushed cannot be written, the store calls Fatal with
// words that say why, and never reports a commit as durable. After a restart with
// room it goes on from what it had.
func TestFullDiskStopsWrites(t *testing.T) {
	mem := crashfs.New()
	var on atomic.Bool
	o := storetest.Options(t, full(mem, &on, "flush"))
	var fatal atomic.Pointer[string]
	o.Fatal = func(message string) {
		fatal.CompareAndSwap(nil, &message)
		panic(message)
	}
	s, err := pebblestore.Open(storetest.Dir, o)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, 1, draft("a", "m1", "x"))
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	func() {
		defer func() { _ = recover() }()
		commit(t, s, 2, draft("a", "m2", "x"))
		if err := s.Sync(); err == nil {
			t.Error("a sync without room succeeded")
		}
	}()
	if message := fatal.Load(); message == nil || !strings.Contains(*message, tidemark.ErrDiskFull.Error()) {
		t.Errorf("Fatal was told %v; want %q", message, tidemark.ErrDiskFull)
	}
	if s.DurableIndex() != 1 {
		t.Errorf("index %d is said to be durable, want 1", s.DurableIndex())
	}
	again := storetest.Open(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if again.Applied().Index != 1 {
		t.Errorf("index %d is left, want 1", again.Applied().Index)
	}
	commit(t, again, 2, draft("a", "m2", "x"))
}

// TestFreshTablesGather: seven fresh tables are left alone, and the eighth has all merged with the
// first level. Merging fewer at a time writes that level again for each of them.
func TestFreshTablesGather(t *testing.T) {
	const freshTables = 8
	s := storetest.Open(t, vfs.NewMem())
	for index := uint64(1); ; index++ {
		commit(t, s, index, draft("a", fmt.Sprintf("m%d", index), "x"))
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		m := s.Metrics()
		if m.Compactions == 0 && m.CompactionsRunning == 0 && m.L0Sublevels < freshTables {
			continue
		}
		if index != freshTables-1 { // one came when the store was made
			t.Fatalf("behind %d flushes there are %d fresh tables, %d compactions, and %d that run", index, m.L0Sublevels, m.Compactions, m.CompactionsRunning)
		}
		break
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-look.C {
		m := s.Metrics()
		if m.Compactions > 0 && m.L0Sublevels == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d fresh tables are left by %d compactions", m.L0Sublevels, m.Compactions)
		}
	}
}

// TestFullDiskForTables: when compactions cannot write tables, flushes go on; the
// failures are told and counted, and end when there is room.
func TestFullDiskForTables(t *testing.T) {
	var on atomic.Bool
	o := storetest.Options(t, full(vfs.NewMem(), &on, ".sst"))
	o.MemTableBytes = 16 << 10
	told := make(chan error, 1)
	o.OnBackgroundError = func(err error) {
		select {
		case told <- err:
		default:
		}
	}
	s := storetest.OpenAt(t, storetest.Dir, o)
	on.Store(true)
	index := uint64(0)
	for s.Metrics().BackgroundErrors == 0 && index < 100 {
		index++
		commit(t, s, index, draft("a", fmt.Sprintf("m%d", index), strings.Repeat("x", 2000)))
	}
	select {
	case err := <-told:
		if !errors.Is(err, tidemark.ErrDiskFull) {
			t.Errorf("got %v, want ErrDiskFull", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no failure was told")
	}
	on.Store(false)
	for deadline := time.Now().Add(10 * time.Second); s.Metrics().Compactions == 0; {
		if time.Now().After(deadline) {
			t.Fatal("there is room, and nothing was written")
		}
		index++
		commit(t, s, index, draft("a", fmt.Sprintf("m%d", index), strings.Repeat("x", 2000)))
	}
}

// TestFlushesAwaitCompactions: while compactions fail, tables that were not merged come up to
// a limit; there writes wait, and go on when compactions do.
func TestFlushesAwaitCompactions(t *testing.T) {
	const limit = 40
	var on atomic.Bool
	var s *pebblestore.Store
	var beyond atomic.Int32
	o := storetest.Options(t, errorfs.Wrap(full(vfs.NewMem(), &on, ".sst"), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, "flush") && s.Metrics().L0Sublevels >= limit {
			beyond.Add(1)
		}
		return nil
	})))
	o.MemTableBytes = 16 << 10
	s = storetest.OpenAt(t, storetest.Dir, o)
	on.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for index := range uint64(limit * 20) { // of which each fills a buffer to an eighth at least
			commit(t, s, index+1, draft("a", fmt.Sprintf("m%d", index), strings.Repeat("x", 2000)))
		}
	}()
	waitFor := func(what string, reached func(pebblestore.Metrics) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !reached(s.Metrics()); {
			if time.Now().After(deadline) {
				t.Fatalf("no %s: %+v", what, s.Metrics())
			}
			runtime.Gosched()
		}
	}
	waitFor("wait", func(m pebblestore.Metrics) bool { return m.WriteStalls > 0 && m.L0Sublevels >= limit })
	select {
	case <-done:
		t.Fatal("writes did not wait")
	default:
	}
	on.Store(false)
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("writes did not go on")
	}
	if n := beyond.Load(); n > 0 {
		t.Errorf("%d flushes began when there were %d layers of tables already", n, limit)
	}
}

// TestFullDiskForSnapshots: without room a snapshot can be neither taken nor
// received; the store goes on, and nothing is left behind.
func TestFullDiskForSnapshots(t *testing.T) {
	var on atomic.Bool
	mem := vfs.NewMem()
	s := storetest.OpenAt(t, storetest.Dir, storetest.Options(t, full(mem, &on, "0000")))
	source := storetest.Open(t, nil)
	commit(t, source, 9, draft("a", "m1", "x"))
	snapshot, err := source.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	on.Store(true)
	if _, err := io.Copy(in, snapshot); !errors.Is(err, tidemark.ErrDiskFull) {
		t.Errorf("receive: got %v, want ErrDiskFull", err)
	}
	if _, err := in.Finish(); !errors.Is(err, tidemark.ErrDiskFull) {
		t.Errorf("finish: got %v, want ErrDiskFull", err)
	}
	on.Store(false)
	if err := errors.Join(in.Abort(), snapshot.Close()); err != nil {
		t.Error(err)
	}
	commit(t, s, 1, draft("a", "m1", "x"))
	onlyOneGeneration(t, mem)
}
