package logstore

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/internal/planted"
)

// log is the raft.LogStore: the backend with trailers, the mark, the cache and
// fail-stop. FirstIndex and LastIndex are kept in memory.
//
// It does not implement raft.MonotonicLogStore, although raft-wal does: raft
// would then delete all of the log after it installed a snapshot, also entries
// beyond the snapshot that this node has acknowledged. SnapshotInstalled does
// what such a store needs instead.
type log struct {
	o     Options
	inner backend
	mark  *mark
	stop  *failStop
	cache *cache
	// changed tells the syncer of the mark that there is something to do.
	changed chan struct{}

	// write is held by everything but reads and prefix deletions.
	write sync.Mutex
	// prune is held by deletions; it comes before write.
	prune sync.Mutex
	// mu guards what follows. first and last are 0 for an empty log; sum is that
	// of last.
	mu          sync.RWMutex
	first, last uint64
	sum         uint32

	// unsynced is what storeUnsynced has stored and not synced yet, or nil.
	unsynced atomic.Pointer[unsynced]
}

var _ raft.LogStore = (*log)(nil)

func (g *log) bounds() (first, last uint64) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.first, g.last
}

func (g *log) FirstIndex() (uint64, error) {
	first, _ := g.bounds()
	return first, g.stop.failed()
}

func (g *log) LastIndex() (uint64, error) {
	_, last := g.bounds()
	return last, g.stop.failed()
}

func (g *log) GetLog(index uint64, out *raft.Log) error {
	if err := g.stop.failed(); err != nil {
		return err
	}
	if g.cache.get(index, out) {
		return nil
	}
	if !g.holds(index) {
		return raft.ErrLogNotFound
	}
	return g.stop.run(fmt.Sprintf("read entry %d", index), g.o.logPath(), func() error {
		_, err := g.read(index, out)
		return err
	})
}

func (g *log) holds(index uint64) bool {
	first, last := g.bounds()
	return first != 0 && index >= first && index <= last
}

// read reads an entry that the log holds from the disk and checks it.
func (g *log) read(index uint64, out *raft.Log) (trailer, error) {
	var l raft.Log
	err := g.inner.GetLog(index, &l)
	if !g.holds(index) {
		return trailer{}, raft.ErrLogNotFound // deleted meanwhile
	}
	if err != nil {
		// ErrLogNotFound too: the entry must be there.
		return trailer{}, corrupt(g.inner.fileOf(index), "entry %d: %v", index, err)
	}
	t, ok := unseal(&l)
	if !ok || l.Index != index {
		return trailer{}, corrupt(g.inner.fileOf(index), "entry %d: checksum is wrong", index)
	}
	*out = l
	return t, nil
}

func (g *log) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

func (g *log) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return g.stop.failed()
	}
	g.write.Lock()
	defer g.write.Unlock()
	from, to := logs[0].Index, logs[len(logs)-1].Index
	start := time.Now()
	err := g.stop.run(fmt.Sprintf("append entries %d to %d", from, to), g.o.logPath(), func() error {
		return g.store(logs, g.raise)
	})
	if err != nil {
		return err
	}
	g.cache.add(logs)
	g.tellAppended(logs, start)
	return nil
}

func (g *log) tellAppended(logs []*raft.Log, start time.Time) {
	if g.o.OnAppend == nil {
		return
	}
	bytes := 0
	for _, l := range logs {
		bytes += len(l.Data)
	}
	g.o.OnAppend(len(logs), bytes, time.Since(start))
}

// store appends, and then has raise called with what the log holds. The mark's write is not
// synced: the syncer does that soon, and the next append is a witness of this one.
func (g *log) store(logs []*raft.Log, raise func(first, last uint64, sum uint32) error) error {
	g.mu.RLock()
	first, last, sum := g.first, g.last, g.sum
	g.mu.RUnlock()
	next := last + 1
	if last == 0 {
		next = logs[0].Index
	}
	for _, l := range logs {
		if l.Index != next || next == 0 {
			return fmt.Errorf("entry %d cannot follow entry %d", l.Index, next-1)
		}
		next++
	}
	synced := last
	if planted.Is(planted.EarlyAck) {
		synced = 0
	}
	sealed, sum := seal(logs, sum, synced)
	if err := g.inner.StoreLogs(sealed); err != nil {
		return err
	}
	if first == 0 {
		first = logs[0].Index
	}
	last = logs[len(logs)-1].Index
	if !planted.Is(planted.EarlyAck) {
		if err := raise(first, last, sum); err != nil {
			return err
		}
	}
	g.mu.Lock()
	if g.last == 0 {
		g.first = first
	}
	g.last, g.sum = last, sum
	g.mu.Unlock()
	if planted.Is(planted.EarlyAck) {
		g.change()
	}
	return nil
}

// raise notes in the mark, unsynced, what the log holds.
func (g *log) raise(first, last uint64, sum uint32) error {
	err := g.mark.raise(func(b *bounds) {
		if b.last == 0 {
			b.first = first
		}
		b.last, b.sum = last, sum
	})
	g.change()
	return err
}

// change tells syncMark.
func (g *log) change() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// syncMark makes the mark durable some time after appends, until stopped.
func (g *log) syncMark(stop <-chan struct{}) {
	interval := g.o.MarkInterval
	if planted.Is(planted.EarlyAck) {
		interval = lateSyncInterval
	}
	for {
		select {
		case <-stop:
			return
		case <-g.changed:
		}
		wait := time.NewTimer(interval)
		select {
		case <-stop:
			wait.Stop()
			return
		case <-wait.C:
		}
		if planted.Is(planted.EarlyAck) && g.stop.run("sync", g.o.logPath(), g.syncLate) != nil {
			return
		}
		if g.stop.run("sync", g.mark.path, g.mark.sync) != nil {
			return
		}
	}
}
