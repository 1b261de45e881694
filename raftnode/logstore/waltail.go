package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// walTail is the segment that is written to, as it will be opened.
type walTail struct {
	info types.SegmentInfo
	path string
	// end is the offset after the last commit that counts; last the last entry.
	end  int64
	last uint64
	// dirty is the offset after the last byte that is not zero, if that is beyond
	// end: the rest of an append that a crash cut short, or of a damaged log.
	dirty int64
	// index is not 0 when the segment is full and sealed already, but the crash
	// came before the next one was made.
	index uint64
}

// scanTail checks the last segment and adds its entries to c. It ends the log
// where the library does, and then looks at what lies behind.
func scanTail(path string, info types.SegmentInfo, c *chain) (walTail, error) {
	t := walTail{info: info, path: path}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		// Metadata is written before the file is made. If the file held entries,
		// the mark tells.
		return t, nil
	}
	if err != nil {
		return t, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return t, err
	}
	s, err := scanSegment(f, st.Size(), info, math.MaxUint64, c)
	if err != nil {
		return t, err
	}
	p := s.last
	if p != nil && s.entries == p.entries && !p.crcOK {
		p = s.before // the last append was cut short
	}
	if p != nil {
		if err := checkWALHeader(s.header, info.BaseIndex, info.ID); err != nil {
			return t, err
		}
		if p.bad != nil {
			return t, p.bad
		}
		*c = p.chain
		t.end, t.index = p.end, p.index
		t.last = info.BaseIndex + uint64(p.entries) - 1
		if t.last < info.MinIndex {
			return t, fmt.Errorf("the file ends at entry %d, but must reach %d", t.last, info.MinIndex)
		}
	}
	if t.dirty, err = lastByte(f, t.end, st.Size()); err != nil {
		return t, err
	}
	synced := max(c.last, info.BaseIndex-1)
	return t, findWitness(f, t.end, t.dirty, synced)
}

// lastByte returns the offset after the last byte in [from, to) that is not
// zero, or 0.
func lastByte(f io.ReaderAt, from, to int64) (int64, error) {
	buf := make([]byte, 1<<20)
	last := int64(0)
	for off := from; off < to; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), to-off)]
		if _, err := f.ReadAt(b, off); err != nil {
			return 0, err
		}
		for i := len(b); i > 0; i-- {
			if b[i-1] != 0 {
				last = off + int64(i)
				break
			}
		}
	}
	return last, nil
}

// findWitness looks behind the end of a log, in [from, to), for an entry which
// says that more than last had been synced when it was written. An append that
// was cut short leaves none: its entries say last. So one means that synced
// entries were damaged, even if the mark is older.
func findWitness(f io.ReaderAt, from, to int64, last uint64) error {
	var head [walFrameHead]byte
	var l raft.Log
	for off := (from + 7) &^ 7; off+walFrameHead <= to; off += walFrameHead {
		if _, err := f.ReadAt(head[:], off); err != nil {
			return err
		}
		n := int64(binary.LittleEndian.Uint32(head[4:]))
		if head != [walFrameHead]byte{walEntry, 0, 0, 0, head[4], head[5], head[6], head[7]} || n > to-off-walFrameHead {
			continue
		}
		payload := make([]byte, n)
		if _, err := f.ReadAt(payload, off+walFrameHead); err != nil {
			return err
		}
		if parseWALEntry(payload, &l) != nil {
			continue
		}
		if t, ok := unseal(&l); ok && t.synced > last {
			return fmt.Errorf("the log ends at entry %d, but entry %d at offset %d was written after %d was synced",
				last, l.Index, off, t.synced)
		}
	}
	return nil
}

// clearTorn overwrites with zeros what a crash left behind the end, durably. The
// library would take an index frame in there for a sealed segment and refuse
// every append from then on.
func (t walTail) clearTorn() error {
	if t.dirty <= t.end {
		return nil
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for off := t.end; off < t.dirty && err == nil; off += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), t.dirty-off)], off)
	}
	return errors.Join(err, f.Sync(), f.Close())
}
