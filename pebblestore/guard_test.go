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
	recordedAllocationsPerRead  = 0.13
	recordedLoggedBytesPerWrite = 466.0
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
	logged := func() float64 {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		return float64(s.Metrics().LogBytesWritten)
	}
	before := logged()
	for range batches {
		f.batch(t, s, benchBatch)
	}
	storetest.Guard(t, "bytes of the write-ahead log for a message of 256 bytes", (logged()-before)/float64(batches*benchBatch), recordedLoggedBytesPerWrite)
	r := tidemark.Range{Timeline: f.names[0], Start: tidemark.StartNewest, Direction: tidemark.Backward, Limit: 100, MaxBytes: 1 << 20}
	allocations := testing.AllocsPerRun(100, func() {
		if page, err := s.Read(r); err != nil || len(page.Messages) != 100 {
			t.Fatal(len(page.Messages), err)
		}
	})
	storetest.Guard(t, "allocations of a message that is read in a page of 100", allocations/100, recordedAllocationsPerRead)
}
