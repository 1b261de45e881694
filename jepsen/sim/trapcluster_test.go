package sim

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"tidemark/fsm"
)

// trapCluster is a cluster of the server's floors that a trial injures by hand.
type trapCluster struct{ *Cluster }

func startForTrap(t *testing.T, o Options, dir string) trapCluster {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	s := trapCluster{newCluster(o, dir, rand.New(rand.NewPCG(o.Seed, 9)))}
	for _, n := range s.Nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// stop ends all goroutines, and reports what failed.
func (s trapCluster) stop(t *testing.T) {
	t.Helper()
	s.Network.Heal()
	for _, n := range s.Nodes {
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	}
	s.reaping.Wait()
	for _, err := range s.failures {
		t.Error(err)
	}
}

// leader waits for a node that takes proposals.
func (s trapCluster) leader(t *testing.T) *Node {
	t.Helper()
	for range 1000 {
		if n := s.Cluster.leader(); n != nil {
			if _, ok := s.try(n, time.Second); ok {
				return n
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no leader")
	return nil
}

// try proposes to a node, and returns the position that was acknowledged.
func (s trapCluster) try(n *Node, timeout time.Duration) (position uint64, ok bool) {
	p := n.running()
	if p == nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	proposal, err := p.raft.Propose(ctx, fsm.Noop{}.Encode())
	return uint64(proposal.Position), err == nil
}

// write has a write acknowledged by any node but one.
func (s trapCluster) write(t *testing.T, but *Node) (position uint64) {
	t.Helper()
	for range 1000 {
		for _, n := range s.Nodes {
			if p := n.running(); n == but || p == nil || !p.raft.IsLeader() {
				continue
			}
			if position, ok := s.try(n, time.Second); ok {
				return position
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no write was acknowledged")
	return 0
}
