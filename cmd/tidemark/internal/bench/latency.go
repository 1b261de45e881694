package bench

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
}

// longest is the largest latency that is told apart from larger ones.
const longest = 5 * time.Minute

// histogram gathers latencies, in microseconds with three digits.
type histogram struct{ *hdrhistogram.Histogram }

func newHistogram() histogram {
	return histogram{hdrhistogram.New(1, longest.Microseconds(), 3)}
}

// record takes what is less than a microsecond for one.
func (h histogram) record(d time.Duration) {
	// It fails only for what is out of range.
	_ = h.RecordValue(min(max(d.Microseconds(), 1), longest.Microseconds()))
}

func (h histogram) latency() Latency {
	at := func(percentile float64) time.Duration {
		return time.Duration(h.ValueAtPercentile(percentile)) * time.Microsecond
	}
	return Latency{
		Count: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: time.Duration(h.Max()) * time.Microsecond,
	}
}
