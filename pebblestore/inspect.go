package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"

	"tidemark"
)

// finding is what a look at the files of a database showed, before Pebble opened it.
//
// Pebble takes a damaged record of its manifest for the end that a loss of power
// left, and goes on with the state before it; of a log likewise, unless a later
// record says that this one was synced, which v2.1.7 says of some only. So two
// things must be seen without it.
//
// A hole: the lost record of the manifest was of a flush, so the log that the flush
// replaced is gone, but later logs are there. Replaying them would give a state
// that never was. The same goes for a log that was removed. Each batch in a log says
// which index came before it, so that each must follow on the tables or on another batch.
// Only former versions put messages into logs.
//
// A lost end: what is left is a prefix, but of less than was known to be durable.
type finding struct {
	// index is the applied index of the tables, and then of what follows on them in the logs.
	index uint64
	// torn is the path of the manifest if it ends within a record, or empty.
	torn string
	// stops says where reading of a log stopped before its end, or is empty. That
	// is usual for the last log, after a crash.
	stops string
}

// inspect looks at a database without changing it. It refuses one of an unknown
// format, one with a hole, and one that ends before the index durable.
func inspect(fsys vfs.FS, dir string, durable uint64, o *Options, e *events) (*finding, error) {
	description, err := pebble.Peek(dir, fsys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: directory %s is missing", tidemark.ErrCorrupt, dir)
	}
	if err != nil {
		return nil, openError(dir, err)
	}
	if !description.Exists {
		return nil, fmt.Errorf("%w: directory %s holds no database: its manifest is missing", tidemark.ErrCorrupt, dir)
	}
	f := &finding{}
	torn, err := isTorn(fsys, description.ManifestFilename)
	if err != nil {
		return nil, err
	}
	if torn {
		f.torn = description.ManifestFilename
	}
	if f.index, err = indexOfTables(fsys, dir, o, e); err != nil {
		return nil, f.suspect(err)
	}
	if err := f.readLogs(fsys, dir); err != nil {
		return nil, f.suspect(err)
	}
	if f.index < durable {
		return nil, f.suspect(fmt.Errorf("%w: %s holds index %d; it held index %d durably, and has lost its end", tidemark.ErrCorrupt, dir, f.index, durable))
	}
	return f, nil
}

// suspect names, beside an error, the files whose damage may explain it.
func (f *finding) suspect(err error) error {
	if err != nil && f.torn != "" {
		err = fmt.Errorf("%w; %s ends in a damaged record", err, f.torn)
	}
	if err != nil && f.stops != "" {
		err = fmt.Errorf("%w; %s", err, f.stops)
	}
	return err
}

// isTorn reads a manifest through, and reports whether it ends within a record.
func isTorn(fsys vfs.FS, path string) (bool, error) {
	file, err := fsys.Open(path)
	if err != nil {
		return false, openError(path, err)
	}
	defer file.Close()
	for reader := record.NewReader(file, 0); ; {
		edit, err := reader.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, edit)
		}
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case record.IsInvalidRecord(err):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// withoutLogs is a file system that does not list logs.
type withoutLogs struct{ vfs.FS }

func (w withoutLogs) List(dir string) ([]string, error) {
	names, err := w.FS.List(dir)
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, ".log") }), err
}

// indexOfTables opens the database to read it only, and without its logs. An empty
// one, in which all is in the logs still, has index 0.
func indexOfTables(fsys vfs.FS, dir string, o *Options, e *events) (uint64, error) {
	options := o.pebbleOptions(withoutLogs{fsys}, e)
	options.ReadOnly = true
	db, err := pebble.Open(dir, options)
	if err != nil {
		return 0, openError(dir, err)
	}
	defer db.Close()
	g := &generation{dir: dir, db: db}
	record, err := g.get(keyApplied)
	if err != nil || record == nil {
		return 0, err
	}
	applied, err := decodeApplied(record)
	return applied.Index, err
}

// readLogs walks the batches of all logs, which Pebble replays on top of the tables
// unless they are in them already.
func (f *finding) readLogs(fsys vfs.FS, dir string) error {
	logs, err := wal.Scan(wal.Dir{FS: fsys, Dirname: dir})
	if err != nil {
		return fmt.Errorf("list logs of %s: %w", dir, err)
	}
	for _, log := range logs {
		reader := log.OpenForRead()
		if err := errors.Join(f.readLog(log, reader), reader.Close()); err != nil {
			return err
		}
	}
	return nil
}

// readLog walks the batches of one log. Damage within it is noted, and left to Pebble.
func (f *finding) readLog(log wal.LogicalLog, reader wal.Reader) error {
	_, path := log.SegmentLocation(0)
	var batch bytes.Buffer
	for {
		record, offset, err := reader.NextRecord()
		if err == nil {
			batch.Reset()
			_, err = batch.ReadFrom(record)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			f.stops = fmt.Sprintf("%s cannot be read from byte %d on", path, offset.Physical)
			return nil
		}
		follows, index := indexesOf(batch.Bytes())
		if follows > f.index {
			return fmt.Errorf("%w: %s goes on after index %d, but what is before it ends at %d", tidemark.ErrCorrupt, path, follows, f.index)
		}
		f.index = max(f.index, index)
	}
}

// indexesOf returns the index that a batch says it follows on, and the one that it
// leads to; 0 for what it does not say.
func indexesOf(batch []byte) (follows, index uint64) {
	for ops := batchrepr.Read(batch); ; {
		kind, key, value, ok, err := ops.Next()
		switch {
		case err != nil || !ok:
			return follows, index
		case kind == pebble.InternalKeyKindLogData && len(key) == 8:
			follows = binary.BigEndian.Uint64(key)
		case bytes.Equal(key, keyApplied) && len(value) >= 9:
			index = binary.BigEndian.Uint64(value[1:])
		}
	}
}

// openError is for a database that was complete once: a file that is missing, or
// has another size than its manifest says, is damage. Pebble has no error values
// for the second, nor for a format that it does not know; tests hold its words.
func openError(dir string, err error) error {
	words := err.Error()
	err = fmt.Errorf("open database %s: %w", dir, err)
	switch {
	case strings.Contains(words, "unknown format major version"):
		return fmt.Errorf("%w: %w; this version of tidemark knows %d", tidemark.ErrNewerFormat, err, pebble.FormatNewest)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, pebble.ErrDBDoesNotExist), strings.Contains(words, "object size mismatch"):
		return fmt.Errorf("%w: %w", tidemark.ErrCorrupt, err)
	}
	return wrapPebble(err)
}
