package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidemark"
)

func TestFreeBytesOfADirectoryThatIsNotThereYet(t *testing.T) {
	dir := t.TempDir()
	want, err := freeBytes(dir)
	if err != nil || want == 0 {
		t.Fatal(want, err)
	}
	got, err := freeBytes(filepath.Join(dir, "a", "b"))
	if err != nil || got == 0 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestUsedBytes(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 10, "b/c": 20} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, size), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if used, err := usedBytes(dir); err != nil || used != 30 {
		t.Errorf("got %d, %v", used, err)
	}
}

// A node waits for room from start on, says why it does not serve, and goes on within
// a second after there is room.
func TestWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(99)
		d := newDisk("dir", 100)
		d.free = func(string) (uint64, error) { return free.Load(), nil }
		s := &server{disk: d, logger: slog.New(slog.DiscardHandler)}
		done := make(chan error)
		go func() { done <- s.waitForRoom(t.Context(), 100) }()
		time.Sleep(time.Minute)
		if err := s.ready(); !errors.Is(err, tidemark.ErrDiskFull) {
			t.Errorf("while it waits: %v", err)
		}
		free.Store(100)
		begin := time.Now()
		if err := <-done; err != nil || time.Since(begin) > diskInterval {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestWaitForRoomEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk("dir", 100)
		d.free = func(string) (uint64, error) { return 0, nil }
		s := &server{disk: d, logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.waitForRoom(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Without a number there is nothing to step aside for, and a reserve of 0 never does.
func TestLow(t *testing.T) {
	broken := errors.New("no such file system")
	for _, test := range []struct {
		free, want uint64
		err        error
		low        bool
	}{
		{99, 100, nil, true},
		{100, 100, nil, false},
		{0, 0, nil, false},
		{0, 100, broken, false},
	} {
		d := newDisk("dir", 100)
		d.free = func(string) (uint64, error) { return test.free, test.err }
		if err := d.low(test.want); errors.Is(err, tidemark.ErrDiskFull) != test.low {
			t.Errorf("%+v: got %v", test, err)
		}
	}
	if d := newDisk("dir", 100); d.resume() != 150 {
		t.Errorf("it comes back at %d", d.resume())
	}
}
