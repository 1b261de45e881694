package logstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/metadb"

	tidemark "tidemark"
)

// Entries that go missing in a way that leaves the library's files in order.
func TestLostEntriesAreRefused(t *testing.T) {
	for _, lost := range [][2]uint64{{21, 21}, {21, 500}, {1020, 1020}, {601, 1020}, {21, 1020}, {300, 300}} {
		forKinds(t, func(t *testing.T, o Options) {
			if o.Kind == WAL && lost[0] == 300 {
				t.Skip("raft-wal cannot delete in the middle")
			}
			damagedStore(t, o)
			bare, done := openBare(t, o)
			if err := errors.Join(bare.DeleteRange(lost[0], lost[1]), done()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
				t.Fatalf("entries %d to %d of 21 to 1020 are gone: %v", lost[0], lost[1], err)
			}
		})
	}
}

// Other entries under the same indexes are not the log that was stored.
func TestReplacedEntriesAreRefused(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		damagedStore(t, o)
		bare, done := openBare(t, o)
		sealed, _ := seal(testEntries(1001, 1030, 7), 0, 1000)
		if err := errors.Join(bare.DeleteRange(1001, 1020), bare.StoreLogs(sealed), done()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Fatalf("Open: %v", err)
		}
	})
}

// Metadata that went back in time does not name the newest segments, and the
// library deletes what metadata does not name.
func TestOldMetadataIsRefusedBeforeItDeletes(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	meta := filepath.Join(o.logPath(), metadb.FileName)
	mustAppend(t, s, 1, 50, 1)
	old, err := os.ReadFile(meta)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 51, 1000, 1)
	s.Close()
	if err := os.WriteFile(meta, old, 0o600); err != nil {
		t.Fatal(err)
	}
	// Even if the mark knows nothing, as after a loss of power.
	rewriteSlots(t, filepath.Join(o.Dir, markName), func(b []byte) { clear(b[24:44]) })
	before := readFiles(t, o.Dir)
	if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Fatalf("Open: %v", err)
	}
	if diff := diffFiles(before, readFiles(t, o.Dir)); diff != "" {
		t.Errorf("changed %s", diff)
	}
	_, done := openBare(t, o)
	defer done()
	if n := len(readFiles(t, o.Dir)); n >= len(before) {
		t.Errorf("the bare library kept all segments: %d files of %d", n, len(before))
	}
}

// The mark is raised only after the log was stored.
func TestFailedAppendLeavesTheMark(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s, inner, _ := openFailing(t, o)
		before := diskSlots(t, filepath.Join(o.Dir, markName))
		inner.store = func() error {
			if now := diskSlots(t, filepath.Join(o.Dir, markName)); now != before {
				t.Errorf("the mark was written before the log: %+v", now)
			}
			return syscall.EIO
		}
		if err := s.Log().StoreLog(testEntry(51, 1, 1)); err == nil {
			t.Fatal("no error")
		}
		if now := diskSlots(t, filepath.Join(o.Dir, markName)); now != before {
			t.Errorf("a failed append changed the mark: %+v", now)
		}
	})
}

// An entry with a checksum of its own, but of another history, does not fit
// between its neighbours; and a whole history that fits in itself is not the one
// that the mark remembers.
func TestOtherHistoryIsRefused(t *testing.T) {
	o := testOptions(t, BoltDB)
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 20, 1)
	s.Close()
	good := readFiles(t, o.Dir)
	other, _ := seal(testEntries(1, 20, 2), 0, 0)
	for _, logs := range [][]*raft.Log{other[9:10], other} {
		writeFiles(t, o.Dir, good)
		bare, done := openBare(t, o)
		if err := errors.Join(bare.StoreLogs(logs), done()); err != nil { // bbolt replaces
			t.Fatal(err)
		}
		if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Fatalf("%d entries of another history: %v", len(logs), err)
		}
	}
}

// A page that claims its neighbours would let bbolt write over what is in use.
func TestOverlappingPagesAreRefused(t *testing.T) {
	o := testOptions(t, WAL)
	mustOpen(t, o).Close()
	path := filepath.Join(o.logPath(), metadb.FileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for at := 2 * os.Getpagesize(); at < len(good); at += os.Getpagesize() {
		bad := bytes.Clone(good)
		bad[at+12]++
		err := boltScanReader(bytes.NewReader(bad), int64(len(bad)), path, func(string, []byte, []byte) error { return nil })
		if errors.Is(err, tidemark.ErrCorrupt) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused < 2 {
		t.Errorf("%d pages that claim the next one were refused; at least a leaf and the free list are in use", refused)
	}
}

// The index of a sealed segment says where each entry is; the library believes it.
func TestWrongSegmentIndexIsRefused(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 500, 1)
	s.Close()
	path := (&walBackend{dir: o.logPath()}).fileOf(1)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := newWALReader(bytes.NewReader(b), int64(len(b)))
	for f, ok := (walFrame{}), true; ok && err == nil; f, ok, err = r.next() {
		if f.kind == walIndex {
			b[f.off+walFrameHead+4] ^= 8
			break
		}
	}
	if err := errors.Join(err, os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Fatalf("Open: %v", err)
	}
}
