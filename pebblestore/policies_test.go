package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// allowed says, message by message, whether the policy lets it go: the definition.
func allowed(p *tidemark.Policy, messages []tidemark.Message, i int, cursors map[tidemark.ReaderID]tidemark.SeqID, now tidemark.Time) bool {
	newer, bytes := uint64(len(messages)-i-1), uint64(0)
	for _, m := range messages[i+1:] {
		bytes += uint64(m.Size())
	}
	m := &messages[i]
	ok := !p.Empty() && newer >= p.KeepAtLeast
	ok = ok && (p.MaxAge == 0 || m.ServerTime < now-tidemark.Time(p.MaxAge))
	ok = ok && (p.MaxMessages == 0 || newer >= p.MaxMessages)
	ok = ok && (p.MaxBytes == 0 || bytes >= p.MaxBytes)
	for _, reader := range p.AckedBy {
		ok = ok && cursors[reader] >= m.SeqID
	}
	if p.AckedByAll {
		ok = ok && len(cursors) > 0
		for _, delivered := range cursors {
			ok = ok && delivered >= m.SeqID
		}
	}
	return ok
}

// A policy keeps what the definition keeps, whatever the conditions, the cursors and what
// was trimmed before.
func TestTrimPoint(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	for round := range 200 {
		s, err := pebblestore.Open(storetest.Dir, storetest.Options(t, vfs.NewMem()))
		if err != nil {
			t.Fatal(err)
		}
		cursors := map[tidemark.ReaderID]tidemark.SeqID{}
		b := s.NewBatch()
		count := 1 + random.IntN(30)
		for i := range count {
			d := draft("conv/1", fmt.Sprint("m", i), string(make([]byte, random.IntN(50))))
			if _, _, err := appendDraft(b, d, tidemark.Time(i*1000+random.IntN(900))*tidemark.Time(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range random.IntN(3) {
			reader := tidemark.ReaderID(fmt.Sprint("reader", i))
			delivered := tidemark.SeqID(random.IntN(count + 1))
			if _, err := acknowledge(b, "conv/1", reader, delivered, 0, 1); err != nil {
				t.Fatal(err)
			}
			cursors[reader] = delivered
		}
		h, _, err := b.Head("conv/1")
		if err != nil {
			t.Fatal(err)
		}
		if first := tidemark.SeqID(1 + random.IntN(count+1)); first > 1 && random.IntN(2) == 0 {
			if err := b.Trim(&h, first); err != nil {
				t.Fatal(err)
			}
			b.PutHead(h)
		}
		b.SetApplied(tidemark.Applied{Index: 1, Term: 1})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		page, err := s.Read(tidemark.Range{Timeline: "conv/1", Start: tidemark.StartSeq, Seq: 1, Limit: 1000, MaxBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			p := tidemark.Policy{}
			given := func() bool { return random.IntN(3) == 0 }
			if given() {
				p.MaxAge = time.Duration(random.IntN(30)) * time.Second
			}
			if given() {
				p.MaxMessages = random.Uint64N(35)
			}
			if given() {
				p.MaxBytes = random.Uint64N(1000)
			}
			if given() {
				p.KeepAtLeast = random.Uint64N(35)
			}
			p.AckedByAll = given()
			if given() {
				p.AckedBy = []tidemark.ReaderID{"reader0"}
			}
			now := tidemark.Time(random.IntN(40)) * tidemark.Time(time.Second)
			first, _, err := s.TrimPoint("conv/1", &p, now)
			if err != nil {
				t.Fatal(err)
			}
			want := h.First
			for i := range page.Messages {
				if !allowed(&p, page.Messages, i, cursors, now) {
					break
				}
				want++
			}
			if first != want {
				t.Fatalf("round %d: %+v at %v with %v trims to %d, want %d of %d to %d", round, p, now, cursors, first, want, h.First, h.Last)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
