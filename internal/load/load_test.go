package load

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// In an open loop a call that has to wait for a caller is late from when it was to begin.
func TestOpenLoopCountsTheWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := Load{Callers: 1, Rate: 100, Duration: time.Second}
		m, err := load.Run(t.Context(), func(context.Context, int) error {
			time.Sleep(20 * time.Millisecond) // twice as long as there is time for
			return nil
		}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		// All 100 calls that were to begin are made, the last one a second late.
		if m.Calls != 100 || m.Latency.Max < 990*time.Millisecond || m.Latency.P50 < 450*time.Millisecond || m.Latency.P50 > 550*time.Millisecond {
			t.Errorf("%+v", m)
		}
		// They take two seconds, and the rate is that of calls which ended.
		if m.Lasted != 2*time.Second || m.PerSecond != 50 || len(m.Seconds) != 3 {
			t.Errorf("%+v", m)
		}
	})
}

// Calls of each kind are measured for themselves, and all together.
func TestKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := Load{Callers: 2, Duration: 2 * time.Second}
		all, each, err := load.RunKinds(t.Context(), 3, func(_ context.Context, caller int) (int, error) {
			time.Sleep(time.Duration(1+9*caller)*time.Millisecond + time.Microsecond)
			return caller, nil
		}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(each) != 3 || each[0].Calls+each[1].Calls != all.Calls || each[2].Calls != 0 || len(each[2].Seconds) != 2 {
			t.Fatalf("%+v", each)
		}
		if each[0].Latency.Max > 2*time.Millisecond || each[1].Latency.P50 < 9*time.Millisecond || all.Latency.Max < 9*time.Millisecond {
			t.Errorf("%+v %+v", all, each)
		}
	})
}

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		mark := func() error {
			at = append(at, time.Since(start))
			return nil
		}
		load := Load{Callers: 4, Warmup: time.Second, Duration: 2 * time.Second}
		m, err := load.Run(t.Context(), func(context.Context, int) error {
			time.Sleep(9 * time.Millisecond)
			return nil
		}, mark, mark)
		if err != nil {
			t.Fatal(err)
		}
		if m.PerSecond < 430 || m.PerSecond > 450 || m.Latency.P99 < 8*time.Millisecond || m.Latency.Max > 10*time.Millisecond {
			t.Errorf("%+v", m)
		}
		if len(at) != 2 || at[0] != time.Second || at[1] != 3*time.Second {
			t.Errorf("told at %v", at)
		}
	})
}

// There is no rate of calls that failed, also if that was in the warm-up.
func TestNoRateOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, late := range []time.Duration{0, 1500 * time.Millisecond} {
			start := time.Now()
			load := Load{Callers: 2, Warmup: time.Second, Duration: time.Second}
			_, err := load.Run(t.Context(), func(context.Context, int) error {
				time.Sleep(10 * time.Millisecond)
				if since := time.Since(start); since >= late && since < late+100*time.Millisecond {
					return errors.New("no leader")
				}
				return nil
			}, nil, nil)
			var failed *FailedError
			if !errors.As(err, &failed) || failed.Failed == 0 || failed.Calls < 300 || failed.Failed > 20 || !strings.Contains(err.Error(), "no leader") {
				t.Errorf("failures after %v: %v", late, err)
			}
		}
	})
}
