package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark/internal/planted"
)

// What batches commit goes to the active buffer of the generation. When that is full it is
// flushed: its whole content, with the applied record of its last commit, becomes one table that
// the database takes over, past its own log and memtable. So the database is at every moment the state
// behind some entry of the log, and after a crash the log is applied again from there.

// flushName is the table that is being written, in the directory of the generation. Pebble takes it for
// none of its own; what a crash leaves of it is overwritten.
const flushName = "flush"

// buffers are those of a generation.
type buffers struct {
	// mu guards what follows, and that a view sees a buffer or its flushed content.
	mu sync.Mutex
	// active gets what is committed, and flushing is on its way into the database, or nil.
	active, flushing *buffer
	// frozen is a copy of active for views, or nil if that was changed since.
	frozen *buffer
	// drained is told when flushing became nil.
	drained *sync.Cond
	// limit is how many bytes active may have, and trimDelay how long it may keep spans; 0 is for ever.
	limit     int
	trimDelay time.Duration
	events    *events

	// flush is held by whoever flushes.
	flush sync.Mutex
	// wake has what was rotated flushed, due rotates what has spans, and stop ends both, which done tells.
	wake chan struct{}
	due  *time.Timer
	stop chan struct{}
	done chan struct{}
}

func (b *buffers) init(o *Options, e *events) {
	b.events = e
	b.active, b.limit, b.trimDelay = newBuffer(), int(o.MemTableBytes), o.TrimFlushDelay
	b.due = time.NewTimer(math.MaxInt64)
	b.drained = sync.NewCond(&b.mu)
	b.wake, b.stop, b.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// layered returns what hides the database now, the newest first. The caller holds mu.
func (b *buffers) layered() []*buffer {
	var list []*buffer
	if !b.active.empty() {
		if b.frozen == nil {
			b.frozen = b.active.freeze()
		}
		list = append(list, b.frozen)
	}
	if b.flushing != nil {
		list = append(list, b.flushing)
	}
	return list
}

// iterate returns an iterator over the state of now.
func (g *generation) iterate() (*iterator, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return layers{g.layered(), g.db}.iterate()
}

// iterateLive is iterate for the writer: nothing changes while it has a batch open, so
// that it needs no copy of the active buffer.
func (g *generation) iterateLive() (*iterator, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*buffer, 0, 2)
	if !g.active.empty() {
		list = append(list, g.active)
	}
	if g.flushing != nil {
		list = append(list, g.flushing)
	}
	return layers{list, g.db}.iterate()
}

// commit makes writes visible, and waits first for a flush if the buffer is full.
func (g *generation) commit(w *writes) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.active.empty() && g.active.bytes >= g.limit {
		if g.flushing == nil {
			g.rotate()
			g.wakeFlush()
			break
		}
		g.stall()
	}
	spans := g.active.spans.Len()
	g.active.apply(w)
	g.frozen = nil
	if spans == 0 && g.active.spans.Len() > 0 && g.trimDelay > 0 {
		g.due.Reset(g.trimDelay)
	}
}

// stall waits for a flush to end. The caller holds mu.
func (b *buffers) stall() {
	began := time.Now()
	b.events.writeStalls.Add(1)
	b.drained.Wait()
	b.events.stalledNanos.Add(int64(time.Since(began)))
}

// rotate makes the active buffer the one that is flushed. The caller holds mu, and there is
// no other one.
func (b *buffers) rotate() {
	b.flushing, b.active, b.frozen = b.active, newBuffer(), nil
	b.flushing.heads = nil
}

// rotateSpans rotates the active buffer if it has spans: the space of what was trimmed
// comes back by compactions, which are of tables only.
func (b *buffers) rotateSpans() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.active.spans.Len() == 0:
	case b.flushing != nil:
		b.due.Reset(b.trimDelay)
	default:
		b.rotate()
	}
}

func (b *buffers) wakeFlush() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// flushUntil flushes what was rotated, until the generation is closed.
func (g *generation) flushUntil() {
	defer close(g.done)
	for {
		select {
		case <-g.stop:
			return
		case <-g.wake:
		case <-g.due.C:
			g.rotateSpans()
		}
		g.flushRotated()
	}
}

// flushAll puts everything that was committed before the call into the database.
func (g *generation) flushAll() {
	// At most two: one that is on its way, and the active one.
	for range 2 {
		g.mu.Lock()
		if g.flushing == nil && !g.active.empty() {
			g.rotate()
		}
		waiting := g.flushing != nil
		g.mu.Unlock()
		if !waiting {
			return
		}
		g.flushRotated()
	}
}

// flushRotated puts the rotated buffer into the database, if there still is one. If that fails
// the process ends: the writer waits for it, and nothing that follows may be written before it.
func (g *generation) flushRotated() {
	g.flush.Lock()
	defer g.flush.Unlock()
	g.mu.Lock()
	b := g.flushing
	g.mu.Unlock()
	if b == nil {
		return
	}
	if err := g.events.guard("flush", func() error { return g.write(b) }); err != nil {
		g.events.fatal(fmt.Sprintf("flush: %v", wrapFull(err)))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flushing = nil
	g.drained.Broadcast()
}

// bufferedBytes is what waits in memory.
func (b *buffers) bufferedBytes() (bytes uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes = uint64(b.active.bytes)
	if b.flushing != nil {
		bytes += uint64(b.flushing.bytes)
	}
	return bytes
}

// write puts a buffer into the database, all of it or nothing. It is on the disk afterwards.
func (g *generation) write(b *buffer) error {
	if planted.Is(planted.AppliedOutsideBatch) {
		// Before the rest, and synced: a crash between the two leaves an index whose data is missing.
		record, _ := b.find(keyApplied)
		if err := g.db.Set(keyApplied, record, pebble.Sync); err != nil {
			return err
		}
	}
	g.awaitCompactions()
	path := g.fs.PathJoin(g.dir, flushName)
	if err := g.writeTable(path, b); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return g.db.Ingest(context.Background(), []string{path})
}

// awaitCompactions waits while there are too many fresh tables, until some were merged.
func (g *generation) awaitCompactions() {
	for g.db.Metrics().Levels[0].Sublevels >= l0StopThreshold {
		select {
		case <-g.compacted:
		case <-g.stop:
			return
		}
	}
}

// writeTable makes a table of a buffer, and syncs it. All keys of a table that the database takes over
// are of one moment, in which a span does not hide a key of its own table.
func (g *generation) writeTable(path string, b *buffer) (err error) {
	file, err := g.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: g.options.BytesPerSync})
	out := sstable.NewWriter(objstorageprovider.NewFileWritable(file), g.options.MakeWriterOptions(0, g.db.TableFormat()))
	defer func() { err = errors.Join(err, out.Close()) }()
	b.spans.Scan(func(s span) bool {
		err = out.DeleteRange(s.start, s.end)
		return err == nil
	})
	if err != nil {
		return err
	}
	b.entries.Scan(func(e entry) bool {
		if value := e.value(); value == nil {
			err = out.Delete(e.key())
		} else {
			err = out.Set(e.key(), value)
		}
		return err == nil
	})
	return err
}

// closeDatabase ends the background flush and closes the database. What was not flushed is lost.
func (g *generation) closeDatabase() error {
	close(g.stop)
	<-g.done
	g.loading.Wait()
	return wrapPebble(g.db.Close())
}
