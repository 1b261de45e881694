package logstore

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"tidemark/internal/planted"
)

// Both libraries keep every field of a raft.Log, and neither checks them when it
// reads. So each entry is stored with a trailer at the end of its Extensions:
//
//	bytes  field
//	0-3    prev    sum of the entry before, or 0 for the first one of an empty log
//	4-11   synced  last index that was durable when this entry was written, or 0
//	12-15  sum     CRC-32C, see entrySum
//
// All numbers are little-endian. The sum covers prev, so it stands for the whole
// log up to its entry: two logs with the same sum at an index hold the same
// entries before it, as far as 32 bits can tell. It changes with every format;
// the version is in the mark file.
const trailerBytes = 16

type trailer struct {
	prev   uint32
	synced uint64
	sum    uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// entrySum is the CRC-32C of
//
//	bytes  field
//	0-3    prev
//	4-11   synced
//	12-19  index
//	20-27  term
//	28     type
//	29-36  AppendedAt, seconds since 1970
//	37-40  AppendedAt, nanoseconds
//	41-44  number of bytes of Extensions, without the trailer
//	45-48  number of bytes of Data
//	49-    Extensions, then Data
//
// AppendedAt's time zone is left out: it is not part of the instant.
func entrySum(prev uint32, synced uint64, l *raft.Log, extensions []byte) uint32 {
	var h [49]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], prev)
	le.PutUint64(h[4:], synced)
	le.PutUint64(h[12:], l.Index)
	le.PutUint64(h[20:], l.Term)
	h[28] = byte(l.Type)
	le.PutUint64(h[29:], uint64(l.AppendedAt.Unix()))
	le.PutUint32(h[37:], uint32(l.AppendedAt.Nanosecond()))
	le.PutUint32(h[41:], uint32(len(extensions)))
	le.PutUint32(h[45:], uint32(len(l.Data)))
	sum := crc32.Update(0, castagnoli, h[:])
	sum = crc32.Update(sum, castagnoli, extensions)
	return crc32.Update(sum, castagnoli, l.Data)
}

func (t trailer) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, t.prev)
	b = binary.LittleEndian.AppendUint64(b, t.synced)
	return binary.LittleEndian.AppendUint32(b, t.sum)
}

// seal returns copies of the entries that carry trailers, and the sum of the
// last one. Data is shared with the originals.
func seal(logs []*raft.Log, prev uint32, synced uint64) ([]*raft.Log, uint32) {
	size := 0
	for _, l := range logs {
		size += len(l.Extensions) + trailerBytes
	}
	copies := make([]raft.Log, len(logs))
	sealed := make([]*raft.Log, len(logs))
	buf := make([]byte, 0, size)
	for i, l := range logs {
		t := trailer{prev: prev, synced: synced, sum: entrySum(prev, synced, l, l.Extensions)}
		start := len(buf)
		buf = t.append(append(buf, l.Extensions...))
		copies[i] = *l
		copies[i].Extensions = buf[start:len(buf):len(buf)]
		sealed[i] = &copies[i]
		prev = t.sum
	}
	return sealed, prev
}

// unseal takes the trailer off an entry as it was stored, and reports whether
// its sum is right. If not, the entry is left as it was.
func unseal(l *raft.Log) (trailer, bool) {
	n := len(l.Extensions) - trailerBytes
	if n < 0 {
		return trailer{}, false
	}
	b := l.Extensions[n:]
	t := trailer{
		prev:   binary.LittleEndian.Uint32(b[0:]),
		synced: binary.LittleEndian.Uint64(b[4:]),
		sum:    binary.LittleEndian.Uint32(b[12:]),
	}
	if t.sum != entrySum(t.prev, t.synced, l, l.Extensions[:n]) && !planted.Is(planted.UnverifiedLog) {
		return trailer{}, false
	}
	if l.Extensions = l.Extensions[:n:n]; n == 0 {
		l.Extensions = nil
	}
	return t, true
}
