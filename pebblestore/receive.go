package pebblestore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/planted"
)

const (
	// receiveSyncBytes makes the kernel write received files out as they come, so that
	// the sync of a large one does not hold up all others on the disk.
	receiveSyncBytes = 1 << 20
	// receiveCopyBytes bounds one write to a file.
	receiveCopyBytes = 64 << 10
)

// Incoming receives a snapshot stream, and builds a new generation from it beside
// the one in force. It is a tidemark.SnapshotWriter. Its methods may be called
// from any goroutine, one at a time.
//
// After an error of Write or Finish it is to be aborted.
type Incoming struct {
	store  *Store
	number uint64
	dir    string

	// want bytes are gathered in part before step is called on them; content goes
	// past it straight into file.
	part   []byte
	want   int
	step   func(part []byte) error
	header streamHeader
	all    hash.Hash
	offset uint64 // bytes of the stream that were consumed

	name string // of the last file
	left uint64 // bytes that file still gets
	copy []byte // of content, see own
	crc  uint32 // of the content that file got
	seen uint32 // files whose header came
	// tables are the names of the files that are tables.
	tables []string
	file   vfs.File // being written, or nil

	err       error // the first one; sticky
	complete  bool  // the trailer came and was right
	gen       *generation
	installed bool

	once     sync.Once // of the clean-up
	abortErr error
}

// Receive starts to receive a snapshot stream. The store goes on as it is until
// Install. A second one can be received at the same time.
func (s *Store) Receive() (*Incoming, error) {
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	in := &Incoming{store: s, number: s.lastNumber.Add(1), all: sha256.New()}
	in.dir = s.fs.PathJoin(s.dir, generationName(in.number))
	in.expect(streamFixed, in.fixedHeader)
	if err := s.fs.MkdirAll(in.dir, 0o755); err != nil {
		return nil, wrapFull(fmt.Errorf("receive snapshot: %w", err))
	}
	return in, nil
}

func (in *Incoming) expect(want int, step func([]byte) error) {
	in.want, in.step = want, step
}

// Write takes the next bytes of the stream.
func (in *Incoming) Write(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	n := 0
	for n < len(p) {
		used, err := in.consume(p[n:])
		n += used
		in.offset += uint64(used)
		if err != nil {
			in.err = wrapFull(fmt.Errorf("receive snapshot, at byte %d: %w", in.offset, err))
			return n, in.err
		}
	}
	return n, nil
}

func (in *Incoming) consume(p []byte) (int, error) {
	if in.complete {
		return 0, badStream("goes on after its end")
	}
	if in.left > 0 {
		p = p[:min(uint64(len(p)), in.left, receiveCopyBytes)]
		in.left -= uint64(len(p))
		in.crc = crc32.Update(in.crc, castagnoli, p)
		in.all.Write(p)
		_, err := in.file.Write(in.own(p))
		return len(p), err
	}
	p = p[:min(len(p), in.want-len(in.part))]
	in.part = append(in.part, p...)
	if len(in.part) < in.want {
		return len(p), nil
	}
	return len(p), in.step(in.part)
}

// own copies p: a file of vfs may change what it is given to write, a caller's p must stay.
func (in *Incoming) own(p []byte) []byte {
	in.copy = append(in.copy[:0], p...)
	return in.copy
}

// next ends a part, and waits for another one.
func (in *Incoming) next(want int, step func([]byte) error) error {
	in.all.Write(in.part)
	in.part = in.part[:0]
	in.expect(want, step)
	return nil
}

func (in *Incoming) fixedHeader(part []byte) error {
	header, rest, err := parseStreamFixed(part)
	if err != nil {
		return err
	}
	in.header = header
	in.expect(streamFixed+rest, in.wholeHeader)
	return nil
}

func (in *Incoming) wholeHeader(part []byte) error {
	if err := parseStreamApplied(&in.header, part); err != nil {
		return err
	}
	return in.next(2, in.nameLength)
}

func (in *Incoming) nameLength(part []byte) error {
	in.expect(2+int(binary.BigEndian.Uint16(part))+8+4, in.fileHeader)
	return nil
}

func (in *Incoming) fileHeader(part []byte) error {
	f, err := parseFileHeader(part, in.name)
	if err != nil {
		return err
	}
	if f.size > in.header.total {
		return badStream("file %s has %d bytes in a stream of %d", f.name, f.size, in.header.total)
	}
	fsys := in.store.fs
	file, err := fsys.Create(fsys.PathJoin(in.dir, f.name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	in.file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: receiveSyncBytes})
	in.name, in.left, in.crc = f.name, f.size, 0
	in.seen++
	if strings.HasSuffix(f.name, ".sst") {
		in.tables = append(in.tables, f.name)
	}
	return in.next(4, in.fileCRC)
}

func (in *Incoming) fileCRC(part []byte) error {
	if binary.BigEndian.Uint32(part) != in.crc {
		return badStream("file %s is damaged", in.name)
	}
	file := in.file
	in.file = nil
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", in.name, err)
	}
	if in.seen == in.header.files {
		return in.next(streamTrailer, in.trailer)
	}
	return in.next(2, in.nameLength)
}

func (in *Incoming) trailer(part []byte) error {
	if [streamTrailer]byte(part) != [streamTrailer]byte(in.all.Sum(nil)) {
		return badStream("as a whole is not what was sent")
	}
	in.complete = true
	return nil
}

// Finish verifies what was received: the stream's checksums and length, every
// block of every table, the store format, and that the applied record is the one
// that the stream announced. All is synced when it returns. The applied record
// that it returns is marked as installed at its index.
func (in *Incoming) Finish() (tidemark.Applied, error) {
	if in.err == nil {
		in.err = in.finish()
	}
	if in.err != nil {
		return tidemark.Applied{}, in.err
	}
	return in.gen.last.Load().applied, nil
}

func (in *Incoming) finish() error {
	switch {
	case in.gen != nil:
		return nil
	case !in.complete:
		return fmt.Errorf("receive snapshot: %w", badStream("ends early, after %d of %d bytes", in.offset, in.header.total))
	case in.offset != in.header.total:
		return fmt.Errorf("receive snapshot: %w", badStream("has %d bytes; its header says %d", in.offset, in.header.total))
	}
	s := in.store
	if err := errors.Join(syncDir(s.fs, in.dir), syncDir(s.fs, s.dir)); err != nil {
		return fmt.Errorf("receive snapshot: %w", err)
	}
	if _, _, err := verifyTables(s.fs, in.dir, in.tables, func() {}); err != nil {
		return fmt.Errorf("receive snapshot: %w", err)
	}
	g, err := openGeneration(s.fs, in.dir, in.number, in.header.applied.Index, &s.options, &s.events)
	if err != nil {
		return fmt.Errorf("receive snapshot: %w", err)
	}
	if err := g.markInstalled(&in.header.applied, &s.events); err != nil {
		return errors.Join(fmt.Errorf("receive snapshot: %w", err), g.closeDatabase())
	}
	if planted.Is(planted.SnapshotWithoutCursors) {
		if err := g.db.DeleteRange([]byte{tableCursor}, []byte{tableCursor + 1}, pebble.Sync); err != nil {
			return errors.Join(fmt.Errorf("receive snapshot: %w", wrapPebble(err)), g.closeDatabase())
		}
	}
	in.gen = g
	return nil
}

// Abort removes what was received. It is a no-op after a successful Install.
func (in *Incoming) Abort() error {
	in.once.Do(func() {
		if in.installed {
			return
		}
		if in.err == nil {
			in.err = errors.New("receive snapshot: it was aborted")
		}
		var errs []error
		if in.file != nil {
			errs = append(errs, in.file.Close())
		}
		if in.gen != nil {
			errs = append(errs, in.gen.closeDatabase())
		}
		in.abortErr = errors.Join(append(errs, in.store.fs.RemoveAll(in.dir))...)
	})
	return in.abortErr
}
