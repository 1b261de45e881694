//go:build !race

package fsm

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// What an append costs in counts that do not depend on the machine, as recorded when they
// were last changed on purpose. Less is to be recorded too, so that it stays so.
const (
	recordedAllocationsPerAppend = 6.81
	// recordedLogBytesPerAppend is what an append of 256 bytes takes in the data of an entry.
	recordedLogBytesPerAppend = 345.2
)

func TestAppendCosts(t *testing.T) {
	store, err := pebblestore.Open(storetest.Dir, storetest.Options(t, vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	machine := New(store, Options{Fatal: func(err error) { panic(err) }})
	random := rand.New(rand.NewPCG(1, 2))
	index, size := uint64(0), 0
	// Most timelines are there, as they are in a cluster that runs, before anything is counted.
	for range 200 {
		index++
		machine.ApplyBatch([]tidemark.Entry{benchEntry(random, index)})
	}
	const runs = 200
	prepared := make([][]tidemark.Entry, runs+1)
	for i := range prepared {
		index++
		prepared[i] = []tidemark.Entry{benchEntry(random, index)}
		size += len(prepared[i][0].Data)
	}
	next := 0
	allocations := testing.AllocsPerRun(runs, func() {
		machine.ApplyBatch(prepared[next])
		next++
	})
	storetest.Guard(t, "allocations of an append that is applied", allocations/benchCommands, recordedAllocationsPerAppend)
	storetest.Guard(t, "bytes of the log for an append of 256 bytes", float64(size)/float64(len(prepared)*benchCommands), recordedLogBytesPerAppend)
}
