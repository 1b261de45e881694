//go:build !race

package pebblestore_test

import (
	"testing"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// What a read and a write cost in counts that do not depend on the machine, as recorded when
// they were last changed on purpose.
const (
	recordedAllocationsPerRead   = 0.12
	recordedFlushedBytesPerWrite = 403.6
)

func TestReadAndWriteCosts(t *testing.T) {
	s, err := pebblestore.Open(t.TempDir()+"/store", pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const timelines, batches = 10, 40
	f := newFeeder(timelines)
	f.batch(t, s, benchBatch)
	written := func() float64 {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		m := s.Metrics()
		return float64(m.LogBytesWritten + m.FlushedBytes)
	}
	before := written()
	for range batches {
		f.batch(t, s, benchBatch)
	}
	storetest.Guard(t, "bytes that are flushed for a message of 256 bytes", (written()-before)/float64(batches*benchBatch), recordedFlushedBytesPerWrite)
	r := tidemark.Range{Timeline: f.names[0], Start: tidemark.StartNewest, Direction: tidemark.Backward, Limit: 100, MaxBytes: 1 << 20}
	allocations := testing.AllocsPerRun(100, func() {
		if page, err := s.Read(r); err != nil || len(page.Messages) != 100 {
			t.Fatal(len(page.Messages), err)
		}
	})
	storetest.Guard(t, "allocations of a message that is read in a page of 100", allocations/100, recordedAllocationsPerRead)
}
