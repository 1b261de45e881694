package logstore

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var kinds = []Kind{WAL, BoltDB}

// forKinds runs a test once for each kind of log.
func forKinds(t *testing.T, test func(t *testing.T, o Options)) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			test(t, testOptions(t, k))
		})
	}
}

// testOptions has small segments, so that a test meets many, and a state machine
// that has applied nothing. A fatal error fails the test.
func testOptions(t testing.TB, k Kind) Options {
	return Options{
		Kind:         k,
		Dir:          filepath.Join(t.TempDir(), "raft"),
		Durable:      func() uint64 { return 0 },
		SegmentBytes: 32 << 10,
		CacheEntries: 8,
		Fatal:        func(err error) { t.Errorf("unexpected fatal error: %v", err) },
	}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return mustOpen(t, s.log.o)
}

// testEntry is the entry with an index and a term; every field of it depends on
// both.
func testEntry(index, term uint64, size int) *raft.Log {
	r := rand.New(rand.NewPCG(index, term))
	l := &raft.Log{
		Index:      index,
		Term:       term,
		Type:       raft.LogType(r.IntN(6)),
		Data:       make([]byte, size),
		AppendedAt: time.Unix(1_700_000_000+int64(index), int64(r.IntN(1e9))),
	}
	for i := range l.Data {
		l.Data[i] = byte(r.Uint32())
	}
	if r.IntN(3) == 0 {
		l.Extensions = fmt.Appendf(nil, "extension %d", index)
	}
	return l
}

func sizeOf(index uint64) int { return int(index*37%300) + 1 }

func testEntries(from, to, term uint64) []*raft.Log {
	logs := []*raft.Log{}
	for i := from; i <= to; i++ {
		logs = append(logs, testEntry(i, term, sizeOf(i)))
	}
	return logs
}

// mustAppend stores entries in batches of several sizes.
func mustAppend(t testing.TB, s *Store, from, to, term uint64) {
	t.Helper()
	logs := testEntries(from, to, term)
	for n := 1; len(logs) > 0; n = n%7 + 1 {
		k := min(n, len(logs))
		if err := s.Log().StoreLogs(logs[:k]); err != nil {
			t.Fatalf("StoreLogs from %d: %v", logs[0].Index, err)
		}
		logs = logs[k:]
	}
}

// mustHold checks that the log is exactly the given entries.
func mustHold(t testing.TB, s *Store, from, to uint64, termOf func(index uint64) uint64) {
	t.Helper()
	if s.FirstIndex() != from || s.LastIndex() != to {
		t.Fatalf("log is %d to %d, want %d to %d", s.FirstIndex(), s.LastIndex(), from, to)
	}
	first, err1 := s.Log().FirstIndex()
	last, err2 := s.Log().LastIndex()
	if first != from || last != to || err1 != nil || err2 != nil {
		t.Fatalf("FirstIndex %d, %v; LastIndex %d, %v", first, err1, last, err2)
	}
	for _, i := range []uint64{0, from - 1, to + 1, to + 1000, math.MaxUint64} {
		if i >= from && i <= to && from != 0 {
			continue
		}
		if err := s.Log().GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Fatalf("GetLog(%d) of a log from %d to %d: %v", i, from, to, err)
		}
	}
	for i := uint64(1); from == 0 && i <= 100; i++ {
		if err := s.Log().GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Fatalf("GetLog(%d) of an empty log: %v", i, err)
		}
	}
	for i := from; i <= to && from != 0; i++ {
		mustGet(t, s, testEntry(i, termOf(i), sizeOf(i)))
	}
}

func mustGet(t testing.TB, s *Store, want *raft.Log) {
	t.Helper()
	var got raft.Log
	if err := s.Log().GetLog(want.Index, &got); err != nil {
		t.Fatalf("GetLog(%d): %v", want.Index, err)
	}
	if !sameEntry(&got, want) {
		t.Fatalf("GetLog(%d) = %+v, want %+v", want.Index, got, *want)
	}
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func term(n uint64) func(uint64) uint64 { return func(uint64) uint64 { return n } }

// copyDir copies a directory as it is, as a crash of the process leaves it.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// fatals collects what a store calls fatal, and goes on.
type fatals struct {
	mu   sync.Mutex
	errs []error
	came chan struct{}
}

func newFatals() *fatals { return &fatals{came: make(chan struct{}, 100)} }

func (f *fatals) hook(err error) {
	f.mu.Lock()
	f.errs = append(f.errs, err)
	f.mu.Unlock()
	f.came <- struct{}{}
}

func (f *fatals) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]error(nil), f.errs...)
}

// wait returns the first one.
func (f *fatals) wait(t testing.TB) error {
	t.Helper()
	select {
	case <-f.came:
	case <-time.After(10 * time.Second):
		t.Fatal("no fatal error came")
	}
	return f.all()[0]
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
