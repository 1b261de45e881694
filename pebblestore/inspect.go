package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
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
// that never was. The same goes for a log that was removed.
//
// A lost end: what is left is a prefix, but of less than was known to be durable.
type finding struct {
	manifest *manifest
	// stops says where reading of a log stopped before its end, or is empty. That
	// is usual for the last log, after a crash.
	stops string
	// index is the applied index of the last batch in the logs; 0 if there is none.
	index uint64
}

// inspect looks at a database without changing it. It refuses one of an unknown
// format, one with a hole, and one whose logs end before the index durable.
func inspect(fsys vfs.FS, dir string, durable uint64) (*finding, error) {
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
	if f.manifest, err = readManifest(fsys, description.ManifestFilename); err != nil {
		return nil, err
	}
	if err := f.readLogs(fsys, dir); err != nil {
		return nil, f.suspect(err)
	}
	if f.index != 0 && f.index < durable {
		return nil, f.suspect(lostEnd(dir, f.index, durable))
	}
	return f, nil
}

func lostEnd(dir string, index, durable uint64) error {
	return fmt.Errorf("%w: %s holds index %d; it held index %d durably, and has lost its end", tidemark.ErrCorrupt, dir, index, durable)
}

// suspect names, beside an error, the files whose damage may explain it.
func (f *finding) suspect(err error) error {
	if err != nil && f.manifest.torn {
		err = fmt.Errorf("%w; %s ends in a damaged record", err, f.manifest.path)
	}
	if err != nil && f.stops != "" {
		err = fmt.Errorf("%w; %s", err, f.stops)
	}
	return err
}

// readLogs checks that the logs go on where the tables end. Two facts show it.
// The first log that the manifest needs is there, or else the first one that is
// there begins with the sequence number that the manifest ends with. And the
// sequence numbers of the batches in the logs have no gaps.
func (f *finding) readLogs(fsys vfs.FS, dir string) error {
	logs, err := wal.Scan(wal.Dir{FS: fsys, Dirname: dir})
	if err != nil {
		return fmt.Errorf("list logs of %s: %w", dir, err)
	}
	for len(logs) > 0 && uint64(logs[0].Num) < f.manifest.firstLog {
		logs = logs[1:]
	}
	if len(logs) == 0 {
		return nil
	}
	expected := f.manifest.nextSeq
	if uint64(logs[0].Num) == f.manifest.firstLog {
		expected = 0 // the begin of the first log is not noted anywhere
	} else if expected == 0 && f.manifest.torn {
		return fmt.Errorf("%w: log %s of %s is missing", tidemark.ErrCorrupt, wal.NumWAL(f.manifest.firstLog), dir)
	}
	for _, log := range logs {
		reader := log.OpenForRead()
		expected, err = f.walkLog(log, reader, expected)
		if err := errors.Join(err, reader.Close()); err != nil {
			return err
		}
	}
	return nil
}

// walkLog walks the batches of a log, the first of which has the sequence number
// expected, unless that is 0, and returns the one that comes next. Damage within
// the log is noted, and left to Pebble.
func (f *finding) walkLog(log wal.LogicalLog, reader wal.Reader, expected uint64) (next uint64, err error) {
	_, path := log.SegmentLocation(0)
	var batch bytes.Buffer
	for {
		record, offset, err := reader.NextRecord()
		if err == nil {
			batch.Reset()
			_, err = batch.ReadFrom(record)
		}
		if errors.Is(err, io.EOF) {
			return expected, nil
		}
		header, ok := batchrepr.ReadHeader(batch.Bytes())
		if err != nil || !ok {
			f.stops = fmt.Sprintf("%s cannot be read from byte %d on", path, offset.Physical)
			return expected, nil
		}
		seq := uint64(header.SeqNum)
		if expected != 0 && seq != expected {
			return 0, fmt.Errorf("%w: file %s goes on at sequence number %d; those from %d on are missing", tidemark.ErrCorrupt, path, seq, expected)
		}
		expected = seq + uint64(header.Count)
		f.noteIndex(batch.Bytes())
	}
}

// noteIndex notes the index of the applied record in a batch.
func (f *finding) noteIndex(batch []byte) {
	for ops := batchrepr.Read(batch); ; {
		_, key, value, ok, err := ops.Next()
		if err != nil || !ok {
			return
		}
		if bytes.Equal(key, keyApplied) && len(value) >= 9 {
			f.index = binary.BigEndian.Uint64(value[1:])
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
