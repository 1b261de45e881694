package logstore

import (
	"errors"
	"os"
	"testing"

	"github.com/hashicorp/raft"
)

// Entries that were stored unsynced are seen at once, count as synced only when they are, and
// nothing is written behind them before. What the next entry says of them is true.
func TestStoreUnsynced(t *testing.T) {
	o := testOptions(t, WAL)
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(index uint64) *raft.Log {
		return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: []byte{byte(index)}}
	}
	if err := s.Log().StoreLogs([]*raft.Log{entry(1)}); err != nil { // the file's own sync
		t.Fatal(err)
	}
	syncing, goOn := make(chan struct{}), make(chan struct{})
	s.log.inner.(*walBackend).files.datasync = func(f *os.File) error {
		syncing <- struct{}{}
		<-goOn
		return datasync(f)
	}
	if err := s.StoreUnsynced([]*raft.Log{entry(2), entry(3)}); err != nil {
		t.Fatal(err)
	}
	<-syncing
	var got raft.Log
	if err := s.Log().GetLog(3, &got); err != nil || got.Data[0] != 3 || s.LastIndex() != 3 {
		t.Errorf("got %+v, %v, and the last is %d", got, err, s.LastIndex())
	}
	if s.Synced(9) != 1 || s.Synced(1) != 1 {
		t.Errorf("synced up to %d of 9", s.Synced(9))
	}
	if err := s.AwaitSynced(1); err != nil {
		t.Error(err)
	}
	awaited, stored := make(chan error, 1), make(chan error, 1)
	go func() { awaited <- s.AwaitSynced(2) }()
	go func() { stored <- s.Log().StoreLogs([]*raft.Log{entry(4)}) }()
	select {
	case err := <-awaited:
		t.Fatalf("synced before the disk was done: %v", err)
	case err := <-stored:
		t.Fatalf("stored behind what is not synced: %v", err)
	case goOn <- struct{}{}:
	}
	if err := <-awaited; err != nil {
		t.Error(err)
	}
	<-syncing
	goOn <- struct{}{}
	if err := <-stored; err != nil {
		t.Error(err)
	}
	if s.Synced(9) != 9 {
		t.Errorf("synced up to %d of 9", s.Synced(9))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if again.LastIndex() != 4 {
		t.Errorf("the last is %d, want 4", again.LastIndex())
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// An append is one write of the segment and one sync, whatever it holds. This does not depend on the
// machine, and is what an append waits for.
func TestSyncsForAnAppend(t *testing.T) {
	s := mustOpen(t, testOptions(t, WAL))
	entry := func(index uint64) *raft.Log {
		return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: make([]byte, 100)}
	}
	if err := s.Log().StoreLogs([]*raft.Log{entry(1)}); err != nil { // the file's own sync
		t.Fatal(err)
	}
	syncs := 0
	s.log.inner.(*walBackend).files.datasync = func(f *os.File) error {
		syncs++
		return datasync(f)
	}
	for i := range uint64(10) {
		store := s.Log().StoreLogs
		if i%2 == 1 {
			store = s.StoreUnsynced
		}
		if err := errors.Join(store([]*raft.Log{entry(3*i + 2), entry(3*i + 3), entry(3*i + 4)}), s.AwaitSynced(3*i+4)); err != nil {
			t.Fatal(err)
		}
		if syncs != int(i)+1 {
			t.Fatalf("%d syncs for %d appends", syncs, i+1)
		}
	}
}

// When the sync fails, the process ends, and the entries never count as synced.
func TestStoreUnsyncedFails(t *testing.T) {
	o := testOptions(t, WAL)
	fatal := make(chan error, 1)
	o.Fatal = func(err error) { fatal <- err }
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	entry := &raft.Log{Index: 1, Term: 1, Type: raft.LogCommand}
	if err := s.Log().StoreLogs([]*raft.Log{entry}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is broken")
	s.log.inner.(*walBackend).files.datasync = func(*os.File) error { return broken }
	if err := s.StoreUnsynced([]*raft.Log{{Index: 2, Term: 1, Type: raft.LogCommand}}); err != nil {
		t.Fatal(err)
	}
	if err := <-fatal; !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := s.AwaitSynced(2); !errors.Is(err, broken) || s.Synced(2) != 1 {
		t.Errorf("got %v, and it is synced up to %d", err, s.Synced(2))
	}
	_ = s.Close()
}

// A sync that failed is not taken for done by whoever asks next, though another has met the failure.
func TestFailedSyncStaysFailed(t *testing.T) {
	files, broken := newWALFiles(), errors.New("the disk is broken")
	f, err := files.Create(t.TempDir(), "segment", maxFillBytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil { // the file's own
		t.Fatal(err)
	}
	files.datasync = func(*os.File) error { return broken }
	files.late.Store(true)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, broken) {
		t.Errorf("got %v of the close", err)
	}
	if err := files.flush(); !errors.Is(err, broken) {
		t.Errorf("got %v of the flush behind it", err)
	}
}
