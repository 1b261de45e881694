package pebblestore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// Snapshot streams a consistent copy of a store, as it was when it was opened. It
// is a tidemark.SnapshotReader. It is not safe for concurrent use. It uses memory
// for the list of its files only, and keeps those on the disk until Close, even
// when the store drops them.
type Snapshot struct {
	store   *Store
	dir     string
	applied tidemark.Applied
	files   []streamFile
	size    int64

	pending []byte    // encoded, not yet read
	all     hash.Hash // of all bytes that were read before the trailer
	next    int       // index in files of the one that comes next
	file    vfs.File  // the one being read, or nil
	left    uint64    // bytes of file not yet read
	crc     uint32    // of the content of file that was read
	err     error     // io.EOF after the trailer was encoded; what Read returns once pending is empty
	closed  bool
}

// OpenSnapshot opens a consistent copy of the store for streaming, and makes the
// store durable up to it. It makes hard links, so its cost does not grow with the
// store, but for the number of its tables; it flushes first, so
// that the writer waits for the links only. The store needs no further room for
// it until tables are dropped.
func (s *Store) OpenSnapshot() (*Snapshot, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	// Twice, because the writer goes on meanwhile: what is left for link is little.
	for range 2 {
		g.flushAll()
	}
	snapshot := &Snapshot{store: s, all: sha256.New()}
	snapshot.dir = s.fs.PathJoin(s.dir, checkpointName(s.lastNumber.Add(1)))
	if err := s.checkpoint(g, snapshot); err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshot: %w", err), s.fs.RemoveAll(snapshot.dir))
	}
	s.openSnapshots.Add(1)
	return snapshot, nil
}

func (s *Store) checkpoint(g *generation, snapshot *Snapshot) error {
	last, err := s.link(g, snapshot.dir)
	if err != nil {
		return err
	}
	snapshot.applied = last.applied
	names, err := s.fs.List(snapshot.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		info, err := s.fs.Stat(s.fs.PathJoin(snapshot.dir, name))
		if err != nil {
			return err
		}
		snapshot.files = append(snapshot.files, streamFile{name: name, size: uint64(info.Size())})
	}
	total := streamSize(&snapshot.applied, snapshot.files)
	snapshot.size = int64(total)
	snapshot.pending = appendStreamHeader(nil, &streamHeader{total: total, files: uint32(len(names)), applied: snapshot.applied})
	return nil
}

// link makes the checkpoint, and returns the commit that it ends with. No commit
// runs meanwhile.
func (s *Store) link(g *generation, dir string) (*commit, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	last := g.last.Load()
	g.flushAll()
	err := s.events.guard("checkpoint", func() error { return g.db.Checkpoint(dir, pebble.WithFlushedWAL()) })
	if err != nil {
		return nil, wrapPebble(err)
	}
	g.raiseDurable(last)
	return last, nil
}

// Applied is the state that the snapshot holds.
func (s *Snapshot) Applied() tidemark.Applied { return s.applied }

// Size is the exact number of bytes of the stream.
func (s *Snapshot) Size() int64 { return s.size }

// Read reads the stream, from its start to its end, once.
func (s *Snapshot) Read(p []byte) (int, error) {
	for len(p) > 0 {
		switch {
		case len(s.pending) > 0:
			n := copy(p, s.pending)
			if s.err == nil {
				s.all.Write(p[:n])
			}
			s.pending = s.pending[n:]
			return n, nil
		case s.err != nil:
			return 0, s.err
		case s.left > 0:
			n, err := s.file.Read(p[:min(uint64(len(p)), s.left)])
			s.left -= uint64(n)
			s.crc = crc32.Update(s.crc, castagnoli, p[:n])
			s.all.Write(p[:n])
			if n > 0 {
				return n, nil
			}
			s.err = fmt.Errorf("read snapshot: file %s ends early or fails: %w", s.files[s.next-1].name, orUnexpectedEOF(err))
		default:
			if err := s.advance(); err != nil {
				s.err = fmt.Errorf("read snapshot: %w", err)
			}
		}
	}
	return 0, nil
}

func orUnexpectedEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// advance encodes what stands between the content of two files.
func (s *Snapshot) advance() error {
	if s.closed {
		return errors.New("it is closed")
	}
	s.pending = s.pending[:0]
	if s.file != nil {
		s.pending = binary.BigEndian.AppendUint32(s.pending, s.crc)
		err := s.file.Close()
		s.file, s.crc = nil, 0
		if err != nil {
			return err
		}
		return nil
	}
	if s.next == len(s.files) {
		s.pending = s.all.Sum(s.pending)
		s.err = io.EOF
		return nil
	}
	f := &s.files[s.next]
	file, err := s.store.fs.Open(s.store.fs.PathJoin(s.dir, f.name), vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	s.file, s.left = file, f.size
	s.pending = appendFileHeader(s.pending, f)
	s.next++
	return nil
}

// Close removes the copy. It is a no-op after the first time.
func (s *Snapshot) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.store.openSnapshots.Add(-1)
	if s.err == nil {
		s.pending, s.left, s.err = nil, 0, errors.New("read snapshot: it is closed")
	}
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	return errors.Join(err, s.store.fs.RemoveAll(s.dir))
}
