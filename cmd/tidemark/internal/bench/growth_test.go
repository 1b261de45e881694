package bench

import (
	"reflect"
	"testing"
)

// How far clusters are grown: with messages, timelines grow; the others stay as large as they are.
func TestClusters(t *testing.T) {
	c := GrowthConfig{
		Messages: []int{10_000, 1_000_000, 10_000_000}, Timelines: []int{1, 1000, 1_000_000}, Payloads: []int{16, 4096, 65536}, Tails: []int{0, 100_000},
		Payload: 16, FixedMessages: 1_000_000, FixedBytes: 64 << 20,
	}
	for dimension, want := range map[string][][]size{
		GrowMessages: {{
			{timelines: 1000, each: 10, payload: 16, long: true}, {timelines: 100_000, each: 10, payload: 16, long: true}, {timelines: 1_000_000, each: 10, payload: 16, long: true},
		}},
		GrowTimelines: {
			{{timelines: 1, each: 1_000_000, payload: 16, long: true}}, {{timelines: 1000, each: 1000, payload: 16, long: true}}, {{timelines: 1_000_000, each: 1, payload: 16, long: true}},
		},
		GrowPayloads: {
			{{timelines: 100, each: 1000, payload: 16, long: true}}, {{timelines: 100, each: 163, payload: 4096, long: true}}, {{timelines: 100, each: 10, payload: 65536, long: true}},
		},
		GrowTails: {{{timelines: 1000, each: 100, payload: 16}, {timelines: 1000, each: 100, payload: 16, tails: 100_000}}},
	} {
		if got := c.clusters(dimension); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", dimension, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 10_000_000: "10,000,000"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
