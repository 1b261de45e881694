package pebblestore

import (
	"hash/maphash"
	"math"
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
	// limit bounds the bytes of all parts; 0 switches the filter off.
	limit int64
	// parts are the newest first, each of twice the size of the one before. An id is in one.
	parts atomic.Pointer[[]idPart]
	// complete says that all ids of the generation are in it.
	complete atomic.Bool

	// adding is held to add. room is for how many more ids the newest part was sized.
	adding sync.Mutex
	room   int
	bytes  int64
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
	if limit > 0 {
		f.grow()
	}
	return f
}

// grow adds a part, unless that is too large. The caller holds adding, or has the filter alone.
func (f *idFilter) grow() {
	parts := *f.parts.Load()
	size := min(int64(firstPartBytes)<<len(parts), f.limit-f.bytes)
	if size < idBlockBytes {
		f.room = math.MaxInt // and the newest part denies less and less
		return
	}
	part := make(idPart, size/idBlockBytes)
	parts = append([]idPart{part}, parts...)
	f.parts.Store(&parts)
	f.bytes += size
	f.room = len(part) * idsPerBlock
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
	if f.limit == 0 {
		return
	}
	f.adding.Lock()
	defer f.adding.Unlock()
	if f.room == 0 {
		f.grow()
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
	hash := f.hash(number, id)
	for _, part := range *f.parts.Load() {
		if part.mayHave(hash) {
			return true
		}
	}
	return false
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

// load adds the ids that the iterator, which it closes, finds in the table, until stop is closed.
func (f *idFilter) load(iter *pebble.Iterator, stop <-chan struct{}) error {
	n := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		if n++; n%1024 == 0 {
			select {
			case <-stop:
				return iter.Close()
			default:
			}
		}
		if number, id, ok := splitNumber(iter.Key()); ok {
			f.add(number, tidemark.MessageID(id))
		}
	}
	err := iter.Close()
	if err == nil {
		f.complete.Store(true)
	}
	return err
}

// loadIDs begins to fill the filter of a generation that was just opened.
func (g *generation) loadIDs(e *events) error {
	if g.ids.limit == 0 {
		return nil
	}
	iter, err := g.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableDedupe}, UpperBound: []byte{tableDedupe + 1}})
	if err != nil {
		return wrapPebble(err)
	}
	g.loading.Go(func() {
		if err := g.ids.load(iter, g.stop); err != nil {
			e.backgroundError(err) // and appends go on without the filter
		}
	})
	return nil
}
