package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up how long something took.
type Latency struct {
	Count int64         `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
	// Curve holds the latency at each of CurvePercentiles, for a plot.
	Curve []time.Duration `json:"curve_ns,omitempty"`
}

// CurvePercentiles are those of Latency.Curve: denser towards 100, where the tail is.
func CurvePercentiles() []float64 {
	return []float64{0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 100}
}

// longest is the largest latency that is told apart from larger ones.
const longest = 5 * time.Minute

// Histogram gathers latencies, in microseconds with three digits. It is not safe for
// concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram returns an empty one.
func NewHistogram() Histogram {
	return Histogram{hdrhistogram.New(1, longest.Microseconds(), 3)}
}

// Record adds a latency. What is less than a microsecond counts as one.
func (h Histogram) Record(d time.Duration) {
	// It fails only for what is out of range.
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), longest.Microseconds()))
}

// Latency sums up what was recorded.
func (h Histogram) Latency() Latency {
	at := func(percentile float64) time.Duration {
		return time.Duration(h.h.ValueAtPercentile(percentile)) * time.Microsecond
	}
	l := Latency{
		Count: h.h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: time.Duration(h.h.Max()) * time.Microsecond,
	}
	for _, percentile := range CurvePercentiles() {
		l.Curve = append(l.Curve, at(percentile))
	}
	return l
}
