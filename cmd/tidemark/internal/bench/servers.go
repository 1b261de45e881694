package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// ServerUse is what all nodes together used for what was measured.
type ServerUse struct {
	// Processor is the time on processors for each message, of all nodes.
	Processor time.Duration `json:"processor_ns_per_message"`
	// Memory is the resident memory of the largest node at the end.
	Memory int64 `json:"resident_bytes_of_largest_node"`
}

// serverSample is what the nodes' metrics say at one moment.
type serverSample struct {
	processor time.Duration
	memory    int64
}

func (s serverSample) since(before serverSample, messages int64) ServerUse {
	return ServerUse{Processor: (s.processor - before.processor) / time.Duration(max(messages, 1)), Memory: s.memory}
}

func sampleServers(ctx context.Context, addresses []string) (s serverSample, err error) {
	for _, address := range addresses {
		err := get(ctx, address, "/metrics", func(r io.Reader) error {
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(r)
			if err != nil {
				return err
			}
			seconds, err := value(families, "process_cpu_seconds_total")
			if err != nil {
				return err
			}
			resident, err := value(families, "process_resident_memory_bytes")
			s.processor += time.Duration(seconds * float64(time.Second))
			s.memory = max(s.memory, int64(resident))
			return err
		})
		if err != nil {
			return s, fmt.Errorf("metrics of %s: %w", address, err)
		}
	}
	return s, nil
}

// value is that of a metric without labels.
func value(families map[string]*dto.MetricFamily, name string) (float64, error) {
	family := families[name]
	if family == nil || len(family.GetMetric()) == 0 {
		return 0, fmt.Errorf("there is no %s", name)
	}
	m := family.GetMetric()[0]
	if m.GetCounter() != nil {
		return m.GetCounter().GetValue(), nil
	}
	return m.GetGauge().GetValue(), nil
}
