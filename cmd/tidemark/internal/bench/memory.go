package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
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
	var m Memory
	err := get(ctx, address, "/metrics", func(r io.Reader) error {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(r)
		if err != nil {
			return err
		}
		for name, into := range map[string][]*int64{
			"go_memstats_heap_alloc_bytes":  {&m.Live},
			"go_memstats_stack_inuse_bytes": {&m.Live},
			"process_resident_memory_bytes": {&m.Resident},
		} {
			value, err := gauge(families, name)
			if err != nil {
				return err
			}
			for _, sum := range into {
				*sum += value
			}
		}
		return nil
	})
	return m, err
}

func gauge(families map[string]*dto.MetricFamily, name string) (int64, error) {
	family := families[name]
	if family == nil || len(family.GetMetric()) != 1 {
		return 0, fmt.Errorf("the node has no metric %s", name)
	}
	return int64(family.GetMetric()[0].GetGauge().GetValue()), nil
}

// get hands the body of a successful answer to use.
func get(ctx context.Context, address, path string, use func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s answers %s", address, path, reply.Status)
	}
	return use(reply.Body)
}
