package logstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/hashicorp/raft"
)

// A reader of raft-wal's segment format, version 0. The library takes a damaged
// frame for the end of the log and says nothing, so its answer is not enough.
// A segment file is a header of 32 bytes, then frames, each padded to 8 bytes:
//
//	header  bytes  field            frame  bytes  field
//	        0-3    magic                   0      1 entry, 2 index, 3 commit
//	        4-6    0                       1-3    0
//	        7      version, 0              4-7    payload length, or the commit's CRC-32C of
//	        8-15   first index                    everything since the commit before
//	        16-23  segment id              8-     payload
//	        24-31  codec
//
// An entry's payload is the codec's (parseWALEntry); the index frame, last in a
// sealed segment, holds the offset of each entry as u32. All is little-endian.
const (
	walMagic      = 0x58eb6b0d
	walFileHeader = 32
	walFrameHead  = 8
	walEntry      = 1
	walIndex      = 2
	walCommit     = 3
	walCodec      = 1
)

// walFrame is one frame. Payload is nil and cut is true when the file ends first.
type walFrame struct {
	off     int64
	kind    byte
	payload []byte
	cut     bool
	// crcOK says for a commit that its checksum fits.
	crcOK bool
}

func (f walFrame) end() int64 { return f.off + walFrameHead + int64(pad8(len(f.payload))) }

// walReader reads the frames of a segment in order. It stops where the library
// stops when it recovers a segment.
type walReader struct {
	r    *bufio.Reader
	off  int64
	size int64
	crc  uint32
	buf  []byte
}

// newWALReader reads the file header, which it returns; nil if there is none.
func newWALReader(r io.Reader, size int64) (*walReader, []byte, error) {
	w := &walReader{r: bufio.NewReaderSize(r, 256<<10), size: size}
	header := make([]byte, walFileHeader)
	if _, err := io.ReadFull(w.r, header); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			w.off = size
			return w, nil, nil
		}
		return nil, nil, err
	}
	w.off = walFileHeader
	w.crc = crc32.Checksum(header, castagnoli)
	return w, header, nil
}

// next returns the next frame, or false at the end of what can be understood.
// The payload is valid until the next call.
func (w *walReader) next() (walFrame, bool, error) {
	f := walFrame{off: w.off}
	if w.size-w.off < walFrameHead {
		return f, false, nil
	}
	head, err := w.r.Peek(walFrameHead)
	if err != nil {
		return f, false, err
	}
	f.kind = head[0]
	switch f.kind {
	case walEntry, walIndex:
	case walCommit:
		f.crcOK = binary.LittleEndian.Uint32(head[4:]) == w.crc
		w.crc = 0
		w.off += walFrameHead
		_, err := w.r.Discard(walFrameHead)
		return f, true, err
	default:
		return f, false, nil
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	total := walFrameHead + int64(pad8(int(n)))
	if total > w.size-w.off {
		f.cut = true
		w.off = w.size
		return f, true, nil
	}
	if int64(cap(w.buf)) < total {
		w.buf = make([]byte, total+total/2)
	}
	w.buf = w.buf[:total]
	if _, err := io.ReadFull(w.r, w.buf); err != nil {
		return f, false, err
	}
	w.crc = crc32.Update(w.crc, castagnoli, w.buf)
	w.off += total
	f.payload = w.buf[walFrameHead : walFrameHead+n]
	return f, true, nil
}

func pad8(n int) int { return (n + 7) &^ 7 }

// checkWALHeader compares a segment's header with what the metadata says.
func checkWALHeader(h []byte, base, id uint64) error {
	le := binary.LittleEndian
	switch {
	case len(h) < walFileHeader:
		return fmt.Errorf("the file has no header")
	case le.Uint64(h) != walMagic:
		return fmt.Errorf("the header has magic and version %#x", le.Uint64(h))
	case le.Uint64(h[8:]) != base || le.Uint64(h[16:]) != id || le.Uint64(h[24:]) != walCodec:
		return fmt.Errorf("the header is of segment %d at index %d with codec %d",
			le.Uint64(h[16:]), le.Uint64(h[8:]), le.Uint64(h[24:]))
	}
	return nil
}

var errWALEntry = errors.New("entry cannot be decoded")

// parseWALEntry decodes what wal.BinaryCodec encodes, without copying and
// without its panics on damaged bytes: index, term, type as varints; data and
// extensions, each with its length as a varint before it; AppendedAt as
// time.Time marshals itself.
func parseWALEntry(b []byte, l *raft.Log) error {
	var nums [3]uint64
	for i := range nums {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errWALEntry
		}
		nums[i], b = v, b[n:]
	}
	if nums[2] > math.MaxUint8 {
		return errWALEntry
	}
	var fields [2][]byte
	for i := range fields {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > uint64(len(b)-n) {
			return errWALEntry
		}
		fields[i], b = b[n:n+int(v):n+int(v)], b[n+int(v):]
	}
	if err := l.AppendedAt.UnmarshalBinary(b); err != nil {
		return fmt.Errorf("%w: %w", errWALEntry, err)
	}
	l.Index, l.Term, l.Type = nums[0], nums[1], raft.LogType(nums[2])
	l.Data, l.Extensions = fields[0], fields[1]
	return nil
}
