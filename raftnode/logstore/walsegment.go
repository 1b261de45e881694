package logstore

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
)

// walPoint is a commit frame of a segment: where the log would end if it were
// the last one.
type walPoint struct {
	end int64 // offset after the frame
	// entries before it, and the first thing wrong among them.
	entries int
	bad     error
	chain   chain
	// index is the offset of the index's first number, when the segment was sealed.
	index uint64
	crcOK bool
}

// walSegment is what one pass over a segment file found.
type walSegment struct {
	header []byte
	// last and before are the last two commits; entries counts frames after them too.
	last, before *walPoint
	entries      int
	offsets      []uint32
}

// scanSegment reads a whole segment. Entries from info.MinIndex to max are added
// to c, which is then as after the last commit.
func scanSegment(f io.Reader, size int64, info types.SegmentInfo, max uint64, c *chain) (*walSegment, error) {
	r, header, err := newWALReader(f, size)
	if err != nil {
		return nil, err
	}
	s := &walSegment{header: header}
	at := walPoint{chain: *c}
	var l raft.Log
	for {
		frame, ok, err := r.next()
		if err != nil || !ok {
			return s, err
		}
		switch frame.kind {
		case walEntry:
			index := info.BaseIndex + uint64(s.entries)
			s.entries++
			s.offsets = append(s.offsets, uint32(frame.off))
			if at.bad == nil && index >= info.MinIndex && index <= max {
				if at.bad = addFrame(&at.chain, frame, index, &l); at.bad != nil {
					at.bad = fmt.Errorf("offset %d: %w", frame.off, at.bad)
				}
			}
		case walIndex:
			at.index = uint64(frame.off) + walFrameHead
			if at.bad == nil {
				at.bad = checkWALIndex(frame.payload, s.offsets)
			}
		case walCommit:
			point := at
			point.end, point.entries, point.crcOK = frame.end(), s.entries, frame.crcOK
			s.before, s.last = s.last, &point
			if point.index != 0 {
				return s, nil // nothing is written after the index
			}
		}
	}
}

func addFrame(c *chain, frame walFrame, index uint64, l *raft.Log) error {
	if frame.cut {
		return fmt.Errorf("entry %d is cut off", index)
	}
	if err := parseWALEntry(frame.payload, l); err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	if l.Index != index {
		return fmt.Errorf("entry %d stands where entry %d belongs", l.Index, index)
	}
	return c.add(l)
}

func checkWALIndex(b []byte, offsets []uint32) error {
	if len(b) != 4*len(offsets) {
		return fmt.Errorf("index of %d bytes for %d entries", len(b), len(offsets))
	}
	for i, off := range offsets {
		if binary.LittleEndian.Uint32(b[4*i:]) != off {
			return fmt.Errorf("index says that entry number %d is elsewhere", i)
		}
	}
	return nil
}

// scanSealed checks a sealed segment and adds its entries to c.
func scanSealed(path string, info types.SegmentInfo, c *chain) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	s, err := scanSegment(f, st.Size(), info, info.MaxIndex, c)
	if err != nil {
		return err
	}
	if err := checkWALHeader(s.header, info.BaseIndex, info.ID); err != nil {
		return err
	}
	p := s.last
	switch {
	case p == nil:
		return fmt.Errorf("no entry was ever committed to the file")
	case p.bad != nil:
		return p.bad
	case p.index == 0 || p.index != info.IndexStart:
		return fmt.Errorf("the index is at offset %d, not at %d", p.index, info.IndexStart)
	case info.BaseIndex+uint64(p.entries) <= info.MaxIndex:
		return fmt.Errorf("the file has %d entries from %d, but must reach %d", p.entries, info.BaseIndex, info.MaxIndex)
	}
	*c = p.chain
	return nil
}
