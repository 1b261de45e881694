//go:build linux

package run

import (
	"context"
	"sync"
	"time"

	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
)

const (
	// sampleInterval is how often nodes are asked how they are, sampleTimeout how long
	// they may take to answer.
	sampleInterval = time.Second
	sampleTimeout  = 900 * time.Millisecond
)

// sample asks all nodes how they are until ctx ends, and lets clients know of those
// that came and went.
func (r *run) sample(ctx context.Context) {
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	for {
		if err := r.openDoors(); err != nil {
			r.Logger.Warn("a door to a new node stays closed", "error", err)
		}
		var group sync.WaitGroup
		for _, n := range r.host.Nodes() {
			if n.Running() && !n.Paused() {
				group.Go(func() { r.sampleNode(ctx, n) })
			}
		}
		group.Wait()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *run) sampleNode(ctx context.Context, n host.Node) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	at := r.recorder.Now()
	status, err := r.host.Status(ctx, n.ID())
	if err != nil {
		return
	}
	s := history.Sample{
		At: at, Node: string(n.ID()), AppliedIndex: status.GetAppliedIndex(), CommitIndex: status.GetCommitIndex(),
		Term: status.GetTerm(), Leader: status.GetLeaderId(),
	}
	if stats, err := n.Stats(ctx); err == nil {
		s.MemoryBytes, s.Goroutines, s.FileDescriptors = stats.MemoryBytes, stats.Goroutines, stats.FileDescriptors
	}
	r.recorder.Sample(s)
}
