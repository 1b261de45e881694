package logstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/internal/planted"
)

// unsynced are the entries from an index on, which readers see, and which may not survive a
// loss of power.
type unsynced struct {
	from uint64
	// done is closed when they are durable, or will not be.
	done chan struct{}
}

// storeUnsynced is Store.StoreUnsynced. It keeps write until the entries are synced, so that
// nothing is written behind them before.
func (g *log) storeUnsynced(logs []*raft.Log) error {
	inner, ok := g.inner.(*walBackend)
	if !ok || len(logs) == 0 || planted.Is(planted.EarlyAck) {
		return g.StoreLogs(logs)
	}
	g.write.Lock()
	start := time.Now()
	from, to := logs[0].Index, logs[len(logs)-1].Index
	var raise func() error
	err := g.stop.run(fmt.Sprintf("write entries %d to %d", from, to), g.o.logPath(), func() error {
		inner.files.late.Store(true)
		defer inner.files.late.Store(false)
		return g.store(logs, func(first, last uint64, sum uint32) error {
			raise = func() error { return g.raise(first, last, sum) }
			return nil
		})
	})
	if err != nil {
		g.write.Unlock()
		return err
	}
	g.cache.add(logs)
	u := &unsynced{from, make(chan struct{})}
	g.unsynced.Store(u)
	go func() {
		defer g.write.Unlock()
		defer close(u.done)
		err := g.stop.run(fmt.Sprintf("sync entries %d to %d", from, to), g.o.logPath(), func() error {
			if err := inner.files.flush(); err != nil {
				return err
			}
			return raise()
		})
		if err != nil {
			return // they stay unsynced for good
		}
		g.unsynced.Store(nil)
		g.tellAppended(logs, start)
	}()
	return nil
}

// awaitSynced is Store.AwaitSynced.
func (g *log) awaitSynced(index uint64) error {
	var before *unsynced
	for {
		u := g.unsynced.Load()
		switch {
		case u == nil || index < u.from:
			return nil
		case u == before: // it ended without a sync
			return errors.Join(errClosed, g.stop.failed())
		}
		<-u.done
		before = u
	}
}

// syncedUpTo is Store.Synced.
func (g *log) syncedUpTo(index uint64) uint64 {
	if u := g.unsynced.Load(); u != nil {
		return min(index, u.from-1)
	}
	return index
}

// awaitWrite waits for what is under way.
func (g *log) awaitWrite() {
	g.write.Lock()
	defer g.write.Unlock()
}
