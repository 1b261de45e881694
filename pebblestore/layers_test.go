package pebblestore

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// keyed is what layers should hold.
type keyed map[string]string

func (k keyed) sorted() []string { return slices.Sorted(maps.Keys(k)) }

// TestLayers makes the same random writes to layers and to a map, has buffers become
// flushed in between, and walks the layers in both directions, from everywhere. States
// that were frozen stay as they were.
func TestLayers(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 77))
			fs := vfs.NewMem()
			s, err := Open("store", Options{FS: fs, MemTableBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			g := s.gen
			model := initial(t, g)
			var kept []*frozen
			var models []keyed
			for range 60 {
				writeSome(rng, g, model)
				switch rng.IntN(8) {
				case 0:
					g.mu.Lock()
					if g.flushing == nil {
						g.rotate()
					}
					g.mu.Unlock()
				case 1:
					g.flushAll()
				case 2:
					kept, models = append(kept, g.freeze()), append(models, maps.Clone(model))
				}
				same(t, rng, g.iterate, model)
			}
			for i, state := range kept {
				same(t, rng, state.iterate, models[i])
				if err := state.close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// initial is what a store holds when it is made.
func initial(t *testing.T, g *generation) keyed {
	t.Helper()
	model := keyed{}
	iter, err := g.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer iter.Close()
	for ok := iter.First(); ok; ok = iter.Next() {
		model[string(iter.Key())] = string(iter.Value())
	}
	return model
}

// randomKey has few values, so that layers meet; some are others with zeros behind them.
func randomKey(rng *rand.Rand) []byte {
	key := []byte(fmt.Sprintf("\x04key %02d of the table", rng.IntN(40)))
	return append(key[:4+rng.IntN(len(key)-3)], make([]byte, rng.IntN(3))...)
}

// writeSome commits some writes and heads, and the applied record that each batch has.
func writeSome(rng *rand.Rand, g *generation, model keyed) {
	var w writes
	for range 1 + rng.IntN(6) {
		key := randomKey(rng)
		switch rng.IntN(6) {
		case 0:
			w.delete(key)
			delete(model, string(key))
		case 1:
			end := randomKey(rng)
			w.deleteRange(key, end)
			maps.DeleteFunc(model, func(k, _ string) bool { return k >= string(key) && k < string(end) })
		default:
			value := make([]byte, rng.IntN(3))
			w.set(key, value)
			model[string(key)] = string(value)
		}
	}
	for _, number := range rng.Perm(5)[:rng.IntN(4)] {
		h := tidemark.Head{Timeline: tidemark.TimelineID(fmt.Sprint("t", number)), Number: uint64(number), First: 1, Last: tidemark.SeqID(rng.IntN(300))}
		w.heads = append(w.heads, h)
		model[string(appendHeadKey(nil, h.Timeline))] = string(appendHead(nil, &h))
	}
	w.set(keyApplied, []byte(model[string(keyApplied)]))
	g.commit(&w)
}

// same compares what an iterator shows with the model.
func same(t *testing.T, rng *rand.Rand, iterate func() (*iterator, error), model keyed) {
	t.Helper()
	it, err := iterate()
	if err != nil {
		t.Fatal(err)
	}
	defer it.close()
	all := model.sorted()
	var walked []string
	for ok := it.seekGE(nil); ok; ok = it.next() {
		value, err := it.value()
		if err != nil || string(value) != model[string(it.key())] {
			t.Fatalf("value of %q: %q, %v; want %q", it.key(), value, err, model[string(it.key())])
		}
		walked = append(walked, string(it.key()))
	}
	if !slices.Equal(walked, all) {
		t.Fatalf("walked %q, want %q", walked, all)
	}
	for range 10 {
		key := randomKey(rng)
		value, err := it.find(key)
		if want, there := model[string(key)]; err != nil || (value != nil) != there || string(value) != want {
			t.Fatalf("%q: found %q, %v; want %q, %v", key, value, err, want, there)
		}
		wander(t, rng, it, all, key)
	}
}

// wander goes to and fro from a key.
func wander(t *testing.T, rng *rand.Rand, it *iterator, all []string, key []byte) {
	t.Helper()
	at, _ := slices.BinarySearch(all, string(key))
	ok := false
	if rng.IntN(2) == 0 {
		ok = it.seekGE(key)
	} else {
		at--
		ok = it.seekLT(key)
	}
	for range 12 {
		if want := at >= 0 && at < len(all); ok != want || ok && !bytes.Equal(it.key(), []byte(all[at])) {
			t.Fatalf("at %d of %q: stands %v", at, all, ok)
		}
		if !ok {
			return
		}
		if rng.IntN(3) == 0 {
			at--
			ok = it.prev()
		} else {
			at++
			ok = it.next()
		}
	}
}

// TestFlushIsWhole: the database has all of what was committed, or nothing, whatever is
// committed meanwhile; and what a view saw before a flush it sees after it.
func TestFlushIsWhole(t *testing.T) {
	s, err := Open("store", Options{FS: vfs.NewMem(), MemTableBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := s.gen
	record := initial(t, g)[string(keyApplied)]
	key := func(i int) []byte { return []byte(fmt.Sprintf("\x04%05d", i)) }
	for i := range 400 {
		var w writes
		w.set(key(2*i), make([]byte, 100))
		w.set(key(2*i+1), make([]byte, 100))
		w.set(keyApplied, []byte(record))
		g.commit(&w)
		it, err := g.db.NewIter(&pebble.IterOptions{LowerBound: []byte{4}})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
		if err := it.Close(); err != nil || n%2 != 0 || n > 2*i+2 {
			t.Fatalf("the database has %d keys of %d: %v", n, 2*i+2, err)
		}
	}
}

// TestHeadsAreWrittenOver: heads that are put again take no more memory while nobody has a copy
// of the buffer, and what they take is counted; a buffer that is flushed has let go of where they are.
func TestHeadsAreWrittenOver(t *testing.T) {
	const timelines = 1000
	b := newBuffer()
	put := func(last tidemark.SeqID) (grown int) {
		before := b.bytes
		var w writes
		for number := range uint64(timelines) {
			w.heads = append(w.heads, tidemark.Head{Timeline: tidemark.TimelineID(fmt.Sprintf("t%03d", number)), Number: 1000 + number, First: 1, Last: last})
		}
		b.apply(&w)
		return b.bytes - before
	}
	data := len(appendHead([]byte("\x03t000"), &tidemark.Head{Number: 1000, First: 1, Last: 1}))
	if got, want := put(1), timelines*(data+entryOverhead+headOverhead); got != want {
		t.Errorf("new heads are counted as %d bytes, want %d", got, want)
	}
	if got := put(2); got != 0 {
		t.Errorf("heads that are put again take %d bytes more", got)
	}
	b.freeze()
	if got, want := put(3), timelines*data; got != want {
		t.Errorf("heads of which there is a copy take %d bytes more, want %d", got, want)
	}
	if got := put(4); got != 0 {
		t.Errorf("heads that are put again behind the copy take %d bytes more", got)
	}
	g := &buffers{active: b}
	g.rotate()
	if g.flushing != b || b.heads != nil || g.active.heads == nil {
		t.Error("the buffer that is flushed keeps where its heads are, or the next one has no place for them")
	}
}

// TestHeadOf: heads are in the order of keys, also of those that no store has.
func TestHeadOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	random := func() []byte {
		key := make([]byte, rng.IntN(30))
		for i := range key {
			key[i] = []byte{0, 0, 0, 1, 4, 255}[rng.IntN(6)]
		}
		if len(key) > 0 {
			key[0] = byte(rng.IntN(int(tableEnd) + 1))
		}
		return key
	}
	for range 200_000 {
		a, b := random(), random()
		if rng.IntN(2) == 0 {
			b = append(slices.Clone(a[:rng.IntN(len(a)+1)]), b...)
		}
		if less := lessEntry(deletedEntry(a), deletedEntry(b)); less != (bytes.Compare(a, b) < 0) {
			t.Fatalf("%x before %x: %v", a, b, less)
		}
	}
}
