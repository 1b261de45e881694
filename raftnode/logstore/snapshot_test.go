package logstore

import (
	"errors"
	"testing"
)

func TestSnapshotInstalled(t *testing.T) {
	const from, to = 20, 60 // entries 1 to 60 in term 2, then 1 to 19 deleted
	for _, c := range []struct {
		name        string
		index, term uint64
		conflict    bool
		want        error
		first, last uint64
	}{
		{"within, same history", 40, 2, false, nil, from, to},
		{"at the last entry", 60, 2, false, nil, from, to},
		{"just before the first entry", 19, 2, false, nil, from, to},
		{"at the first entry", 20, 2, false, nil, from, to},
		{"beyond the end", 61, 2, false, nil, 0, 0},
		{"far beyond the end", 1000, 9, false, nil, 0, 0},
		{"conflict with a tail beyond", 40, 3, true, nil, 0, 0},
		{"conflict at the last entry", 60, 3, true, nil, 0, 0},
		{"older than the log", 18, 2, false, ErrSnapshotTooOld, from, to},
	} {
		forKinds(t, func(t *testing.T, o Options) {
			o.CacheEntries = 512
			durable := uint64(19)
			o.Durable = func() uint64 { return durable }
			s := mustOpen(t, o)
			mustAppend(t, s, 1, to, 2)
			if err := s.Log().DeleteRange(1, from-1); err != nil {
				t.Fatal(err)
			}
			durable = c.index
			conflict, err := s.SnapshotInstalled(c.index, c.term)
			if conflict != c.conflict || !errors.Is(err, c.want) {
				t.Fatalf("%s: %v, %v", c.name, conflict, err)
			}
			for range 2 {
				// Also nothing is left in the cache of what was deleted.
				mustHold(t, s, c.first, c.last, term(2))
				s = reopen(t, s)
				// A crash may come right after: the start asks again.
				if again, err := s.SnapshotInstalled(c.index, c.term); again || !errors.Is(err, c.want) {
					t.Fatalf("%s, again: %v, %v", c.name, again, err)
				}
			}
			next := c.last + 1
			if c.last == 0 {
				next = c.index + 1
			}
			mustAppend(t, s, next, next+10, 9)
			if s.LastIndex() != next+10 {
				t.Errorf("%s: the log ends at %d after an append", c.name, s.LastIndex())
			}
		})
	}
}

// raft compacts the log after SnapshotInstalled emptied it, by what it remembers
// of it.
func TestCompactionOfAnEmptiedLog(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(0)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 60, 2)
		durable = 100
		if _, err := s.SnapshotInstalled(100, 3); err != nil {
			t.Fatal(err)
		}
		if err := s.Log().DeleteRange(0, 50); err != nil {
			t.Fatal(err)
		}
		mustHold(t, s, 0, 0, nil)
	})
}

func TestSnapshotMustBeDurable(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		o.Durable = func() uint64 { return 99 }
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 60, 2)
		if _, err := s.SnapshotInstalled(100, 3); err == nil {
			t.Fatal("the log was cut before the state machine was durable")
		}
		mustHold(t, s, 1, 60, term(2))
	})
}

func TestReset(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(59)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		mustAppend(t, s, 1, 60, 1)
		if err := s.Reset(); err == nil {
			t.Fatal("entry 60 was given up before it was durable")
		}
		mustHold(t, s, 1, 60, term(1))
		durable = 60
		if err := errors.Join(s.Reset(), s.Reset()); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
		mustHold(t, s, 0, 0, nil)
		mustAppend(t, s, 61, 65, 1)
		mustHold(t, reopen(t, s), 61, 65, term(1))
	})
}
