package logstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

const stableName = "stable.db"

// Open opens or makes the store in o.Dir. It reads and checks every entry before
// a library touches the files. Damage is a tidemark.ErrCorrupt that names the
// file and changes nothing; the other kind of log is an ErrOtherKind; a newer
// format is a tidemark.ErrNewerFormat; a full disk a tidemark.ErrDiskFull.
//
// The directory must not be in use by another process.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("open raft log: %w", translate(err))
	}
	return s, nil
}

func open(o Options) (*Store, error) {
	path := filepath.Join(o.Dir, markName)
	s, there, err := find(o, path)
	if err != nil {
		return nil, err
	}
	if !there {
		if s, err = prepare(o, path); err != nil {
			return nil, err
		}
	}
	return openChecked(o, path, s)
}

// find reads the mark, and reports whether a store was ever completely made. It
// changes nothing.
func find(o Options, path string) (s slot, there bool, err error) {
	s, err = readMark(path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing:
		err = refuseLeftovers(o, path)
	case err == nil && s.kind != o.Kind:
		err = fmt.Errorf("%w: %s holds a log of kind %s, but %s is configured;"+
			" configure %s, or rebuild the node with the other kind from the others", ErrOtherKind, o.Dir, s.kind, o.Kind, s.kind)
	}
	if err != nil {
		return s, false, err
	}
	there = !missing && !s.making
	if !there && o.MustExist {
		return s, false, corrupt(o.Dir, "this node had a log, and there is none")
	}
	return s, there, nil
}

// refuseLeftovers finds out whether the mark alone is missing.
func refuseLeftovers(o Options, path string) error {
	for _, name := range []string{logName(WAL), logName(BoltDB), stableName} {
		switch there, err := exists(filepath.Join(o.Dir, name)); {
		case err != nil:
			return err
		case there:
			return corrupt(path, "the file is missing, but %s is there", name)
		}
	}
	return nil
}

// prepare makes a new directory with a mark that says so: until it says
// otherwise nothing was stored, and what is there can be made anew.
func prepare(o Options, path string) (slot, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return slot{}, err
	}
	if err := syncDir(filepath.Dir(o.Dir)); err != nil {
		return slot{}, err
	}
	if err := createMark(path, slot{kind: o.Kind, making: true}); err != nil {
		return slot{}, err
	}
	for _, name := range []string{logName(WAL), logName(BoltDB), stableName} {
		if err := os.RemoveAll(filepath.Join(o.Dir, name)); err != nil {
			return slot{}, err
		}
	}
	if o.Kind == WAL {
		if err := os.Mkdir(o.logPath(), 0o700); err != nil {
			return slot{}, err
		}
	}
	if err := syncDir(o.Dir); err != nil {
		return slot{}, err
	}
	return readMark(path)
}

// checked is what the scans before the opening found.
type checked struct {
	log    chain
	tail   walTail
	values map[string]stableValue
}

// check reads everything and changes nothing. The visitor, if not nil, is called for
// each entry as it was appended, also for those of a torn end that does not count.
func check(o Options, s slot, visit func(*raft.Log)) (checked, error) {
	c := checked{log: chain{want: s.bounds, visit: visit}, values: map[string]stableValue{}}
	if s.making {
		return c, nil
	}
	stablePath := filepath.Join(o.Dir, stableName)
	for _, path := range []string{o.logPath(), stablePath} {
		if there, err := exists(path); err != nil {
			return c, err
		} else if !there {
			return c, corrupt(path, "it is missing")
		}
	}
	var err error
	if o.Kind == WAL {
		c.tail, err = scanWAL(o.logPath(), &c.log)
	} else {
		err = scanBolt(o.logPath(), &c.log)
	}
	if err != nil {
		return c, missingIsCorrupt(err)
	}
	if err := c.log.complete(); err != nil {
		return c, corrupt(o.logPath(), "%v", err)
	}
	c.values, err = scanStable(stablePath, s.stable)
	return c, err
}

func missingIsCorrupt(err error) error {
	var p *fs.PathError
	if errors.Is(err, fs.ErrNotExist) && errors.As(err, &p) {
		return corrupt(p.Path, "it is missing")
	}
	return err
}

func openChecked(o Options, path string, s slot) (_ *Store, err error) {
	c, err := check(o, s, nil)
	if err != nil {
		return nil, err
	}
	var undo []func() error
	defer func() {
		if err != nil {
			for _, f := range undo {
				err = errors.Join(err, f())
			}
		}
	}()
	stop := &failStop{slow: o.SlowCall, fatal: o.Fatal}
	g := &log{
		o: o, stop: stop, cache: newCache(o.CacheEntries, o.CacheBytes), changed: make(chan struct{}, 1),
		first: c.log.first, last: c.log.last, sum: c.log.sum,
	}
	// The stable store first: it gives up when another process holds it, while
	// raft-wal would wait for ever.
	stablePath := filepath.Join(o.Dir, stableName)
	db, err := openBoltStore(stablePath)
	if err != nil {
		return nil, err
	}
	undo = append(undo, db.Close)
	if g.inner, err = openBackend(o, c, stop); err != nil {
		return nil, err
	}
	undo = append(undo, g.inner.Close)
	if err := agree(o, g.inner, c.log); err != nil {
		return nil, err
	}
	if err := settle(o); err != nil {
		return nil, err
	}
	m, err := openMark(path, s)
	if err != nil {
		return nil, err
	}
	undo = append(undo, m.close)
	g.mark = m
	st := newStable(stablePath, db, c.values, m, stop, o.OnStableWrite)
	if err := m.finish(bounds{first: g.first, last: g.last, sum: g.sum, stable: st.seq}); err != nil {
		return nil, err
	}
	store := &Store{log: g, stable: st, mark: m, stopSync: make(chan struct{}), synced: make(chan struct{})}
	go func() {
		defer close(store.synced)
		g.syncMark(store.stopSync)
	}()
	return store, nil
}

// openBackend lets the library open the log that was checked.
func openBackend(o Options, c checked, stop *failStop) (b backend, err error) {
	if err := guarded(func() error {
		if o.Kind == WAL {
			b, err = openWAL(o.logPath(), o.SegmentBytes, c.tail, o.Logger, func(err error) {
				_ = stop.fail(fmt.Errorf("raft log: %s: %w", o.logPath(), err))
			})
		} else {
			b, err = openBolt(o.logPath())
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("%s: %w", o.logPath(), err)
	}
	return b, nil
}

// agree compares what the library opened with what was checked.
func agree(o Options, b backend, c chain) error {
	first, err := b.FirstIndex()
	if err != nil {
		return err
	}
	last, err := b.LastIndex()
	if err != nil {
		return err
	}
	if first != c.first || last != c.last {
		return corrupt(o.logPath(), "entries %d to %d were checked, but %d to %d were opened", c.first, c.last, first, last)
	}
	return nil
}
