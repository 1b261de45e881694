package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	tidemark "tidemark"
)

// These tests show what the libraries do by themselves. When one of them fails,
// the library was mended, and the defence that it names may go.

// openBare opens a library's log without the wrapper.
func openBare(t testing.TB, o Options) (raft.LogStore, func() error) {
	t.Helper()
	if o.Kind == WAL {
		if err := os.MkdirAll(o.logPath(), 0o700); err != nil {
			t.Fatal(err)
		}
		w, err := wal.Open(o.logPath(), wal.WithSegmentSize(o.SegmentBytes), wal.WithLogger(hclog.NewNullLogger()))
		if err != nil {
			t.Fatal(err)
		}
		return w, w.Close
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := openBolt(o.logPath())
	if err != nil {
		t.Fatal(err)
	}
	return b, b.Close
}

// fileWith returns the file below dir that holds the bytes, and where.
func fileWith(t testing.TB, dir string, want []byte) (path string, offset int) {
	t.Helper()
	for name, b := range readFiles(t, dir) {
		if i := strings.Index(string(b), string(want)); i >= 0 {
			return filepath.Join(dir, name), i
		}
	}
	t.Fatal("no file holds the entry")
	return "", 0
}

func alter(t testing.TB, path string, change func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(b)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// frameOf returns the segment that holds entry i, and the offset of its frame.
func frameOf(t testing.TB, dir string, i uint64) (string, int64) {
	t.Helper()
	path := (&walBackend{dir: dir}).fileOf(i)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := newWALReader(bytes.NewReader(b), int64(len(b)))
	for err == nil {
		f, ok, _ := r.next()
		if !ok {
			break
		}
		var l raft.Log
		if f.kind == walEntry && parseWALEntry(f.payload, &l) == nil && l.Index == i {
			return path, f.off
		}
	}
	t.Fatalf("%s has no frame of entry %d", path, i)
	return "", 0
}

// breakFrame damages the header of the frame of entry i in a segment.
func breakFrame(t testing.TB, dir string, i uint64) {
	t.Helper()
	path, off := frameOf(t, dir, i)
	alter(t, path, func(b []byte) { b[off] ^= 0x40 })
}

func TestBareWALDropsSyncedEntries(t *testing.T) {
	o := testOptions(t, WAL)
	o.SegmentBytes = 1 << 20
	bare, done := openBare(t, o)
	if err := errors.Join(bare.StoreLogs(testEntries(1, 500, 1)), bare.StoreLogs(testEntries(501, 1000, 1)), done()); err != nil {
		t.Fatal(err)
	}
	breakFrame(t, o.logPath(), 600)
	bare, done = openBare(t, o)
	defer done()
	if last, err := bare.LastIndex(); last != 500 || err != nil {
		t.Fatalf("raft-wal kept entries up to %d of 1000, error %v: it used to keep 500 and say nothing", last, err)
	}
}

func TestDamagedFrameIsRefused(t *testing.T) {
	o := testOptions(t, WAL)
	o.SegmentBytes = 1 << 20
	s := mustOpen(t, o)
	if err := errors.Join(s.Log().StoreLogs(testEntries(1, 500, 1)), s.Log().StoreLogs(testEntries(501, 1000, 1)), s.Close()); err != nil {
		t.Fatal(err)
	}
	breakFrame(t, o.logPath(), 600)
	if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
		t.Fatalf("Open: %v", err)
	}
}

func TestBareStoresReturnAlteredEntries(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		bare, done := openBare(t, o)
		want := testEntry(7, 1, 200)
		if err := errors.Join(bare.StoreLogs(testEntries(1, 6, 1)), bare.StoreLog(want),
			bare.StoreLogs(testEntries(8, 20, 1)), done()); err != nil {
			t.Fatal(err)
		}
		path, at := fileWith(t, o.Dir, want.Data)
		alter(t, path, func(b []byte) { b[at+100] ^= 1 })
		bare, done = openBare(t, o)
		defer done()
		var got raft.Log
		if err := bare.GetLog(7, &got); err != nil || sameEntry(&got, want) {
			t.Fatalf("the library noticed a flipped bit: %v", err)
		}
	})
}

// interruptRotation leaves a log as a crash leaves it that comes after an append
// filled a segment and before the metadata says so. It returns the last index.
func interruptRotation(t testing.TB, dir string, store func(*raft.Log) error) uint64 {
	t.Helper()
	meta := filepath.Join(dir, metadb.FileName)
	for i := uint64(1); ; i++ {
		before, err := os.ReadFile(meta)
		if err != nil {
			t.Fatal(err)
		}
		if err := store(testEntry(i, 1, sizeOf(i))); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(sorted(files)[0])
		if err != nil {
			t.Fatal(err)
		}
		if !isSealed(b) {
			if len(files) > 1 {
				t.Fatal("there is a next segment, and the first one is not sealed")
			}
			continue
		}
		// The next segment is made in the background, and may be there already; the append
		// after the one that fills a segment waits for it.
		// Wait for the rotation, then take it back.
		if err := store(testEntry(i+1, 1, sizeOf(i+1))); err != nil {
			t.Fatal(err)
		}
		all, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err != nil || len(all) != 2 {
			t.Fatalf("segments %v, %v", all, err)
		}
		if err := errors.Join(os.Remove(sorted(all)[1]), os.WriteFile(meta, before, 0o600)); err != nil {
			t.Fatal(err)
		}
		return i
	}
}

func isSealed(segment []byte) bool {
	r, _, err := newWALReader(strings.NewReader(string(segment)), int64(len(segment)))
	for err == nil {
		f, ok, _ := r.next()
		if !ok {
			return false
		}
		if f.kind == walIndex {
			return true
		}
	}
	return false
}

func TestBareWALRefusesAppendsAfterAnInterruptedRotation(t *testing.T) {
	o := testOptions(t, WAL)
	bare, done := openBare(t, o)
	last := interruptRotation(t, o.logPath(), bare.StoreLog)
	if err := done(); err != nil {
		t.Fatal(err)
	}
	bare, done = openBare(t, o)
	defer done()
	if err := bare.StoreLog(testEntry(last+1, 1, 10)); !errors.Is(err, wal.ErrSealed) {
		t.Fatalf("append after restart: %v; raft-wal used to refuse it", err)
	}
}

func TestInterruptedRotationIsCompleted(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	last := interruptRotation(t, o.logPath(), s.Log().StoreLog)
	s.Close()
	// The append that came after the rotation did not happen.
	rewriteSlots(t, filepath.Join(o.Dir, markName), func(b []byte) { clear(b[32:44]) })
	s = mustOpen(t, o)
	mustHold(t, s, 1, last, term(1))
	mustAppend(t, s, last+1, last+500, 1)
	mustHold(t, reopen(t, s), 1, last+500, term(1))
}

// The last append may be cut short by a loss of power, also the one that would
// have filled the segment; then what was there before is whole and goes on.
func TestTornAppend(t *testing.T) {
	o := testOptions(t, WAL)
	s := mustOpen(t, o)
	last := interruptRotation(t, o.logPath(), s.Log().StoreLog)
	s.Close()
	good := readFiles(t, o.Dir)
	path, off := frameOf(t, o.logPath(), last)
	for _, mark := range []uint64{last, last - 1} {
		for _, n := range []int64{1, 8, 40} {
			writeFiles(t, o.Dir, good)
			alter(t, path, func(b []byte) { clear(b[off+walFrameHead : off+walFrameHead+n]) })
			rewriteSlots(t, filepath.Join(o.Dir, markName), func(b []byte) {
				binary.LittleEndian.PutUint64(b[32:], mark)
				binary.LittleEndian.PutUint32(b[40:], sumAt(mark))
			})
			s, err := Open(o)
			if mark == last {
				if !errors.Is(err, tidemark.ErrCorrupt) {
					t.Fatalf("%d bytes of the last append were lost, and the mark was synced after it: %v", n, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%d bytes of an append without an answer were lost: %v", n, err)
			}
			mustHold(t, s, 1, last-1, term(1))
			mustAppend(t, s, last, last+300, 1)
			mustHold(t, reopen(t, s), 1, last+300, term(1))
			for name := range readFiles(t, o.Dir) {
				os.Remove(filepath.Join(o.Dir, name))
			}
			s.Close()
		}
	}
}

// sumAt computes the sum of an entry of a log that interruptRotation made.
func sumAt(index uint64) uint32 {
	sum := uint32(0)
	for i := uint64(1); i <= index; i++ {
		_, sum = seal([]*raft.Log{testEntry(i, 1, sizeOf(i))}, sum, i-1)
	}
	return sum
}

// Even when a loss of power left an old mark on the disk, damage before the last
// append is noticed: entries after it tell that it had been synced.
func TestDamageWithAnOldMark(t *testing.T) {
	o := testOptions(t, WAL)
	o.SegmentBytes = 1 << 20
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 100, 1)
	s.Close()
	old := readFiles(t, o.Dir)[markName]
	s = mustOpen(t, o)
	mustAppend(t, s, 101, 1000, 1)
	s.Close()
	breakFrame(t, o.logPath(), 600)
	if err := os.WriteFile(filepath.Join(o.Dir, markName), old, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(o)
	if !errors.Is(err, tidemark.ErrCorrupt) || !strings.Contains(err.Error(), "was synced") {
		t.Fatalf("Open: %v", err)
	}
}
