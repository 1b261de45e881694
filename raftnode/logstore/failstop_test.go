package logstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	tidemark "tidemark"
)

// failing is a backend that does what the test says.
type failing struct {
	backend
	store func() error
	get   func() error
}

func (f failing) StoreLogs(logs []*raft.Log) error {
	if f.store != nil {
		if err := f.store(); err != nil {
			return err
		}
	}
	return f.backend.StoreLogs(logs)
}

func (f failing) GetLog(i uint64, l *raft.Log) error {
	if f.get != nil {
		if err := f.get(); err != nil {
			return err
		}
	}
	return f.backend.GetLog(i, l)
}

func openFailing(t *testing.T, o Options) (*Store, *failing, *fatals) {
	t.Helper()
	f := newFatals()
	o.Fatal = f.hook
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 50, 1)
	inner := &failing{backend: s.log.inner}
	s.log.inner = inner
	return s, inner, f
}

func TestFirstErrorStops(t *testing.T) {
	disk := &os.PathError{Op: "write", Path: "x", Err: syscall.EIO}
	forKinds(t, func(t *testing.T, o Options) {
		s, inner, f := openFailing(t, o)
		inner.store = func() error { return disk }
		err := s.Log().StoreLogs(testEntries(51, 53, 1))
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("StoreLogs: %v", err)
		}
		got := f.wait(t).Error()
		for _, want := range []string{"append entries 51 to 53", o.logPath(), "input/output error"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q does not say %q", got, want)
			}
		}
		// Nothing is answered any more, as if it were still good.
		inner.store = nil
		if err := s.Log().StoreLog(testEntry(51, 1, 1)); !errors.Is(err, syscall.EIO) {
			t.Errorf("second StoreLog: %v", err)
		}
		if err := s.Log().GetLog(1, new(raft.Log)); err == nil {
			t.Error("GetLog went on")
		}
		if _, err := s.Log().LastIndex(); err == nil {
			t.Error("LastIndex went on")
		}
		if err := s.Stable().SetUint64([]byte("CurrentTerm"), 1); err == nil {
			t.Error("the stable store went on")
		}
		if len(f.all()) != 1 {
			t.Errorf("fatal errors: %v", f.all())
		}
	})
}

func TestFullDiskIsNamed(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s, inner, f := openFailing(t, o)
		inner.store = func() error { return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} }
		if err := s.Log().StoreLog(testEntry(51, 1, 1)); err == nil {
			t.Fatal("no error")
		}
		if err := f.wait(t); !errors.Is(err, tidemark.ErrDiskFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("fatal: %v", err)
		}
	})
}

func TestReadErrorsStop(t *testing.T) {
	for name, get := range map[string]func() error{
		"error":   func() error { return syscall.EIO },
		"missing": func() error { return raft.ErrLogNotFound },
		"panic":   func() error { panic("page 7 is not a page") },
		"fault":   func() error { readUnmapped(); return nil },
	} {
		forKinds(t, func(t *testing.T, o Options) {
			s, inner, f := openFailing(t, o)
			inner.get = get
			if err := s.Log().GetLog(1, new(raft.Log)); err == nil {
				t.Fatal("no error")
			}
			if err := f.wait(t); !strings.Contains(err.Error(), "entry 1") {
				t.Errorf("%s: fatal: %v", name, err)
			}
		})
	}
}

// readUnmapped faults as reading a memory map beyond its file does.
func readUnmapped() {
	f, err := os.CreateTemp("", "short")
	if err != nil {
		panic(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	panic(fmt.Sprint(b[0]))
}

func TestAlteredEntryStopsTheReader(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s, _, f := openFailing(t, o)
		path, at := fileWith(t, o.Dir, testEntry(20, 1, sizeOf(20)).Data)
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte{1, 2, 3}, int64(at)+5); err != nil {
			t.Fatal(err)
		}
		file.Close()
		if err := s.Log().GetLog(20, new(raft.Log)); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Fatalf("GetLog: %v", err)
		}
		if err := f.wait(t); !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("fatal: %v", err)
		}
	})
}

// The watchdog speaks while the call hangs, and a call that comes back too late
// is not a success.
func TestHangingCallStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFatals()
		stop := &failStop{slow: 10 * time.Second, fatal: f.hook}
		release := make(chan struct{})
		result := make(chan error)
		go func() {
			result <- stop.run("append entries 5 to 9", "log.wal", func() error { <-release; return nil })
		}()
		time.Sleep(10*time.Second - time.Nanosecond)
		if n := len(f.all()); n != 0 {
			t.Fatalf("%d fatal errors before the time", n)
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if n := len(f.all()); n != 1 {
			t.Fatalf("%d fatal errors while the call hangs", n)
		}
		for _, want := range []string{"append entries 5 to 9", "log.wal", "10s"} {
			if !strings.Contains(f.all()[0].Error(), want) {
				t.Errorf("%q does not say %q", f.all()[0], want)
			}
		}
		close(release)
		if err := <-result; err == nil {
			t.Error("the late call was a success")
		}
		if err := stop.run("read", "log.wal", func() error { return nil }); err == nil {
			t.Error("a call after it was a success")
		}
	})
}

func TestQuickCallsDoNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFatals()
		stop := &failStop{slow: 10 * time.Second, fatal: f.hook}
		for range 5 {
			if err := stop.run("x", "y", func() error { time.Sleep(9 * time.Second); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop.run("x", "y", func() error { return raft.ErrLogNotFound }); err != raft.ErrLogNotFound {
			t.Errorf("a missing entry is an answer: %v", err)
		}
		time.Sleep(time.Minute)
		if len(f.all()) != 0 {
			t.Errorf("fatal errors: %v", f.all())
		}
	})
}

// A failed rotation is only logged by raft-wal, on a goroutine of its own.
func TestFailedRotationStops(t *testing.T) {
	o := testOptions(t, WAL)
	f := newFatals()
	o.Fatal = f.hook
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 10, 1)
	// The next segment's name is taken, so it cannot be made.
	taken := filepath.Join(o.logPath(), "in-the-way")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := uint64(11); i < 1000 && len(f.all()) == 0; i++ {
		for base := i; base < i+3; base++ {
			name := filepath.Join(o.logPath(), fmt.Sprintf("%020d-%016x.wal", base, 1))
			if err := os.Link(taken, name); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}
		if err := s.Log().StoreLog(testEntry(i, 1, 100)); err != nil {
			break
		}
	}
	if err := f.wait(t); !strings.Contains(err.Error(), "making the next segment") && !strings.Contains(err.Error(), "sealed") {
		t.Errorf("fatal: %v", err)
	}
}
