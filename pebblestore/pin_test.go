package pebblestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// readPinned reads all of a pinned state in parts of a size.
func readPinned(t *testing.T, s *pebblestore.Store, size int) (digests [][32]byte, records uint64, names []string) {
	t.Helper()
	var after []byte
	for {
		part, err := s.PinnedPart(t.Context(), "audit", after, size)
		if err != nil {
			t.Fatal(err)
		}
		digests, records, names = append(digests, part.Digest), records+part.Records, append(names, part.LastIs)
		if !part.More {
			return digests, records, names
		}
		if bytes.Compare(part.Last, after) <= 0 {
			t.Fatalf("a part behind %x ends at %x", after, part.Last)
		}
		after = part.Last
	}
}

// A pin shows the state behind its place, whatever is written later, and the same on two
// stores that did the same.
func TestPin(t *testing.T) {
	var all [2][][32]byte
	for n := range all {
		s := storetest.Open(t, nil)
		for index := uint64(1); index <= 20; index++ {
			if index == 5 {
				if err := s.ArmPin("audit", 10); err != nil {
					t.Fatal(err)
				}
			}
			if due := s.PinDue(index); due != (index == 11) {
				t.Fatalf("before entry %d the pin is due: %v", index, due)
			} else if due {
				s.TakePin()
			}
			commit(t, s, index, draft(tidemark.TimelineID(fmt.Sprint("conv/", index%3)), fmt.Sprint("m", index), "x"))
		}
		var records uint64
		var names []string
		all[n], records, names = readPinned(t, s, 1)
		if _, whole, _ := readPinned(t, s, 1000); whole != records {
			t.Errorf("%d records one by one, and %d at once", records, whole)
		}
		// The next number, and a head, a number, ten messages and dedupe entries.
		if want := uint64(1 + 3 + 3 + 10 + 10); records != want {
			t.Errorf("%d records, want %d: %q", records, want, names)
		}
		if names[4] != `message 1 of timeline number 1, which is "conv/1"` {
			t.Errorf("the fifth record is %s", names[4])
		}
		if err := s.ArmPin("another", 30); !errors.Is(err, tidemark.ErrOverloaded) {
			t.Errorf("a second pin: %v", err)
		}
		s.Unpin("another") // is none
		if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); err != nil {
			t.Error(err)
		}
		s.Unpin("audit")
		if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); !errors.Is(err, tidemark.ErrPlacePassed) {
			t.Errorf("after the end: %v", err)
		}
		if err := s.ArmPin("another", 19); !errors.Is(err, tidemark.ErrPlacePassed) {
			t.Errorf("a place that was passed: %v", err)
		}
	}
	for i := range all[0] {
		if all[0][i] != all[1][i] {
			t.Errorf("record %d differs", i)
		}
	}
}

// A place that is passed before the pin is taken is told, and so is a pin that was given up
// while somebody waited for it.
func TestPinFails(t *testing.T) {
	s := storetest.Open(t, nil)
	commit(t, s, 1, draft("conv/1", "m1", "x"))
	if err := s.ArmPin("audit", 2); err != nil {
		t.Fatal(err)
	}
	commit(t, s, 3, draft("conv/1", "m3", "x")) // a batch that was open already
	s.TakePin()
	if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); !errors.Is(err, tidemark.ErrPlacePassed) {
		t.Errorf("a batch beyond the place: %v", err)
	}
	if err := s.ArmPin("audit", 9); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := s.PinnedPart(t.Context(), "audit", nil, 1)
		waited <- err
	}()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.PinnedPart(ended, "audit", nil, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that ended: %v", err)
	}
	s.Unpin("audit")
	if err := <-waited; !errors.Is(err, tidemark.ErrPlacePassed) {
		t.Errorf("a wait for what was given up: %v", err)
	}
}

// A pin that nobody asks for ends by itself, and an installed snapshot and Close end it.
func TestPinEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		options := storetest.Options(t, vfs.NewMem())
		options.PurgeDelay, options.TrimFlushDelay = 0, 0
		s, err := pebblestore.Open(storetest.Dir, options)
		if err != nil {
			t.Fatal(err)
		}
		pin := func(index uint64) {
			t.Helper()
			if err := s.ArmPin("audit", index); err != nil {
				t.Fatal(err)
			}
			s.TakePin()
			if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, s, 1, draft("conv/1", "m1", "x"))
		pin(1)
		for range 3 { // as long as it is asked for
			time.Sleep(40 * time.Second)
			if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); !errors.Is(err, tidemark.ErrPlacePassed) {
			t.Errorf("two minutes later: %v", err)
		}
		pin(1)
		if err := s.Close(); err != nil { // does not wait for it
			t.Fatal(err)
		}
		if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); !errors.Is(err, tidemark.ErrPlacePassed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestInstallEndsPin(t *testing.T) {
	source, s := storetest.Open(t, nil), storetest.Open(t, vfs.NewMem())
	commit(t, source, 5, draft("conv/1", "m5", "x"))
	commit(t, s, 1, draft("conv/1", "m1", "x"))
	if err := s.ArmPin("audit", 1); err != nil {
		t.Fatal(err)
	}
	s.TakePin()
	if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); err != nil {
		t.Fatal(err)
	}
	transfer(t, source, s)
	if _, err := s.PinnedPart(t.Context(), "audit", nil, 1); !errors.Is(err, tidemark.ErrPlacePassed) {
		t.Errorf("after the snapshot: %v", err)
	}
}
