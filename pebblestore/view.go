package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"tidemark"
)

// view is one consistent state of a generation. All that is read through it comes
// from one iterator, and so from the same moment, the applied record included.
// It is not safe for concurrent use, and is to be closed soon: it keeps tables and
// memtables from being released.
type view struct {
	gen  *generation
	iter *iterator
	key  []byte // scratch
	// piece is memory for copies of records, and ahead how many more records of about one size
	// are to be expected.
	piece []byte
	ahead int
	// sources resolves references, as of the same moment; nil until there is one.
	sources *sources
}

// openView takes over one hold of g, which close releases.
func openView(g *generation, iterate func() (*iterator, error)) (*view, error) {
	iter, err := iterate()
	if err != nil {
		g.release()
		return nil, err
	}
	return &view{gen: g, iter: iter}, nil
}

func (s *Store) view() (*view, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	return openView(g, g.iterate)
}

func (v *view) close() {
	// Its error is that of the last positioning, which was reported then.
	_ = v.iter.close()
	if v.sources != nil {
		_ = v.sources.view.iter.close()
	}
	v.gen.release()
}

// find returns the value under key, which is good until the next positioning.
func (v *view) find(key []byte) (value []byte, found bool, err error) {
	if value, err = v.iter.find(key); err != nil {
		return nil, false, v.wrap(key, err)
	}
	return value, value != nil, nil
}

// err is the iterator's error, if it stands nowhere because of one.
func (v *view) err(key []byte) error {
	if err := v.iter.err(); err != nil {
		return v.wrap(key, err)
	}
	return nil
}

func (v *view) wrap(key []byte, err error) error {
	return wrapPebble(fmt.Errorf("read %s: %w", describeKey(key), err))
}

// value is that at the iterator's position.
func (v *view) value() ([]byte, error) {
	value, err := v.iter.value()
	if err != nil {
		return nil, v.wrap(v.iter.key(), err)
	}
	return value, nil
}

// head returns found == false for a timeline that does not exist, or was deleted.
func (v *view) head(id tidemark.TimelineID) (h tidemark.Head, found bool, err error) {
	h, found, err = v.anyHead(id)
	if h.Deleted {
		return tidemark.Head{}, false, err
	}
	return h, found, err
}

// anyHead is head, and returns those of deleted timelines too.
func (v *view) anyHead(id tidemark.TimelineID) (h tidemark.Head, found bool, err error) {
	v.key = appendHeadKey(v.key[:0], id)
	record, found, err := v.find(v.key)
	if err != nil || !found {
		return tidemark.Head{}, false, err
	}
	h, err = decodeHead(v.key, record)
	return h, err == nil, err
}

// mustHead returns ErrTimelineNotFound for a timeline that does not exist.
func (v *view) mustHead(id tidemark.TimelineID) (tidemark.Head, error) {
	h, found, err := v.head(id)
	if err == nil && !found {
		err = fmt.Errorf("%w: %q", tidemark.ErrTimelineNotFound, id)
	}
	return h, err
}

// record returns the record of a message that must be there.
func (v *view) record(number uint64, seq tidemark.SeqID) ([]byte, error) {
	v.key = appendMessageKey(v.key[:0], number, seq)
	record, found, err := v.find(v.key)
	if err == nil && !found {
		err = damaged(v.key, "record is missing")
	}
	return record, err
}

func (v *view) message(id tidemark.TimelineID, number uint64, seq tidemark.SeqID) (tidemark.Message, error) {
	record, err := v.record(number, seq)
	if err != nil {
		return tidemark.Message{}, err
	}
	return v.decode(id, v.key, record)
}

// pieceBytes is how large the pieces of memory are that the records of a page share.
const pieceBytes = 64 << 10

// copyOf returns a copy of a record that nobody writes to any more.
func (v *view) copyOf(record []byte) []byte {
	if len(record) > cap(v.piece)-len(v.piece) {
		v.piece = make([]byte, 0, max(len(record), min(len(record)*v.ahead, pieceBytes)))
	}
	v.ahead--
	at := len(v.piece)
	v.piece = append(v.piece, record...)
	return v.piece[at:len(v.piece):len(v.piece)]
}

func (v *view) dedupe(number uint64, id tidemark.MessageID) (e DedupeEntry, found bool, err error) {
	v.key = appendDedupeKey(v.key[:0], number, id)
	record, found, err := v.find(v.key)
	if err != nil || !found {
		return DedupeEntry{}, false, err
	}
	e, err = decodeDedupe(v.key, record)
	return e, err == nil, err
}

func (v *view) cursor(number uint64, reader tidemark.ReaderID) (c tidemark.Cursor, found bool, err error) {
	v.key = appendCursorKey(v.key[:0], number, reader)
	record, found, err := v.find(v.key)
	if err != nil || !found {
		return tidemark.Cursor{}, false, err
	}
	c, err = decodeCursor(v.key, record)
	return c, err == nil, err
}

// timelineID returns the id of a number that must be there.
func (v *view) timelineID(number uint64) (tidemark.TimelineID, error) {
	v.key = appendNumberKey(v.key[:0], number)
	id, found, err := v.find(v.key)
	if err == nil && !found {
		err = damaged(v.key, "record is missing")
	}
	return tidemark.TimelineID(id), err
}

// appliedIndex reads no more of the applied record than the index.
func (v *view) appliedIndex() (uint64, error) {
	record, found, err := v.find(keyApplied)
	if err != nil {
		return 0, err
	}
	d := decoder{rest: record}
	if err := d.version(keyApplied); err != nil {
		return 0, err
	}
	index := d.u64()
	if !found || d.bad {
		return 0, damaged(keyApplied, "record is malformed or missing")
	}
	return index, nil
}

// number reads the next timeline number.
func (v *view) nextNumber() (uint64, error) {
	record, _, err := v.find(keyNextNumber)
	if err != nil {
		return 0, err
	}
	if len(record) != 8 || binary.BigEndian.Uint64(record) == 0 {
		return 0, damaged(keyNextNumber, "record is malformed or missing")
	}
	return binary.BigEndian.Uint64(record), nil
}

// scan visits, in key order, what is at or after from and starts with prefix,
// until visit returns false. Keys and values are good only within visit, which
// must not move the view.
func (v *view) scan(prefix, from []byte, visit func(key, value []byte) (bool, error)) error {
	for ok := v.iter.seekGE(from); ok && bytes.HasPrefix(v.iter.key(), prefix); ok = v.iter.next() {
		value, err := v.value()
		if err != nil {
			return err
		}
		if more, err := visit(v.iter.key(), value); err != nil || !more {
			return err
		}
	}
	return v.err(from)
}
