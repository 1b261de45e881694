package raftnode

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tidemark/raftnode/logstore"
)

// BenchmarkPropose has callers propose commands of 256 bytes to three nodes of one
// process, each with its log on the disk, one proposal at a time per caller.
func BenchmarkPropose(b *testing.B) {
	for _, kind := range []logstore.Kind{logstore.WAL, logstore.BoltDB} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind, callers), func(b *testing.B) {
				c := newCluster(b, kind, 3, nil)
				leader := c.leader()
				command := make([]byte, 256)
				command[0] = 1
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for range callers {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := leader.Propose(context.Background(), command); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			})
		}
	}
}

// BenchmarkFollowerRead is a linearizable read on a follower right after a write:
// it waits until the follower has learned that the write is committed.
func BenchmarkFollowerRead(b *testing.B) {
	defaults := DefaultConfig()
	c := newCluster(b, logstore.WAL, 3, func(cfg *Config) { cfg.CommitTimeout = defaults.CommitTimeout })
	leader := c.leader()
	follower := c.followers(leader)[0]
	var waited time.Duration
	for b.Loop() {
		if _, err := leader.Propose(context.Background(), []byte("x")); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		index, err := follower.ReadIndex(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if err := follower.WaitApplied(context.Background(), index); err != nil {
			b.Fatal(err)
		}
		waited += time.Since(start)
	}
	b.ReportMetric(float64(waited.Microseconds())/float64(b.N), "µs/read")
}
