package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tidemark"
	"tidemark/pebblestore"
)

// What is trimmed gives its space back to the file system after some rounds of trims, of a
// store that is otherwise left alone.
func TestTrimsGiveSpaceBack(t *testing.T) {
	t.Parallel()
	const (
		timelines = 50
		messages  = 300
		size      = timelines * messages * 4 << 10
		rounds    = 6
		keep      = 30
		patience  = time.Minute
	)
	options := pebblestore.DefaultOptions()
	if options.TrimFlushDelay <= 0 {
		t.Error("by default, trims are not written to tables")
	}
	options.TrimFlushDelay = 100 * time.Millisecond
	s, err := pebblestore.Open(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	index := uint64(0)
	commit := func(b *pebblestore.Batch) {
		t.Helper()
		index++
		b.SetApplied(tidemark.Applied{Index: index, Term: 1})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	payload := make([]byte, 4<<10)
	for i := range messages {
		b := s.NewBatch()
		for n := range timelines {
			for at := range payload {
				payload[at] = byte(random.Uint32())
			}
			if _, _, err := appendDraft(b, draft(tidemark.TimelineID(fmt.Sprint("conv/", n)), fmt.Sprint("m", i), string(payload)), tidemark.Time(i)); err != nil {
				t.Fatal(err)
			}
		}
		commit(b)
	}
	waitFor := func(what string, holds func(pebblestore.Metrics) bool) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for tick := time.NewTicker(20 * time.Millisecond); !holds(s.Metrics()); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("not %s after %v: %+v", what, patience, s.Metrics())
			}
		}
	}
	trimTo := func(first int) {
		t.Helper()
		flushes := s.Metrics().Flushes
		for n := range timelines {
			b := s.NewBatch()
			head, _, err := b.Head(tidemark.TimelineID(fmt.Sprint("conv/", n)))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Trim(&head, tidemark.SeqID(first)); err != nil {
				t.Fatal(err)
			}
			b.PutHead(head)
			commit(b)
		}
		waitFor("flushed", func(m pebblestore.Metrics) bool { return m.Flushes > flushes })
	}
	for round := 1; round <= rounds; round++ {
		trimTo((messages-keep)*round/rounds + 1)
	}
	// How many rounds it takes until the next compaction depends on how they fell into tables.
	for first := messages - keep + 2; s.Metrics().TableBytes >= size/2 && first < messages; first++ {
		trimTo(first)
	}
	waitFor("given back", func(m pebblestore.Metrics) bool { return m.TableBytes < size/2 })
	t.Logf("of %d MiB, %d MiB were kept, and tables take %d MiB", size>>20, size*keep/messages>>20, s.Metrics().TableBytes>>20)
}
