package pebblestore_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// TestMetamorphic does the same random operations under options that change how
// things are kept but never what is answered: the model's answer.
func TestMetamorphic(t *testing.T) {
	small := func(o *pebblestore.Options) { o.MemTableBytes, o.BlockCacheBytes = 16<<10, 0 }
	variants := map[string]func(*pebblestore.Options){
		"default":        func(*pebblestore.Options) {},
		"small":          small,
		"no filter":      func(o *pebblestore.Options) { small(o); o.BloomBitsPerKey = 0 },
		"no head cache":  func(o *pebblestore.Options) { small(o); o.HeadCacheEntries = 0 },
		"tiny caches":    func(o *pebblestore.Options) { small(o); o.HeadCacheEntries, o.MaxOpenFiles = 3, 1 },
		"no compression": func(o *pebblestore.Options) { small(o); o.Compression = pebblestore.CompressionNone },
		"compression":    func(o *pebblestore.Options) { small(o); o.Compression = pebblestore.CompressionBalanced },
	}
	for name, change := range variants {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				metamorph(t, seed, change)
			}
		})
	}
}

func metamorph(t *testing.T, seed uint64, change func(*pebblestore.Options)) {
	c := chance{rand.New(rand.NewPCG(seed, 1))}
	o := storetest.Options(t, vfs.NewMem())
	change(&o)
	s := storetest.OpenAt(t, storetest.Dir, o)
	m := newModel()
	for range 200 {
		switch n := c.IntN(100); {
		case n < 40:
			m = c.batch(t, s, m)
		case n < 73:
			m.sameRange(t, s, c.rangeOf(c.timeline()))
		case n < 75:
			m.samePull(t, s, c.pull())
		case n < 80:
			m.sameMessage(t, s, c.timeline(), tidemark.SeqID(c.IntN(60)))
		case n < 90:
			if id := c.timeline(); m.timelines[id] != nil {
				m.sameCursors(t, s, id, tidemark.SeqID(c.IntN(20)), tidemark.ReaderID("rr"[:c.IntN(3)]), 1+c.IntN(3))
			}
			m.sameReader(t, s, c.reader(), uint64(c.IntN(4)), 1+c.IntN(3))
		case n < 94:
			if err := s.Sync(); err != nil || s.DurableIndex() != m.applied.Index {
				t.Fatalf("sync: %v, durable %d; want %d", err, s.DurableIndex(), m.applied.Index)
			}
		case n < 97:
			mustClose(t, s)
			s = storetest.OpenAt(t, storetest.Dir, o)
		default:
			m.applied = transfer(t, s, s)
		}
	}
	m.same(t, s)
}

// sameMessage compares both ways to get one message.
func (m *model) sameMessage(t *testing.T, s *pebblestore.Store, id tidemark.TimelineID, seq tidemark.SeqID) {
	t.Helper()
	line := m.timelines[id]
	got, _, err := s.Get(id, seq)
	switch {
	case line == nil:
		if !errors.Is(err, tidemark.ErrTimelineNotFound) {
			t.Fatalf("get %s %d: got %v, want ErrTimelineNotFound", id, seq, err)
		}
		return
	case seq < 1 || seq > line.head.Last:
		if !errors.Is(err, tidemark.ErrMessageNotFound) {
			t.Fatalf("get %s %d: got %v, want ErrMessageNotFound", id, seq, err)
		}
		return
	}
	want := line.messages[seq-1]
	byID, _, errByID := s.GetByID(id, want.ID)
	if err := errors.Join(err, errByID); err != nil || got.Digest != want.Digest || byID.Digest != want.Digest {
		t.Fatalf("get %s %d: got %+v and, by id, %+v, %v; want %+v", id, seq, got, byID, err, want)
	}
}

// transfer installs a snapshot of one store in another, and returns its applied record.
func transfer(t *testing.T, from, to *pebblestore.Store) tidemark.Applied {
	t.Helper()
	snapshot, err := from.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	in, err := to.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(in, snapshot); err != nil || n != snapshot.Size() {
		t.Fatalf("copied %d of %d bytes: %v", n, snapshot.Size(), err)
	}
	applied, err := in.Finish()
	if err := errors.Join(err, to.Install(in), in.Abort(), snapshot.Close()); err != nil {
		t.Fatal(err)
	}
	return applied
}
