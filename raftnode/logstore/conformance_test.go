package logstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	tidemark "tidemark"
)

func TestAppendAndRestart(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustHold(t, s, 0, 0, nil)
		mustAppend(t, s, 1, 700, 3)
		mustHold(t, s, 1, 700, term(3))
		s = reopen(t, s)
		mustHold(t, s, 1, 700, term(3))
		mustAppend(t, s, 701, 900, 4)
		s = reopen(t, s)
		mustHold(t, s, 1, 900, func(i uint64) uint64 {
			if i > 700 {
				return 4
			}
			return 3
		})
		if _, ok, err := s.Term(901); ok || err != nil {
			t.Errorf("Term(901) = %v, %v", ok, err)
		}
		if term, ok, err := s.Term(701); term != 4 || !ok || err != nil {
			t.Errorf("Term(701) = %d, %v, %v", term, ok, err)
		}
		if n, err := s.DiskBytes(); n < 900*100 || err != nil {
			t.Errorf("DiskBytes = %d, %v", n, err)
		}
	})
}

func TestLogMayStartAnywhere(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustAppend(t, s, 1000, 1010, 1)
		s = reopen(t, s)
		mustHold(t, s, 1000, 1010, term(1))
	})
}

func TestBigEntries(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		sizes := []int{0, 1, 600 << 10, 7, 64 << 10, 64<<10 - 40, 300 << 10, 600 << 10}
		for i, size := range sizes {
			if err := s.Log().StoreLog(testEntry(uint64(i+1), 1, size)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			for i, size := range sizes {
				mustGet(t, s, testEntry(uint64(i+1), 1, size))
			}
			s = reopen(t, s)
		}
	})
}

func TestGapsAndOverlapsAreRefused(t *testing.T) {
	for _, bad := range [][]uint64{{12}, {10}, {9}, {1}, {11, 13}, {11, 11}, {11, 12, 11}} {
		forKinds(t, func(t *testing.T, o Options) {
			f := newFatals()
			o.Fatal = f.hook
			s := mustOpen(t, o)
			mustAppend(t, s, 1, 10, 1)
			var logs []*raft.Log
			for _, i := range bad {
				logs = append(logs, testEntry(i, 1, 10))
			}
			if err := s.Log().StoreLogs(logs); err == nil {
				t.Fatalf("entries %v were accepted after 10", bad)
			}
			if len(f.all()) != 1 || !strings.Contains(f.all()[0].Error(), "cannot follow") {
				t.Errorf("fatal errors: %v", f.all())
			}
			o.Fatal = func(err error) { t.Error(err) }
			s.Close()
			mustHold(t, mustOpen(t, o), 1, 10, term(1))
		})
	}
}

func TestPrefixDeletion(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(0)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 3000, 1)
		for _, c := range []struct{ durable, to, first uint64 }{
			{0, 10, 1}, {9, 10, 10}, {9, 2000, 10}, {500, 499, 500}, {2500, 2700, 2501}, {2900, 2600, 2601},
		} {
			durable = c.durable
			if err := s.Log().DeleteRange(s.FirstIndex(), c.to); err != nil {
				t.Fatal(err)
			}
			mustHold(t, s, c.first, 3000, term(1))
			s = reopen(t, s)
			mustHold(t, s, c.first, 3000, term(1))
		}
		mustAppend(t, s, 3001, 3010, 1)
		mustHold(t, reopen(t, s), 2601, 3010, term(1))
	})
}

func TestWholeLogIsOnlyDeletedWhenDurable(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(59)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 60, 1)
		if err := s.Log().DeleteRange(1, 60); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, 60, 60, term(1))
		durable = 60
		if err := s.Log().DeleteRange(60, 60); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, 0, 0, nil)
		s = reopen(t, s)
		mustHold(t, s, 0, 0, nil)
		mustAppend(t, s, 61, 70, 1)
		mustHold(t, reopen(t, s), 61, 70, term(1))
	})
}

func TestSuffixDeletion(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		terms := map[uint64]uint64{}
		next, now := uint64(1), uint64(1)
		// Each round appends in a new term, then takes back entries of several
		// rounds, across segments, and restarts in between or not.
		for _, c := range []struct {
			to, cut uint64
			restart bool
		}{
			{300, 299, true}, {400, 200, true}, {350, 350, false}, {900, 100, true}, {101, 101, true}, {120, 2, false}, {700, 650, true},
		} {
			mustAppend(t, s, next, c.to, now)
			for i := next; i <= c.to; i++ {
				terms[i] = now
			}
			if err := s.Log().DeleteRange(c.cut, c.to); err != nil {
				t.Fatal(err)
			}
			next, now = c.cut, now+1
			if c.restart {
				s = reopen(t, s)
			}
			mustHold(t, s, 1, next-1, func(i uint64) uint64 { return terms[i] })
		}
	})
}

func TestSuffixDeletionOfAWholeLog(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustAppend(t, s, 5, 30, 1)
		if err := s.Log().DeleteRange(5, 30); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, 0, 0, nil)
		mustAppend(t, s, 5, 10, 2)
		mustHold(t, reopen(t, s), 5, 10, term(2))
	})
}

func TestImpossibleDeletionsAreFatal(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		for name, r := range map[string][2]uint64{"in the middle": {20, 30}, "conflict below durable": {40, 60}} {
			o := o
			o.Dir = filepath.Join(t.TempDir(), "raft")
			f := newFatals()
			o.Fatal = f.hook
			o.Durable = func() uint64 { return 40 }
			s := mustOpen(t, o)
			mustAppend(t, s, 1, 60, 1)
			if err := s.Log().DeleteRange(r[0], r[1]); err == nil || len(f.all()) != 1 {
				t.Errorf("%s: %v, fatal %v", name, err, f.all())
			}
			s.Close()
			mustHold(t, mustOpen(t, o), 1, 60, term(1))
		}
	})
}

// A copy of the files at any moment after StoreLogs returned holds all entries,
// and takes more: the moments after each append, also of those that filled a
// segment while the next one is being made.
func TestCrashAfterEveryAppend(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 8 << 10
		s := mustOpen(t, o)
		for i := uint64(1); i <= 120; i++ {
			mustAppend(t, s, i, i, 1)
			if i%3 != 0 && o.Kind == BoltDB {
				continue
			}
			after := o
			after.Dir = copyDir(t, o.Dir)
			c := mustOpen(t, after)
			mustHold(t, c, 1, i, term(1))
			mustAppend(t, c, i+1, i+60, 1)
			mustHold(t, reopen(t, c), 1, i+60, term(1))
			c.Close()
		}
	})
}

func TestOtherKindIsRefused(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 5, 1)
		s.Close()
		other := o
		other.Kind = kinds[0]
		if o.Kind == kinds[0] {
			other.Kind = kinds[1]
		}
		_, err := Open(other)
		if !errors.Is(err, ErrOtherKind) || !strings.Contains(err.Error(), string(o.Kind)) {
			t.Fatalf("Open as %s: %v", other.Kind, err)
		}
		mustHold(t, mustOpen(t, o), 1, 5, term(1))
	})
}

func TestDirectoryInUse(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 5, 1)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("second Open: %v", err)
		}
		mustAppend(t, s, 6, 9, 1)
		mustHold(t, s, 1, 9, term(1))
	})
}

func TestMustExist(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		o.MustExist = true
		if _, err := Open(o); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Fatalf("Open of nothing: %v", err)
		}
		if there, _ := exists(o.Dir); there {
			t.Error("a refused Open made the directory")
		}
		o.MustExist = false
		mustOpen(t, o).Close()
		o.MustExist = true
		mustOpen(t, o)
	})
}

// A crash while the store is first made leaves something that the next start
// makes anew.
func TestCrashWhileMaking(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		path := filepath.Join(o.Dir, markName)
		if _, err := prepare(o, path); err != nil {
			t.Fatal(err)
		}
		junk := filepath.Join(o.Dir, stableName)
		if err := os.WriteFile(junk, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 5, 1)
		mustHold(t, reopen(t, s), 1, 5, term(1))
	})
}

func TestNewerFormatIsRefused(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		mustOpen(t, o).Close()
		path := filepath.Join(o.Dir, markName)
		rewriteSlots(t, path, func(b []byte) { b[8] = markVersion + 1 })
		if _, err := Open(o); !errors.Is(err, tidemark.ErrNewerFormat) {
			t.Fatalf("Open: %v", err)
		}
	})
}

func TestCallsAfterCloseDoNoHarm(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 50, 1)
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if err := s.Log().GetLog(1, new(raft.Log)); !errors.Is(err, errClosed) {
			t.Errorf("GetLog: %v", err)
		}
		if err := s.Log().StoreLog(testEntry(51, 1, 1)); !errors.Is(err, errClosed) {
			t.Errorf("StoreLog: %v", err)
		}
		if err := s.Stable().SetUint64([]byte("CurrentTerm"), 9); !errors.Is(err, errClosed) {
			t.Errorf("SetUint64: %v", err)
		}
	})
}

func TestConcurrentReadsAndCompaction(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		o.Durable = func() uint64 { return 2000 }
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 500, 1)
		done := make(chan error, 3)
		go func() {
			for to := uint64(10); to <= 490; to += 10 {
				if err := s.Log().DeleteRange(s.FirstIndex(), to); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		for range 2 {
			go func() {
				var l raft.Log
				for i := range uint64(2000) {
					err := s.Log().GetLog(i%700, &l)
					if err != nil && !errors.Is(err, raft.ErrLogNotFound) || err == nil && l.Index != i%700 {
						done <- fmt.Errorf("GetLog(%d) = %d, %w", i%700, l.Index, err)
						return
					}
				}
				done <- nil
			}()
		}
		mustAppend(t, s, 501, 700, 1)
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		mustHold(t, reopen(t, s), 491, 700, term(1))
	})
}
