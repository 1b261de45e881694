package pebblestore

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// manifest is what must be known of a manifest of Pebble to tell whether the logs
// go on where its tables end. A manifest is a log of edits, of which only the
// scalar fields that stand first are read.
type manifest struct {
	path string
	// firstLog is the number of the first log that is not in tables yet.
	firstLog uint64
	// nextSeq is the sequence number after those that were given when firstLog
	// was set, or 0 if it is not known.
	nextSeq uint64
	// torn says that it does not end at the end of a record.
	torn bool
}

// Tags of the scalar fields that begin a record of a manifest, as in LevelDB.
const (
	tagComparator   = 1
	tagLogNumber    = 2
	tagNextFile     = 3
	tagLastSequence = 4
	tagPrevLog      = 9
)

// firstSequence is the first sequence number that Pebble gives out.
const firstSequence = 10

func readManifest(fsys vfs.FS, path string) (*manifest, error) {
	file, err := fsys.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	defer file.Close()
	m := &manifest{path: path}
	for reader := record.NewReader(file, 0); ; {
		next, err := reader.Next()
		var edit []byte
		if err == nil {
			edit, err = io.ReadAll(next)
		}
		switch {
		case errors.Is(err, io.EOF):
			return m, nil
		case record.IsInvalidRecord(err):
			m.torn = true
			return m, nil
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		m.note(edit)
	}
}

// note reads the scalar fields at the begin of a record. Those that belong
// together are written together, but for the record that begins a manifest.
func (m *manifest) note(edit []byte) {
	d := decoder{rest: edit}
	var log, last uint64
	begins := false
	for !d.bad && len(d.rest) > 0 {
		switch tag := d.uvarint(); tag {
		case tagComparator:
			d.text()
			begins = true
		case tagLogNumber:
			log = d.uvarint()
		case tagLastSequence:
			last = d.uvarint()
		case tagNextFile, tagPrevLog:
			d.uvarint()
		default:
			d.rest = nil
		}
	}
	if log == 0 {
		return
	}
	m.firstLog, m.nextSeq = log, 0
	if last != 0 && !begins {
		m.nextSeq = max(last+1, firstSequence)
	}
}
