package pebblestore

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"tidemark"
)

// idFilter answers nearly all look-ups of message ids that are not there, which are nearly all
// look-ups, by a miss or two of the processor's cache: it has blocked Bloom filters (Putze, Sanders
// and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007) of all ids in the
// generation. It never denies one that is there. It forgets none, so what was trimmed may
// still be looked up in vain, until the next Open.
//
// When a generation is opened its ids are read in the background; until then the
// filter denies nothing.
type idFilter struct {
	seed maphash.Seed
	// limit bounds the bytes of all parts.
	limit int64
	// parts are the newest first, each of twice the size of the one before. An id is in one.
	parts atomic.Pointer[[]idPart]
	// complete says that all ids of the generation are in it, and off that it was given up.
	complete, off atomic.Bool

	// adding is held to add. room is how many more ids the newest part takes, and crowded says
	// that these are more than it was sized for.
	adding  sync.Mutex
	room    int
	crowded bool
	bytes   int64
}

// idPart is one filter.
type idPart []idBlock

// idBlock is one cache line.
type idBlock [8]atomic.Uint64

const (
	idBlockBytes = 64
	// idsPerBlock is 42 of 512 bits: 12 bits an id. With idBits bits set for each, some 5 of
	// 1,000 ids that are not there are looked up in vain.
	idsPerBlock = 42
	idBits      = 6
	// firstPartBytes is the size of the first part: for 170,000 ids.
	firstPartBytes = 256 << 10
)

func newIDFilter(limit int64) *idFilter {
	f := &idFilter{seed: maphash.MakeSeed(), limit: limit}
	f.parts.Store(&[]idPart{})
	f.grow()
	return f
}

// grow adds a part. If there is no room for one that is larger, the newest takes as many ids
// again, and denies fewer; then the filter would deny hardly any, and is given up. The
// caller holds adding, or has the filter alone.
func (f *idFilter) grow() {
	parts := *f.parts.Load()
	size := int64(firstPartBytes) << len(parts)
	if len(parts) == 0 {
		size = min(size, f.limit)
	}
	switch {
	case f.bytes+size <= f.limit && size >= idBlockBytes:
		part := make(idPart, size/idBlockBytes)
		parts = append([]idPart{part}, parts...)
		f.parts.Store(&parts)
		f.bytes += size
		f.room = len(part) * idsPerBlock
	case len(parts) > 0 && !f.crowded:
		f.crowded = true
		f.room = len(parts[0]) * idsPerBlock
	default:
		f.off.Store(true)
		f.complete.Store(false)
		f.parts.Store(&[]idPart{})
	}
}

// hash is that of an id in a timeline.
func (f *idFilter) hash(number uint64, id tidemark.MessageID) uint64 {
	hash := maphash.String(f.seed, string(id)) ^ number*idMix
	hash *= idMix // so that timelines with near numbers share no blocks
	return hash ^ hash>>32
}

// idMix is 2^64 over the golden ratio.
const idMix = 0x9e3779b97f4a7c15

// place is the block of a hash, and a number whose 9-bit pieces are the bits in it.
func (p idPart) place(hash uint64) (*idBlock, uint64) {
	at, _ := bits.Mul64(hash, uint64(len(p)))
	return &p[at], hash * idMix >> 8
}

func (f *idFilter) add(number uint64, id tidemark.MessageID) {
	f.adding.Lock()
	defer f.adding.Unlock()
	if f.room == 0 && !f.off.Load() {
		f.grow()
	}
	if f.off.Load() {
		return
	}
	f.room--
	block, set := (*f.parts.Load())[0].place(f.hash(number, id))
	for range idBits {
		block[set>>6&7].Or(1 << (set & 63))
		set >>= 9
	}
}

// mayHave returns false only for an id that is not in the timeline with the number.
func (f *idFilter) mayHave(number uint64, id tidemark.MessageID) bool {
	if !f.complete.Load() {
		return true
	}
	hash, parts := f.hash(number, id), *f.parts.Load()
	for _, part := range parts {
		if part.mayHave(hash) {
			return true
		}
	}
	return len(parts) == 0
}

func (p idPart) mayHave(hash uint64) bool {
	block, set := p.place(hash)
	for range idBits {
		if block[set>>6&7].Load()&(1<<(set&63)) == 0 {
			return false
		}
		set >>= 9
	}
	return true
}

// load adds the ids of a database, as it was when load was called: the writer adds those that
// come. It looks at some at a time, so that it holds on to no tables for long.
func (f *idFilter) load(db *pebble.DB, stop <-chan struct{}) error {
	from := []byte{tableDedupe}
	for !f.off.Load() {
		select {
		case <-stop:
			return nil
		default:
		}
		last, err := f.loadSome(db, from)
		if err != nil {
			return err
		}
		if last == nil {
			f.finish()
			return nil
		}
		from = append(last, 0)
	}
	return nil
}

// finish says that all ids are there, unless the filter was given up.
func (f *idFilter) finish() {
	f.adding.Lock()
	defer f.adding.Unlock()
	f.complete.Store(!f.off.Load())
}

// loadSome adds the ids from a key on, up to idsAtATime. It returns the last key if there may be more.
func (f *idFilter) loadSome(db *pebble.DB, from []byte) (last []byte, err error) {
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{tableDedupe + 1}})
	if err != nil {
		return nil, wrapPebble(err)
	}
	n := 0
	for ok := iter.First(); ok && last == nil; ok = iter.Next() {
		if number, id, ok := splitNumber(iter.Key()); ok {
			f.add(number, tidemark.MessageID(id))
		}
		if n++; n == idsAtATime {
			last = bytes.Clone(iter.Key())
		}
	}
	return last, wrapPebble(iter.Close())
}

// idsAtATime is how many ids load looks at with one view of the database.
const idsAtATime = 50_000

// loadIDs begins to fill the filter of a generation that was just opened.
func (g *generation) loadIDs(e *events) {
	if g.ids.off.Load() {
		return
	}
	g.loading.Go(func() {
		if err := g.ids.load(g.db, g.stop); err != nil {
			e.log.Error("could not read the message ids of the store, so appends look all of theirs up", "error", err)
		}
	})
}
