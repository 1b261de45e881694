package pebblestore_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tidemark/pebblestore/storetest"

	"tidemark/internal/crashfs"
)

// crashes is a file system that loses power, as far as its clones are concerned,
// at moments within its own writing operations.
type crashes struct {
	vfs.FS
	mem *crashfs.FS
	rng *rand.Rand

	mu     sync.Mutex
	every  int // writing operations from one crash to the next; 0 is never
	count  int
	clones []crashed
	note   func() any
}

// crashed is what a crash left, and what was noted at its moment.
type crashed struct {
	fs   *crashfs.FS
	note any
}

func newCrashes(seed uint64) *crashes {
	c := &crashes{mem: crashfs.New(), rng: rand.New(rand.NewPCG(seed, 2)), note: func() any { return nil }}
	c.FS = errorfs.Wrap(c.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			c.tick()
		}
		return nil
	}))
	return c
}

func (c *crashes) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.every == 0 {
		return
	}
	if c.count++; c.count%c.every == 0 {
		c.crashLocked()
	}
}

// crashLocked keeps what was synced and, two times in three, some of what was not.
func (c *crashes) crashLocked() {
	note := c.note()
	percent := []int{0, 30, 80}[c.rng.IntN(3)]
	c.clones = append(c.clones, crashed{c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng}), note})
}

func (c *crashes) setEvery(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.every = n
}

// TestCrashLeavesPrefix loses power at random moments, within flushes and
// compactions too. What is left is the state after some batch, with that batch's
// applied record, and no earlier than what was known to be durable.
func TestCrashLeavesPrefix(t *testing.T) {
	for seed := range uint64(3) {
		fs := newCrashes(seed)
		o := storetest.Options(t, fs)
		o.MemTableBytes = 16 << 10
		s := storetest.OpenAt(t, storetest.Dir, o)
		c := chance{rand.New(rand.NewPCG(seed, 3))}
		history := map[uint64]*model{0: newModel()}
		m := history[0]
		fs.note = func() any { return s.DurableIndex() }
		fs.setEvery(19 + int(seed))
		for range 150 {
			m = c.batch(t, s, m)
			history[m.applied.Index] = m
			if c.IntN(8) == 0 {
				if err := s.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		fs.setEvery(0)
		if len(fs.clones) < 20 {
			t.Errorf("seed %d: there were only %d crashes", seed, len(fs.clones))
		}
		reached := map[uint64]bool{}
		for _, crash := range fs.clones {
			index := afterCrash(t, crash.fs, history, crash.note.(uint64))
			reached[index] = true
		}
		if len(reached) < 5 {
			t.Errorf("seed %d: all crashes led to %d states; the test shows little", seed, len(reached))
		}
	}
}

// afterCrash opens what a crash left, and returns the index that it holds.
func afterCrash(t *testing.T, fs *crashfs.FS, history map[uint64]*model, durable uint64) uint64 {
	t.Helper()
	s := storetest.Open(t, fs)
	index := s.Applied().Index
	if index < durable {
		t.Errorf("index %d is left; %d was durable", index, durable)
	}
	m := history[index]
	if m == nil {
		t.Fatalf("index %d is left, at which no batch ended", index)
	}
	m.same(t, s)
	if s.DurableIndex() != index {
		t.Errorf("after opening, index %d is durable; want %d", s.DurableIndex(), index)
	}
	mustClose(t, s)
	return index
}

// TestOpenMakesDurable: what a process finds when it opens a store survives a
// crash right after, also if it was never synced before.
func TestOpenMakesDurable(t *testing.T) {
	fs := newCrashes(1)
	o := storetest.Options(t, fs)
	o.MemTableBytes = 64 << 10 // so that the first one is flushed when the second one comes
	s := storetest.OpenAt(t, storetest.Dir, o)
	commit(t, s, 1, draft("a", "m1", strings.Repeat("x", 100_000)))
	commit(t, s, 2, draft("a", "m2", strings.Repeat("x", 100_000)))
	if s.DurableIndex() != 0 {
		t.Fatalf("index %d is durable without a sync", s.DurableIndex())
	}
	// A process that dies leaves to the kernel what it wrote: all of that, unsynced.
	// Full blocks of the log are written in the background, which takes a moment.
	for deadline := time.Now().Add(10 * time.Second); ; {
		killed := fs.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: fs.rng})
		again := storetest.Open(t, killed)
		index := again.Applied().Index
		if index == 0 && time.Now().Before(deadline) {
			continue
		}
		if index == 0 || again.DurableIndex() != index {
			t.Fatalf("applied %d, durable %d; want the same, of the first batch at least", index, again.DurableIndex())
		}
		left := killed.CrashClone(vfs.CrashCloneCfg{})
		if after := storetest.Open(t, left); after.Applied().Index != index {
			t.Errorf("index %d is left of what Open called durable", after.Applied().Index)
		}
		return
	}
}

// TestSyncLosesNothing crashes right after each Sync, keeping only what was synced.
func TestSyncLosesNothing(t *testing.T) {
	fs := newCrashes(9)
	s := storetest.Open(t, fs)
	c := chance{rand.New(rand.NewPCG(9, 9))}
	m := newModel()
	for range 20 {
		m = c.batch(t, s, m)
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		clone := fs.mem.CrashClone(vfs.CrashCloneCfg{})
		if index := afterCrash(t, clone, map[uint64]*model{m.applied.Index: m}, m.applied.Index); index != m.applied.Index {
			t.Fatalf("index %d is left, want %d", index, m.applied.Index)
		}
	}
}

// TestCreateCrash loses power at every writing operation of the first Open. The
// next Open gives an empty store each time, and never takes it for a damaged one.
func TestCreateCrash(t *testing.T) {
	for seed := range uint64(5) {
		fs := newCrashes(seed)
		fs.setEvery(1)
		s := storetest.Open(t, fs)
		fs.setEvery(0)
		mustClose(t, s)
		if len(fs.clones) < 10 {
			t.Errorf("there were only %d crashes", len(fs.clones))
		}
		for _, crash := range fs.clones {
			afterCrash(t, crash.fs, map[uint64]*model{0: newModel()}, 0)
		}
	}
}

// TestInstallCrash loses power at every writing operation from the first byte of a
// snapshot to the end of its installation. What is left is the old state or the
// new one, whole; and nothing but it, once the store was opened.
func TestInstallCrash(t *testing.T) {
	c := chance{rand.New(rand.NewPCG(4, 4))}
	source := storetest.Open(t, nil)
	sent := newModel()
	for range 30 {
		sent = c.batch(t, source, sent)
	}
	fs := newCrashes(6)
	s := storetest.Open(t, fs)
	before := newModel()
	for range 10 {
		before = c.batch(t, s, before)
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if before.applied.Index == sent.applied.Index {
		t.Fatal("both stores have one index; choose other seeds")
	}
	fs.setEvery(1)
	installed := sent.clone()
	installed.applied = transfer(t, source, s)
	fs.setEvery(0)
	if installed.applied.InstalledIndex != sent.applied.Index {
		t.Errorf("installed index is %d, want %d", installed.applied.InstalledIndex, sent.applied.Index)
	}
	installed.same(t, s)

	history := map[uint64]*model{before.applied.Index: before, installed.applied.Index: installed}
	var left []uint64
	for _, crash := range fs.clones {
		left = append(left, afterCrash(t, crash.fs, history, 0))
		onlyOneGeneration(t, crash.fs)
	}
	old := slices.Index(left, installed.applied.Index)
	if old < 10 || slices.Contains(left[:old], installed.applied.Index) || !slices.Contains(left, before.applied.Index) {
		t.Errorf("the crashes led to %v", left)
	}
	afterCrash(t, fs.mem.CrashClone(vfs.CrashCloneCfg{}), map[uint64]*model{installed.applied.Index: installed}, 0)
}

func onlyOneGeneration(t *testing.T, fs vfs.FS) {
	t.Helper()
	names, err := fs.List(storetest.Dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	// That a snapshot was installed may be there to be seen yet.
	names = slices.DeleteFunc(names, func(name string) bool { return name == "PURGE" })
	if len(names) != 2 || names[0] != "CURRENT" || !strings.HasPrefix(names[1], "generation-") {
		t.Errorf("the store's directory holds %v", names)
	}
}
