package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// generation is one Pebble database. A store has one in force; installing a
// snapshot puts another in its place. Whoever reads holds it by readers, so that
// it is closed only after them.
type generation struct {
	number uint64
	dir    string
	fs     vfs.FS
	db     *pebble.DB
	// options are those of db.
	options *pebble.Options
	// compacted is told when a compaction has ended.
	compacted chan struct{}

	buffers
	ids *idFilter
	// loading is what fills ids.
	loading sync.WaitGroup

	// last is the last commit, and durable the last one that is known to be on
	// the disk, or nil. last never points to nil.
	last, durable atomic.Pointer[commit]
	// level is the feature level that the last commit left.
	level atomic.Uint32
	// readers is added to only under Store.mu while the generation is in force.
	readers sync.WaitGroup
}

// commit is what a batch left. Two may have one index but not one number, since
// recovery rewrites the membership without a new entry.
type commit struct {
	applied tidemark.Applied
	number  uint64
}

// createGeneration makes an empty database, complete and synced.
func createGeneration(fsys vfs.FS, dir string, o *Options, e *events) error {
	options := o.pebbleOptions(fsys, e)
	options.ErrorIfNotExists, options.ErrorIfExists = false, true
	db, err := pebble.Open(dir, options)
	if err != nil {
		return wrapPebble(fmt.Errorf("create database %s: %w", dir, err))
	}
	batch := db.NewBatch()
	err = errors.Join(
		batch.Set(keyFormat, binary.BigEndian.AppendUint32(nil, storeFormat), nil),
		batch.Set(keyNextNumber, binary.BigEndian.AppendUint64(nil, 1), nil),
		batch.Set(keyApplied, appendApplied(nil, &tidemark.Applied{}), nil),
	)
	if err == nil {
		err = e.guard("create database", func() error { return batch.Commit(pebble.Sync) })
	}
	return wrapPebble(errors.Join(err, batch.Close(), db.Close()))
}

// openGeneration opens a database that must be there, and must hold the index
// durable. What it holds when it was opened is durable.
func openGeneration(fsys vfs.FS, dir string, number, durable uint64, o *Options, e *events) (*generation, error) {
	found, err := inspect(fsys, dir, durable, o, e)
	if err != nil {
		return nil, err
	}
	failures := e.backgroundErrors.Load()
	g := &generation{number: number, dir: dir, fs: fsys, options: o.pebbleOptions(fsys, e), compacted: make(chan struct{}, 1)}
	g.options.EventListener.CompactionEnd = func(pebble.CompactionInfo) {
		select {
		case g.compacted <- struct{}{}:
		default:
		}
	}
	if g.db, err = pebble.Open(dir, g.options); err != nil {
		return nil, found.suspect(openError(dir, err))
	}
	format, applied, err := g.loadApplied()
	if err == nil && applied.Index != found.index {
		err = damaged(keyApplied, "index is %d in %s; its files led to %d", applied.Index, dir, found.index)
	}
	if err == nil {
		err = g.loadLevel()
	}
	if err != nil {
		return nil, errors.Join(found.suspect(err), g.db.Close())
	}
	if format < storeFormat {
		if err := g.migrate(format, e, o.logger()); err != nil {
			return nil, errors.Join(err, g.db.Close())
		}
	}
	g.last.Store(&commit{applied: applied})
	g.buffers.init(o, e)
	g.ids = newIDFilter(o.IDFilterBytes)
	g.loadIDs(e)
	go g.flushUntil()
	if e.backgroundErrors.Load() == failures {
		// Open replays the log into tables and waits until they are synced; with
		// no failure on the way, all that was read is on the disk.
		g.durable.Store(g.last.Load())
	}
	return g, nil
}

// loadApplied also reads the format.
func (g *generation) loadApplied() (format uint32, applied tidemark.Applied, err error) {
	record, err := g.get(keyFormat)
	if err != nil {
		return 0, applied, err
	}
	if len(record) != 4 || binary.BigEndian.Uint32(record) == 0 {
		return 0, applied, damaged(keyFormat, "record in %s is malformed or missing", g.dir)
	}
	if format = binary.BigEndian.Uint32(record); format > storeFormat {
		return 0, applied, fmt.Errorf("%w: database %s has store format %d; this version of tidemark knows %d", tidemark.ErrNewerFormat, g.dir, format, storeFormat)
	}
	if record, err = g.get(keyApplied); err != nil {
		return 0, applied, err
	}
	if record == nil {
		return 0, applied, damaged(keyApplied, "record is missing in %s", g.dir)
	}
	applied, err = decodeApplied(record)
	return format, applied, err
}

// get returns a copy of a value, or nil if there is none.
func (g *generation) get(key []byte) ([]byte, error) {
	value, closer, err := g.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, wrapPebble(fmt.Errorf("read %s: %w", describeKey(key), err))
	}
	defer closer.Close()
	return append([]byte{}, value...), nil
}

// sync makes durable what was committed before it was called.
func (g *generation) sync() error {
	last := g.last.Load()
	if g.durable.Load() == last {
		return nil
	}
	g.flushAll()
	if g.durable.Load() == nil {
		// What Open found in logs may be in memory only.
		if err := g.db.Flush(); err != nil {
			return wrapPebble(fmt.Errorf("sync store: %w", err))
		}
	}
	g.raiseDurable(last)
	return nil
}

func (g *generation) raiseDurable(to *commit) {
	for {
		known := g.durable.Load()
		if known != nil && known.number >= to.number || g.durable.CompareAndSwap(known, to) {
			return
		}
	}
}

func (g *generation) durableIndex() uint64 {
	if durable := g.durable.Load(); durable != nil {
		return durable.applied.Index
	}
	return 0
}
