package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/tidwall/btree"

	"tidemark"
)

// buffer holds, in the order of keys, what batches committed and the database does not have
// yet. It stands where the memtable of a log-structured store stands: the write-ahead log of
// its content is the Raft log. It is a B-tree, whose nodes hold many keys side by side, and
// so costs a third of the cache misses of the skiplist that the database has for the same.
//
// A buffer is changed by the one writer, under generation.mu, and may be read without a
// lock by that writer, and by others as soon as it is not changed any more: they read a copy,
// which shares all nodes that the writer has not changed since.
type buffer struct {
	entries *btree.BTreeG[entry]
	// spans are ranges of keys, apart from each other, that were deleted before what entries
	// holds of them was written.
	spans *btree.BTreeG[span]
	// heads are where the heads of timelines are in entries, by number; nil if there come none any more.
	heads map[uint64]headAt
	// copies counts how often the buffer was frozen.
	copies int
	// bytes is what the buffer takes in memory, about, and commits counts what is in it.
	bytes   int
	commits int
}

// headAt is a head that came into the buffer when there were so many copies of it. While
// there is none more nobody else sees it, and it can be written over in place: most heads are put
// again and again.
type headAt struct {
	record []byte
	copies int
}

// entry is one key with its value, as small as can be, since entries of a node are moved for each
// that comes into it. Neither key nor value is ever changed, but for heads (see headAt).
type entry struct {
	// head is the order of most keys, so that few comparisons look at the key itself.
	head [3]uint64
	// data is where the key is, and right behind it the value.
	data     *byte
	keyBytes uint32
	// valueBytes is noValue for a key that is deleted.
	valueBytes uint32
}

const noValue = math.MaxUint32

// newEntry is the entry of a key and its value, which are one behind the other.
func newEntry(data []byte, keyBytes int) entry {
	if len(data) >= noValue {
		panic(fmt.Sprintf("pebblestore: %s has %d bytes", describeKey(data[:keyBytes]), len(data)))
	}
	return entry{headOf(data[:keyBytes]), unsafe.SliceData(data), uint32(keyBytes), uint32(len(data) - keyBytes)}
}

// deletedEntry is that of a key without a value.
func deletedEntry(key []byte) entry {
	return entry{headOf(key), unsafe.SliceData(key), uint32(len(key)), noValue}
}

func (e *entry) key() []byte { return unsafe.Slice(e.data, e.keyBytes) }

// value is nil for a key that is deleted; one that is empty is not nil.
func (e *entry) value() []byte {
	if e.valueBytes == noValue {
		return nil
	}
	return unsafe.Slice(e.data, e.keyBytes+e.valueBytes)[e.keyBytes:]
}

// span is a range of keys that holds start, but not end.
type span struct{ start, end []byte }

const (
	// bufferDegree is half of the keys of a node: measured best of 16 to 128.
	bufferDegree = 64
	// entryOverhead is what an entry takes beside its key and value: room in nodes that are two
	// thirds full.
	entryOverhead = 60
	// headOverhead is what a head takes in heads.
	headOverhead = 96
)

func newBuffer() *buffer {
	return &buffer{
		entries: btree.NewBTreeGOptions(lessEntry, btree.Options{NoLocks: true, Degree: bufferDegree}),
		spans:   btree.NewBTreeGOptions(lessSpan, btree.Options{NoLocks: true}),
		heads:   make(map[uint64]headAt),
	}
}

// maxHeadNumber is more than any timeline's number will ever be.
const maxHeadNumber = 1<<56 - 1

// headOf is in the order of keys: where those of two keys differ, the keys differ the same
// way. It is the first 24 bytes or, since numbers of timelines begin with zeros, the table, the
// number without its first byte, and the 16 bytes behind it.
func headOf(key []byte) (head [3]uint64) {
	if len(key) > 0 && isNumbered(key[0]) {
		table := uint64(key[0]) << 56
		number, rest := word(key[1:])
		if number >= maxHeadNumber { // of no timeline, and told apart by their bytes
			return [3]uint64{table | maxHeadNumber, math.MaxUint64, math.MaxUint64}
		}
		head[0] = table | number
		head[1], rest = word(rest)
		head[2], _ = word(rest)
		return head
	}
	for i := range head {
		head[i], key = word(key)
	}
	return head
}

// word is the first eight bytes, with zeros for those that are missing, and the rest.
func word(b []byte) (uint64, []byte) {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b), b[8:]
	}
	var w uint64
	for i, c := range b {
		w |= uint64(c) << (56 - 8*i)
	}
	return w, nil
}

// lessEntry orders keys by their bytes: where the heads of two are equal, one may still be
// the other with more behind it.
func lessEntry(a, b entry) bool {
	switch {
	case a.head[0] != b.head[0]:
		return a.head[0] < b.head[0]
	case a.head[1] != b.head[1]:
		return a.head[1] < b.head[1]
	case a.head[2] != b.head[2]:
		return a.head[2] < b.head[2]
	}
	return bytes.Compare(a.key(), b.key()) < 0
}

func lessSpan(a, b span) bool { return bytes.Compare(a.start, b.start) < 0 }

// empty reports whether nothing was committed to the buffer.
func (b *buffer) empty() bool { return b.commits == 0 }

// freeze returns a copy that stays as the buffer is now. It costs the same however much
// the buffer holds.
func (b *buffer) freeze() *buffer {
	b.copies++
	frozen := *b
	frozen.heads = nil // the writer's
	frozen.entries, frozen.spans = b.entries.Copy(), b.spans.Copy()
	return &frozen
}

// apply makes the writes in their order.
func (b *buffer) apply(w *writes) {
	for i := range w.list {
		op := &w.list[i]
		if op.until != nil {
			b.deleteRange(op.key(), op.until)
			continue
		}
		b.set(op.entry)
	}
	for i := range w.heads {
		b.putHead(&w.heads[i], w)
	}
	b.bytes += w.bytes
	b.commits++
}

func (b *buffer) set(e entry) {
	if _, replaced := b.entries.Set(e); !replaced {
		b.bytes += entryOverhead
	}
}

// putHead sets a head. Nothing but this writes or deletes any.
func (b *buffer) putHead(h *tidemark.Head, w *writes) {
	w.record = appendHead(w.record[:0], h)
	at, there := b.heads[h.Number]
	if there && at.copies == b.copies && len(at.record) == len(w.record) {
		copy(at.record, w.record)
		return
	}
	keyBytes := 1 + len(h.Timeline)
	data := append(appendHeadKey(w.reserve(keyBytes + len(w.record))[:0], h.Timeline), w.record...)
	b.set(newEntry(data, keyBytes))
	b.heads[h.Number] = headAt{data[keyBytes:], b.copies}
	if !there {
		b.bytes += headOverhead
	}
}

func (b *buffer) deleteRange(start, end []byte) {
	if bytes.Compare(start, end) >= 0 {
		return
	}
	var within []entry
	last := deletedEntry(end)
	b.entries.Ascend(deletedEntry(start), func(e entry) bool {
		if !lessEntry(e, last) {
			return false
		}
		within = append(within, e)
		return true
	})
	for _, e := range within {
		b.entries.Delete(e)
	}
	// What touches the new span becomes a part of it.
	var joined []span
	b.spans.Descend(span{start: end}, func(s span) bool {
		if bytes.Compare(s.end, start) < 0 {
			return false
		}
		joined = append(joined, s)
		return true
	})
	for _, s := range joined {
		b.spans.Delete(s)
		if bytes.Compare(s.start, start) < 0 {
			start = s.start
		}
		if bytes.Compare(s.end, end) > 0 {
			end = s.end
		}
	}
	b.spans.Set(span{start, end})
}

// find looks a key up. known is true if the buffer knows that there is a value, or that
// there is none (nil): then what is older does not count.
func (b *buffer) find(key []byte) (value []byte, known bool) {
	if e, ok := b.entries.Get(deletedEntry(key)); ok {
		return e.value(), true
	}
	_, covered := b.covering(key)
	return nil, covered
}

// covering returns the span that the key lies in, if there is one.
func (b *buffer) covering(key []byte) (found span, ok bool) {
	if b.spans.Len() == 0 {
		return span{}, false
	}
	b.spans.Descend(span{start: key}, func(s span) bool {
		found, ok = s, bytes.Compare(key, s.end) < 0
		return false
	})
	return found, ok
}

// writes are what a batch has gathered, in order, and the heads that it leaves, each once.
type writes struct {
	list  []write
	heads []tidemark.Head
	// record is memory to encode a head in.
	record []byte
	// slab is where keys and values are put; what was put there stays where it is.
	slab  []byte
	bytes int
}

// write sets or deletes a key, or deletes the keys from key to until if that is not nil.
type write struct {
	entry
	until []byte
}

// slabBytes is the size of the pieces of memory for keys and values.
const slabBytes = 64 << 10

// reserve returns room for n bytes, which is zero.
func (w *writes) reserve(n int) []byte {
	if n > slabBytes/4 {
		w.bytes += n
		return make([]byte, n) // so that no more than a quarter of a slab is left over
	}
	if w.slab == nil || n > cap(w.slab)-len(w.slab) {
		w.slab = make([]byte, 0, slabBytes)
	}
	at := len(w.slab)
	w.slab = w.slab[:at+n]
	w.bytes += n
	return w.slab[at : at+n : at+n]
}

func (w *writes) copyOf(b []byte) []byte {
	room := w.reserve(len(b))
	copy(room, b)
	return room
}

// set sets a key, both of which are copied.
func (w *writes) set(key, value []byte) {
	w.add(append(append(w.reserve(len(key) + len(value))[:0], key...), value...), len(key))
}

// add sets a key. It and, right behind it, the value are of reserve, and not changed any more.
func (w *writes) add(data []byte, keyBytes int) {
	w.list = append(w.list, write{entry: newEntry(data, keyBytes)})
}

// delete deletes a key, which is copied.
func (w *writes) delete(key []byte) {
	w.list = append(w.list, write{entry: deletedEntry(w.copyOf(key))})
}

// deleteRange deletes the keys from start on that are less than end; both are copied.
func (w *writes) deleteRange(start, end []byte) {
	w.list = append(w.list, write{entry: deletedEntry(w.copyOf(start)), until: w.copyOf(end)})
}
