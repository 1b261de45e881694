package logstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	tidemark "tidemark"
)

// mustRead reads a log with Read, and fails the test if a file was changed.
func mustRead(t *testing.T, o Options) []*raft.Log {
	t.Helper()
	before := readFiles(t, o.Dir)
	var logs []*raft.Log
	err := Read(o, func(l *raft.Log) error {
		kept := *l
		kept.Data, kept.Extensions = bytes.Clone(l.Data), bytes.Clone(l.Extensions)
		logs = append(logs, &kept)
		return nil
	})
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if diff := diffFiles(before, readFiles(t, o.Dir)); diff != "" {
		t.Errorf("Read changed %s", diff)
	}
	return logs
}

// mustBe checks that entries are those of mustAppend, in order and without a gap.
func mustBe(t *testing.T, logs []*raft.Log, from, to uint64, termOf func(uint64) uint64) {
	t.Helper()
	if len(logs) != int(to-from+1) {
		t.Fatalf("%d entries were read, want %d to %d", len(logs), from, to)
	}
	for i, l := range logs {
		index := from + uint64(i)
		if want := testEntry(index, termOf(index), sizeOf(index)); !sameEntry(l, want) {
			t.Fatalf("entry %d was read as %+v, want %+v", index, *l, *want)
		}
	}
}

// What Read shows is what the log holds, also after both of its ends were cut, and
// also of the directory of a process that was killed.
func TestReadShowsTheLog(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		if err := Read(o, func(*raft.Log) error { return errors.New("an entry") }); err != nil {
			t.Fatalf("Read of a log that was never made: %v", err)
		}
		damagedStore(t, o)
		termOf := func(index uint64) uint64 {
			if index > 600 {
				return 2
			}
			return 1
		}
		mustBe(t, mustRead(t, o), 21, 1020, termOf)

		s := mustOpen(t, o)
		mustAppend(t, s, 1021, 1100, 2)
		killed := o
		killed.Dir = copyDir(t, o.Dir)
		mustBe(t, mustRead(t, killed), 21, 1100, termOf)
	})
}

// An append that was cut short is not shown, though parts of it can be read, and
// the next start finds what was shown.
func TestReadEndsWhereOpenDoes(t *testing.T) {
	o := testOptions(t, WAL)
	o.SegmentBytes = 1 << 20
	s := mustOpen(t, o)
	mustAppend(t, s, 1, 100, 1)
	mark := readFiles(t, o.Dir)[markName]
	if err := s.Log().StoreLogs(testEntries(101, 110, 1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.WriteFile(filepath.Join(o.Dir, markName), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	mustBe(t, mustRead(t, o), 1, 110, term(1))
	path, off := frameOf(t, o.logPath(), 110)
	alter(t, path, func(b []byte) { clear(b[off+walFrameHead : off+walFrameHead+8]) })
	logs := mustRead(t, o)
	mustBe(t, logs, 1, 100, term(1))
	mustHold(t, mustOpen(t, o), 1, uint64(len(logs)), term(1))
}

// Of a log that Open refuses nothing is shown.
func TestReadShowsNothingOfADamagedLog(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		damagedStore(t, o)
		good := readFiles(t, o.Dir)
		for what, damage := range map[string]func(){
			"lost entries": func() {
				bare, done := openBare(t, o)
				if err := errors.Join(bare.DeleteRange(1020, 1020), done()); err != nil {
					t.Fatal(err)
				}
			},
			"a mark that promises more": func() {
				rewriteSlots(t, filepath.Join(o.Dir, markName), func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 1021) })
			},
			"no mark": func() { os.Remove(filepath.Join(o.Dir, markName)) },
			"no log":  func() { os.RemoveAll(o.logPath()) },
		} {
			os.RemoveAll(o.Dir)
			writeFiles(t, o.Dir, good)
			damage()
			shown := 0
			err := Read(o, func(*raft.Log) error { shown++; return nil })
			if !errors.Is(err, tidemark.ErrCorrupt) || shown > 0 {
				t.Errorf("%s: %d entries were shown, then: %v", what, shown, err)
			}
		}
		os.RemoveAll(o.Dir)
		o.MustExist = true
		if err := Read(o, nil); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("Read of a log that is gone: %v", err)
		}
	})
}

func TestReadEndsWithTheErrorOfItsVisitor(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		damagedStore(t, o)
		enough := errors.New("enough")
		calls := 0
		err := Read(o, func(l *raft.Log) error {
			calls++
			if l.Index == 30 {
				return fmt.Errorf("at %d: %w", l.Index, enough)
			}
			return nil
		})
		if !errors.Is(err, enough) || calls != 10 {
			t.Errorf("Read after %d calls: %v", calls, err)
		}
	})
}
