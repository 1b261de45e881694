package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// Store holds timelines. All methods are safe for concurrent use, but there may
// be only one Batch at a time, and it is not to be shared by goroutines. After
// Close all methods that can fail return tidemark.ErrStopping.
type Store struct {
	dir     string
	fs      vfs.FS
	closeFS io.Closer
	options Options
	log     *slog.Logger
	events  events

	// mu guards which generation is in force, and closed.
	mu     sync.RWMutex
	gen    *generation
	closed bool

	// writing is held by whoever commits, takes a checkpoint or swaps: a
	// checkpoint holds exactly the applied record that was read under it.
	writing sync.Mutex
	// inForce is what CURRENT says, under currentMu.
	currentMu sync.Mutex
	inForce   current
	// batchOpen is true from NewBatch to Commit or Discard.
	batchOpen atomic.Bool
	// gathered is the memory of batches, used by the one at a time.
	gathered *gathered
	// heads and sent are used by the one batch and by Install, which excludes it.
	heads recent[tidemark.TimelineID, tidemark.Head]
	sent  recent[placeKey, uint64]

	// lastNumber is that of the last generation or checkpoint directory.
	lastNumber    atomic.Uint64
	openSnapshots atomic.Int64

	purger purger
	pinner pinner
}

// Open opens the store in dir, and creates it if dir holds none. A store of a
// newer format is refused (tidemark.ErrNewerFormat) and not changed; a damaged
// one is refused (tidemark.ErrCorrupt) with the damaged file's name, as far as
// damage shows without reading everything: Check does that. What unfinished
// receives and snapshots left behind is removed. Only one process may have a
// store open.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, options: o, fs: o.FS, log: o.logger()}
	s.events.options, s.events.log = &s.options, s.log
	if s.fs == nil {
		s.fs, s.closeFS = vfs.WithDiskHealthChecks(vfs.Default, diskSlowAfter, nil, s.events.slow)
	}
	s.fs = orderedMarkers{s.fs}
	s.gathered = newGathered()
	s.heads.limit, s.sent.limit = o.HeadCacheEntries, o.HeadCacheEntries
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), s.releaseFS())
	}
	return s, nil
}

func (s *Store) open() error {
	c, err := s.ensureCurrent()
	if err != nil {
		return err
	}
	s.inForce = c
	s.gen, err = openGeneration(s.fs, s.fs.PathJoin(s.dir, generationName(c.generation)), c.generation, c.durable, &s.options, &s.events)
	if err != nil {
		return err
	}
	if c.format != storeFormat {
		// So that an older version refuses the store at its first line.
		s.inForce.format = storeFormat
		if _, err := writeCurrent(s.fs, s.dir, s.inForce); err != nil {
			return errors.Join(err, s.gen.closeDatabase())
		}
	}
	if err := s.removeLeftovers(); err != nil {
		return errors.Join(err, s.gen.closeDatabase())
	}
	if err := s.startPurging(); err != nil {
		return errors.Join(err, s.gen.closeDatabase())
	}
	applied := s.Applied()
	s.log.Info("opened store", "dir", s.dir, "generation", c.generation, "applied_index", applied.Index, "term", applied.Term)
	return nil
}

// ensureCurrent returns what CURRENT says, after it created the store if there is none.
func (s *Store) ensureCurrent() (current, error) {
	names, err := s.fs.List(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return current{}, err
	}
	c, found, err := readCurrent(s.fs, s.dir)
	if err != nil || (found && !c.creating) {
		return c, err
	}
	if !found {
		for _, name := range names {
			if _, ok := parseNumbered(name, generationPrefix); ok {
				return current{}, fmt.Errorf("%w: %s is missing beside %s", tidemark.ErrCorrupt, s.fs.PathJoin(s.dir, currentName), name)
			}
		}
	}
	return s.create()
}

// create makes the first generation. It may run again after a crash in it.
func (s *Store) create() (current, error) {
	if err := makeDirs(s.fs, s.dir); err != nil {
		return current{}, err
	}
	c := current{format: storeFormat, generation: 1, creating: true}
	if _, err := writeCurrent(s.fs, s.dir, c); err != nil {
		return current{}, err
	}
	dir := s.fs.PathJoin(s.dir, generationName(c.generation))
	if err := s.fs.RemoveAll(dir); err != nil {
		return current{}, err
	}
	if err := createGeneration(s.fs, dir, &s.options, &s.events); err != nil {
		return current{}, err
	}
	c.creating = false
	_, err := writeCurrent(s.fs, s.dir, c)
	return c, err
}

// removeLeftovers removes what no one uses: generations that were never
// installed or were replaced, and checkpoints of snapshots that were open.
func (s *Store) removeLeftovers() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	s.lastNumber.Store(s.gen.number)
	for _, name := range names {
		n, isGeneration := parseNumbered(name, generationPrefix)
		_, isCheckpoint := parseNumbered(name, checkpointPrefix)
		if isGeneration && n == s.gen.number || !isGeneration && !isCheckpoint && name != currentTmpName {
			continue
		}
		path := s.fs.PathJoin(s.dir, name)
		s.log.Info("removing what an earlier process left unfinished", "path", path)
		if err := s.fs.RemoveAll(path); err != nil {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return nil
}

// Close waits for reads to end and closes the store. What was committed and not
// synced is synced. It must not be called while a batch is open.
func (s *Store) Close() error {
	if s.batchOpen.Load() {
		return fmt.Errorf("close store %s: a batch is open", s.dir)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stopPurging()
	s.endPin()
	s.gen.readers.Wait()
	err := errors.Join(s.sync(s.gen), s.gen.closeDatabase(), s.releaseFS())
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, err)
	}
	return nil
}

func (s *Store) releaseFS() error {
	if s.closeFS == nil {
		return nil
	}
	return s.closeFS.Close()
}

// acquire returns the generation in force, which stays open until release.
func (s *Store) acquire() (*generation, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, fmt.Errorf("%w: store %s is closed", tidemark.ErrStopping, s.dir)
	}
	s.gen.readers.Add(1)
	return s.gen, nil
}

func (g *generation) release() { g.readers.Done() }

// present returns the generation in force without holding it: for its counters only.
func (s *Store) present() *generation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.gen
}

// Applied is that of the last committed batch. Its Membership is not to be changed.
func (s *Store) Applied() tidemark.Applied { return s.present().last.Load().applied }

// Sync makes everything that was committed before it was called survive a loss
// of power. It costs one synced record of the log, and one replacement of CURRENT.
func (s *Store) Sync() error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	return s.sync(g)
}

func (s *Store) sync(g *generation) error {
	if err := g.sync(); err != nil {
		return err
	}
	return s.noteDurable(g)
}

// noteDurable raises the durable index of CURRENT, if g is still in force.
func (s *Store) noteDurable(g *generation) error {
	s.currentMu.Lock()
	defer s.currentMu.Unlock()
	c := s.inForce
	c.durable = g.durableIndex()
	if c.generation != g.number || c.durable <= s.inForce.durable {
		return nil
	}
	if _, err := writeCurrent(s.fs, s.dir, c); err != nil {
		return fmt.Errorf("sync store: %w", err)
	}
	s.inForce = c
	return nil
}

// DurableIndex is the applied index that is known to survive a loss of power. It
// is at most that of Applied, and falls only when a snapshot of an earlier index
// is installed.
func (s *Store) DurableIndex() uint64 { return s.present().durableIndex() }
