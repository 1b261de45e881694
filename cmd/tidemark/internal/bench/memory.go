package bench

import (
	"context"
	"io"
)

// Memory is what a node's process holds.
type Memory struct {
	// Live is what a garbage collection leaves of the heap, and stacks; Resident is what
	// the operating system counts.
	Live     int64 `json:"live_bytes"`
	Resident int64 `json:"resident_bytes"`
}

// collections is how often the node is made to collect garbage before it is measured:
// what a finalizer or a pool holds goes with the second.
const collections = 2

// readMemory makes the node at the HTTP address collect its garbage, and reads its metrics.
func readMemory(ctx context.Context, address string) (Memory, error) {
	for range collections {
		if err := get(ctx, address, "/debug/pprof/heap?gc=1", func(r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		}); err != nil {
			return Memory{}, err
		}
	}
	m, err := readMetrics(ctx, address)
	if err != nil {
		return Memory{}, err
	}
	live, err := m.sum("go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes")
	if err != nil {
		return Memory{}, err
	}
	resident, err := m.value(metricResident)
	return Memory{Live: int64(live), Resident: int64(resident)}, err
}
