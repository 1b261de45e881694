package pebblestore

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/tidwall/btree"
)

// layers is one state of a generation: buffers, the newest first, over the database. What a
// buffer holds or has deleted hides what is below it.
type layers struct {
	buffers []*buffer
	below   pebble.Reader
}

// iterator walks the keys of layers in their order. It is positioned by seekGE or seekLT;
// until then, and behind the ends, it stands nowhere. It is not safe for concurrent use.
type iterator struct {
	layers
	iters []layerIterator // of buffers that hold something, then that of the database
	// deleted are, for each of iters, the buffers above it that have spans.
	deleted [][]*buffer
	below   *pebble.Iterator

	at       int // the one of iters that stands on the key, or -1
	backward bool
	scratch  []byte
}

// layerIterator walks one layer. A value of nil is a key that is deleted.
type layerIterator interface {
	seekGE(key []byte)
	seekLT(key []byte)
	next()
	prev()
	valid() bool
	key() []byte
}

func (l layers) iterate() (*iterator, error) {
	// An exact look-up is a seek by the whole key, which is its own prefix, so
	// that filters are used. Pebble leaves the last level's out unless asked,
	// and DB.Get cannot ask; most messages are in the last level.
	below, err := l.below.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, wrapPebble(err)
	}
	return l.over(below), nil
}

func (l layers) over(below *pebble.Iterator) *iterator {
	it := &iterator{layers: l, below: below, at: -1}
	var deleted []*buffer
	for _, b := range l.buffers {
		if b.entries.Len() > 0 {
			it.iters = append(it.iters, &bufferIterator{iter: b.entries.Iter()})
			it.deleted = append(it.deleted, deleted)
		}
		if b.spans.Len() > 0 {
			deleted = append(deleted[:len(deleted):len(deleted)], b)
		}
	}
	it.iters = append(it.iters, databaseIterator{below})
	it.deleted = append(it.deleted, deleted)
	return it
}

// clone returns another iterator over the same state.
func (it *iterator) clone() (*iterator, error) {
	below, err := it.below.Clone(pebble.CloneOptions{})
	if err != nil {
		return nil, wrapPebble(err)
	}
	return it.layers.over(below), nil
}

// close returns the error of the last positioning, as err does.
func (it *iterator) close() error { return it.below.Close() }

// err is what stopped the iterator, if anything did.
func (it *iterator) err() error { return it.below.Error() }

// find looks a key up: the value is nil if there is none, and good until the iterator is
// used again. The iterator stands nowhere afterwards.
func (it *iterator) find(key []byte) (value []byte, err error) {
	it.at = -1
	for _, b := range it.buffers {
		if value, known := b.find(key); known {
			return value, nil
		}
	}
	if !it.below.SeekPrefixGE(key) {
		return nil, it.below.Error()
	}
	if value, err = it.below.ValueAndErr(); value == nil && err == nil {
		value = []byte{}
	}
	return value, err
}

// seekGE moves to the first key that is not less, and reports whether there is one.
func (it *iterator) seekGE(key []byte) bool {
	for _, layer := range it.iters {
		layer.seekGE(key)
	}
	it.backward = false
	return it.settle()
}

// seekLT moves to the last key that is less, and reports whether there is one.
func (it *iterator) seekLT(key []byte) bool {
	for _, layer := range it.iters {
		layer.seekLT(key)
	}
	it.backward = true
	return it.settle()
}

// next moves to the next key, and reports whether there is one. The iterator must stand on a key.
func (it *iterator) next() bool {
	if it.backward {
		it.scratch = append(append(it.scratch[:0], it.key()...), 0) // the least key that is greater
		return it.seekGE(it.scratch)
	}
	it.leave()
	return it.settle()
}

// prev moves to the key before, and reports whether there is one. The iterator must stand on a key.
func (it *iterator) prev() bool {
	if !it.backward {
		it.scratch = append(it.scratch[:0], it.key()...)
		return it.seekLT(it.scratch)
	}
	it.leave()
	return it.settle()
}

// key is that at the iterator's position, and good until it moves.
func (it *iterator) key() []byte { return it.iters[it.at].key() }

// value is that at the iterator's position, and good until it moves.
func (it *iterator) value() ([]byte, error) {
	if b, ok := it.iters[it.at].(*bufferIterator); ok {
		return b.value(), nil
	}
	return it.below.ValueAndErr()
}

// leave moves all layers that stand on the present key past it.
func (it *iterator) leave() { it.pass(it.at) }

// pass moves a layer, and all that stand on the same key, past it.
func (it *iterator) pass(at int) {
	key := it.iters[at].key()
	for i, layer := range it.iters {
		if i != at && layer.valid() && bytes.Equal(layer.key(), key) {
			it.step(layer)
		}
	}
	it.step(it.iters[at])
}

func (it *iterator) step(layer layerIterator) {
	if it.backward {
		layer.prev()
	} else {
		layer.next()
	}
}

// settle finds the next key in the present direction that no layer above has deleted,
// from where the layers stand.
func (it *iterator) settle() bool {
	for {
		at := it.nearest()
		if at < 0 {
			it.at = -1
			return false
		}
		if it.skipDeleted(at) {
			continue
		}
		if b, ok := it.iters[at].(*bufferIterator); ok && b.value() == nil {
			it.pass(at)
			continue
		}
		it.at = at
		return true
	}
}

// nearest is the layer whose key comes next, and of those on one key the newest; -1 if
// there is none, or the database has failed.
func (it *iterator) nearest() int {
	at := -1
	var nearest []byte
	for i, layer := range it.iters {
		if !layer.valid() {
			continue
		}
		key := layer.key()
		if at >= 0 {
			if order := bytes.Compare(key, nearest); order == 0 || (order < 0) == it.backward {
				continue
			}
		}
		at, nearest = i, key
	}
	if it.err() != nil {
		return -1
	}
	return at
}

// skipDeleted moves the layer past a span above it that its key lies in, and reports
// whether there is one.
func (it *iterator) skipDeleted(at int) bool {
	layer := it.iters[at]
	for _, b := range it.deleted[at] {
		s, covered := b.covering(layer.key())
		if !covered {
			continue
		}
		if it.backward {
			layer.seekLT(s.start)
		} else {
			layer.seekGE(s.end)
		}
		return true
	}
	return false
}

// bufferIterator walks a buffer.
type bufferIterator struct {
	iter btree.IterG[entry]
	ok   bool
}

func (b *bufferIterator) seekGE(key []byte) { b.ok = b.iter.Seek(deletedEntry(key)) }

func (b *bufferIterator) seekLT(key []byte) {
	if b.iter.Seek(deletedEntry(key)) {
		b.ok = b.iter.Prev()
	} else {
		b.ok = b.iter.Last()
	}
}

func (b *bufferIterator) next()       { b.ok = b.iter.Next() }
func (b *bufferIterator) prev()       { b.ok = b.iter.Prev() }
func (b *bufferIterator) valid() bool { return b.ok }

func (b *bufferIterator) key() []byte {
	e := b.iter.Item()
	return e.key()
}

// value is nil for a key that is deleted.
func (b *bufferIterator) value() []byte {
	e := b.iter.Item()
	return e.value()
}

// databaseIterator walks the database.
type databaseIterator struct{ iter *pebble.Iterator }

func (d databaseIterator) seekGE(key []byte) { d.iter.SeekGE(key) }
func (d databaseIterator) seekLT(key []byte) { d.iter.SeekLT(key) }
func (d databaseIterator) next()             { d.iter.Next() }
func (d databaseIterator) prev()             { d.iter.Prev() }
func (d databaseIterator) valid() bool       { return d.iter.Valid() }
func (d databaseIterator) key() []byte       { return d.iter.Key() }

// frozen is a state that is kept while the generation goes on.
type frozen struct {
	layers
	snapshot *pebble.Snapshot
}

// freeze keeps the present state until close.
func (g *generation) freeze() *frozen {
	g.mu.Lock()
	defer g.mu.Unlock()
	snapshot := g.db.NewSnapshot()
	return &frozen{layers{g.layered(), snapshot}, snapshot}
}

func (f *frozen) close() error { return f.snapshot.Close() }

// get returns a copy of a value, or nil if there is none.
func (f *frozen) get(key []byte) ([]byte, error) {
	it, err := f.iterate()
	if err != nil {
		return nil, err
	}
	value, err := it.find(key)
	return bytes.Clone(value), wrapPebble(errors.Join(err, it.close()))
}
