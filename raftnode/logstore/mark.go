package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	tidemark "tidemark"
)

// The mark file remembers what the log must hold at least, so that a log that
// lost synced entries is noticed. It is two slots of 64 bytes at offsets 0 and
// 4096, written in turn; the valid slot with the higher write number counts.
//
//	bytes  field
//	0-7    "TMLOGMRK"
//	8-11   format version, 1
//	12     kind of the log store: 1 wal, 2 boltdb
//	13     1 while the store is being made, else 0
//	14-15  0
//	16-23  write number
//	24-31  first: the log, if not empty, starts at this index or before; 0: anywhere
//	32-39  last: the log reaches this index or further; 0: it may be empty
//	40-43  sum of the entry last, see trailer.go
//	44-47  0
//	48-55  stable: the stable store holds this write or a later one
//	56-59  0
//	60-63  CRC-32C of bytes 0-59
//
// All numbers are little-endian. Invariant: what any slot on the disk says was
// true of the log on the disk when it was written, and stays true. Therefore a
// slot is raised only after the log was synced, and both slots are lowered and
// synced before the log is cut.
const (
	markName    = "log.mark"
	markMagic   = "TMLOGMRK"
	markVersion = 1
	slotBytes   = 64
	slotStride  = 4096
	markBytes   = 2 * slotStride
)

// bounds is what the log must hold at least.
type bounds struct {
	first, last uint64
	sum         uint32
	stable      uint64
}

type slot struct {
	bounds
	kind   Kind
	making bool
	writes uint64
}

func (s slot) encode() ([]byte, error) {
	code, err := s.kind.code()
	if err != nil {
		return nil, err
	}
	b := make([]byte, slotBytes)
	le := binary.LittleEndian
	copy(b, markMagic)
	le.PutUint32(b[8:], markVersion)
	b[12] = code
	if s.making {
		b[13] = 1
	}
	le.PutUint64(b[16:], s.writes)
	le.PutUint64(b[24:], s.first)
	le.PutUint64(b[32:], s.last)
	le.PutUint32(b[40:], s.sum)
	le.PutUint64(b[48:], s.stable)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b, nil
}

var errBadSlot = errors.New("slot is not valid")

func decodeSlot(b []byte) (slot, error) {
	le := binary.LittleEndian
	if len(b) < slotBytes || string(b[:8]) != markMagic ||
		le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return slot{}, errBadSlot
	}
	if v := le.Uint32(b[8:]); v > markVersion {
		return slot{}, fmt.Errorf("%w: log format %d, this version reads up to %d",
			tidemark.ErrNewerFormat, v, markVersion)
	}
	return slot{
		kind:   kindOf(b[12]),
		making: b[13] == 1,
		writes: le.Uint64(b[16:]),
		bounds: bounds{
			first:  le.Uint64(b[24:]),
			last:   le.Uint64(b[32:]),
			sum:    le.Uint32(b[40:]),
			stable: le.Uint64(b[48:]),
		},
	}, nil
}

// mark is the open mark file. Its methods may be called from any goroutine.
type mark struct {
	path string
	f    *os.File

	syncing sync.Mutex // held by sync, so that nobody returns before what it waits for is durable

	mu    sync.Mutex
	now   slot
	dirty bool // written since the last sync began
}

// readMark returns the newest valid slot. The error is fs.ErrNotExist when there
// is no file, tidemark.ErrCorrupt when no slot is valid.
func readMark(path string) (slot, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return slot{}, err
	}
	var best slot
	found := false
	for off := 0; off < markBytes; off += slotStride {
		if off+slotBytes > len(b) {
			continue
		}
		s, err := decodeSlot(b[off:])
		if errors.Is(err, tidemark.ErrNewerFormat) {
			return slot{}, fmt.Errorf("%s: %w", path, err)
		}
		if err == nil && (!found || s.writes > best.writes) {
			best, found = s, true
		}
	}
	if !found {
		return slot{}, corrupt(path, "no slot is valid")
	}
	return best, nil
}

// createMark makes the file, durably, with both slots saying s.
func createMark(path string, s slot) error {
	tmp := path + ".tmp"
	b := make([]byte, markBytes)
	for off := 0; off < markBytes; off += slotStride {
		s.writes++
		enc, err := s.encode()
		if err != nil {
			return err
		}
		copy(b[off:], enc)
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// openMark opens the file for writing. Call finish before anything else.
func openMark(path string, s slot) (*mark, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &mark{path: path, f: f, now: s}, nil
}

// finish notes that the store is made and opened, and what it holds. It replaces
// both slots, so that one damaged at rest cannot come to count later.
func (m *mark) finish(b bounds) error {
	m.now.making = false
	return m.set(func(now *bounds) { *now = b })
}

// raise writes new bounds without syncing: what the other slot says stays true.
func (m *mark) raise(change func(*bounds)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.write(change)
}

// set writes new bounds to both slots and syncs each, so that nothing else is
// left on the disk.
func (m *mark) set(change func(*bounds)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range 2 {
		if err := m.write(change); err != nil {
			return err
		}
		if err := datasync(m.f); err != nil {
			return err
		}
		m.dirty = false
	}
	return nil
}

func (m *mark) write(change func(*bounds)) error {
	next := m.now
	change(&next.bounds)
	next.writes++
	b, err := next.encode()
	if err != nil {
		return err
	}
	if _, err := m.f.WriteAt(b, int64(next.writes%2)*slotStride); err != nil {
		return err
	}
	m.now, m.dirty = next, true
	return nil
}

// sync makes what was written durable, without holding up writers meanwhile.
func (m *mark) sync() error {
	m.syncing.Lock()
	defer m.syncing.Unlock()
	m.mu.Lock()
	dirty := m.dirty
	m.dirty = false
	m.mu.Unlock()
	if !dirty {
		return nil
	}
	return datasync(m.f)
}

func (m *mark) close() error { return errors.Join(m.sync(), m.f.Close()) }

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
