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

// metrics are those of a node at one moment, by name.
type metrics map[string]*dto.MetricFamily

// readMetrics asks the node at the HTTP address.
func readMetrics(ctx context.Context, address string) (m metrics, err error) {
	err = get(ctx, address, "/metrics", func(r io.Reader) (err error) {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		m, err = parser.TextToMetricFamilies(r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", address, err)
	}
	return m, nil
}

// value is that of a metric without labels; of a histogram, how many values it has seen.
func (m metrics) value(name string) (float64, error) {
	family := m[name]
	if family == nil || len(family.GetMetric()) != 1 {
		return 0, fmt.Errorf("the node has no metric %s", name)
	}
	metric := family.GetMetric()[0]
	switch {
	case metric.GetCounter() != nil:
		return metric.GetCounter().GetValue(), nil
	case metric.GetHistogram() != nil:
		return float64(metric.GetHistogram().GetSampleCount()), nil
	}
	return metric.GetGauge().GetValue(), nil
}

// sum adds the values of several metrics.
func (m metrics) sum(names ...string) (sum float64, err error) {
	for _, name := range names {
		value, err := m.value(name)
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
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
