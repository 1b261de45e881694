package pebblestore

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// The filter denies no id that was added, under any number, and nearly all others, also when
// it has grown.
func TestIDFilter(t *testing.T) {
	const ids = 200_000
	f := newIDFilter(32 << 20)
	f.complete.Store(true)
	id := func(i int) tidemark.MessageID { return tidemark.MessageID(fmt.Sprintf("message-%08d", i)) }
	for i := range ids {
		f.add(uint64(i%7), id(i))
	}
	vain := 0
	for i := range ids {
		if !f.mayHave(uint64(i%7), id(i)) {
			t.Fatalf("%s is denied", id(i))
		}
		if f.mayHave(uint64(i%7+1), id(i)) {
			vain++
		}
		if f.mayHave(uint64(i%7), id(ids+i)) {
			vain++
		}
	}
	if vain > 2*ids/50 || len(*f.parts.Load()) != 2 {
		t.Errorf("%d of %d ids that are not there were not denied, by %d parts", vain, 2*ids, len(*f.parts.Load()))
	}
}

// Ids of before an Open are found after it, while the filter is filled and when it is full.
func TestIDFilterAfterOpen(t *testing.T) {
	const messages = 3000
	fs := vfs.NewMem()
	o := DefaultOptions()
	o.FS, o.IDFilterBytes = fs, 16<<10
	for round := range 3 {
		s, err := Open("store", o)
		if err != nil {
			t.Fatal(err)
		}
		lookUp(t, s, round*messages)
		s.gen.loading.Wait()
		if !s.gen.ids.complete.Load() {
			t.Fatal("the filter is not complete")
		}
		lookUp(t, s, round*messages)
		b := s.NewBatch()
		h, found, err := b.Head("conv/1")
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			h = b.CreateTimeline("conv/1", 1)
		}
		for range messages {
			h.Last++
			m := tidemark.Message{Draft: tidemark.Draft{Timeline: "conv/1", ID: tidemark.MessageID(fmt.Sprint(h.Last))}, SeqID: h.Last}
			b.PutMessage(h.Number, &m, tidemark.ContentHash{})
		}
		b.PutHead(h)
		b.SetApplied(tidemark.Applied{Index: uint64(round + 1)})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		lookUp(t, s, (round+1)*messages)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// lookUp wants the first ids of conv/1, and no other.
func lookUp(t *testing.T, s *Store, there int) {
	t.Helper()
	b := s.NewBatch()
	defer b.Discard()
	for i := 1; i <= there+100; i++ {
		e, found, err := b.Lookup(1, tidemark.MessageID(fmt.Sprint(i)))
		if err != nil || found != (i <= there) || found && e.SeqID != tidemark.SeqID(i) {
			t.Fatalf("id %d of %d: %v, %v, %v", i, there, e, found, err)
		}
	}
}

// A filter that has no room denies less and less, never an id that was added, and is given up
// when it would deny hardly any. One without any room is off from the start.
func TestIDFilterFull(t *testing.T) {
	const limit = firstPartBytes + idBlockBytes // no room for a second part
	f := newIDFilter(limit)
	f.complete.Store(true)
	id := func(i int) tidemark.MessageID { return tidemark.MessageID(fmt.Sprintf("message-%08d", i)) }
	const sized = firstPartBytes / idBlockBytes * idsPerBlock
	for i := range sized + sized/3 {
		f.add(1, id(i))
	}
	vain := 0
	for i := range sized {
		if !f.mayHave(1, id(i)) {
			t.Fatalf("%s is denied", id(i))
		}
		if f.mayHave(1, id(-1-i)) {
			vain++
		}
	}
	if vain > sized/10 || f.bytes > limit {
		t.Errorf("%d of %d ids that are not there were not denied, by %d bytes", vain, sized, f.bytes)
	}
	for i := range sized {
		f.add(1, id(i))
	}
	if !f.off.Load() || !f.mayHave(1, id(-1)) {
		t.Error("the filter is not given up")
	}
	for _, none := range []int64{-1, 0, idBlockBytes - 1} {
		if f := newIDFilter(none); !f.mayHave(1, "a") || !f.off.Load() {
			t.Errorf("a filter of %d bytes is not off", none)
		}
	}
}
