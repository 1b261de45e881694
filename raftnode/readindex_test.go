package raftnode

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/logstore"
)

// gatedCluster is a cluster whose nodes' disks can be held up.
func gatedCluster(t *testing.T, n int) (*testCluster, map[string]*gate) {
	gates := map[string]*gate{}
	c := newCluster(t, logstore.WAL, n, func(cfg *Config) {
		g := &gate{}
		gates[cfg.NodeID] = g
		cfg.wrapLog = func(l raft.LogStore) raft.LogStore { return pausedLog{l, g} }
	})
	t.Cleanup(func() {
		for _, g := range gates {
			g.open()
		}
	})
	return c, gates
}

// pauseLeader stops the leader's main loop while it believes that it leads, has
// the others elect another and acknowledge a write, and connects the old one again.
func pauseLeader(t *testing.T, c *testCluster, gates map[string]*gate) (old *testNode, resume func()) {
	t.Helper()
	c.propose("before")
	old = c.leader()
	gates[old.id].close()
	old.ProposeAsync([]byte("stuck"))
	eventually(t, "the leader hangs", func() bool { return gates[old.id].waiting() > 0 })
	c.network.isolate(old.id)
	eventually(t, "another leads", func() bool {
		for _, node := range c.followers(old) {
			if node.IsLeader() {
				_, err := node.Propose(testContext(t), []byte("acknowledged by the next leader"))
				return err == nil
			}
		}
		return false
	})
	c.network.heal(old.id)
	if old.raft.State() != raft.Leader {
		t.Fatal("the paused leader has noticed")
	}
	return old, gates[old.id].open
}

// Trap 2: an ex-leader that was paused does not know that it was replaced, and
// must not answer a linearizable read.
func TestPausedLeaderServesNoReads(t *testing.T) {
	c, gates := gatedCluster(t, 3)
	old, resume := pauseLeader(t, c, gates)
	for range 20 {
		if index, err := old.ReadIndex(testContext(t)); !errors.Is(err, tidemark.ErrNoLeader) {
			t.Fatalf("the paused ex-leader gave the read index %d, %v", index, err)
		}
	}
	resume()
	c.agree()
}

func TestIsolatedLeaderServesNoReads(t *testing.T) {
	c, gates := gatedCluster(t, 3)
	c.propose("a")
	leader := c.leader()
	gates[leader.id].close() // so that it cannot even step down
	leader.ProposeAsync([]byte("stuck"))
	c.network.isolate(leader.id)
	if _, err := leader.ReadIndex(testContext(t)); !errors.Is(err, tidemark.ErrNoLeader) {
		t.Fatal(err)
	}
	gates[leader.id].open()
	c.network.heal(leader.id)
	c.agree()
}

func TestReadIndexNeedsOnlyAMajority(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	leader := c.leader()
	c.stop(c.followers(leader)[0].id)
	start := time.Now()
	for range 20 {
		if _, err := leader.ReadIndex(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("20 rounds waited %s for a dead member", took)
	}
}

func TestReadersShareRounds(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, func(cfg *Config) { cfg.ProbeInterval = time.Hour })
	c.propose("a")
	for _, node := range c.nodes {
		before := counterValue(t, node.metrics.readIndexRounds.WithLabelValues("leader")) +
			counterValue(t, node.metrics.readIndexRounds.WithLabelValues("follower"))
		const readers = 2000
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				if _, err := node.ReadIndex(testContext(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		rounds := counterValue(t, node.metrics.readIndexRounds.WithLabelValues("leader")) +
			counterValue(t, node.metrics.readIndexRounds.WithLabelValues("follower")) - before
		if rounds > readers/4 {
			t.Errorf("%s: %v rounds for %d readers", node.id, rounds, readers)
		}
	}
}

func TestOneNodeReadsWithoutAsking(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	c.propose("a")
	node := c.leader()
	index, err := node.ReadIndex(testContext(t))
	if err != nil || index < 2 {
		t.Fatal(index, err)
	}
	if err := node.WaitApplied(testContext(t), index); err != nil {
		t.Fatal(err)
	}
}

func TestReadIndexWithoutALeader(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	follower := c.followers(c.leader())[0]
	c.network.isolate(follower.id)
	eventually(t, "it knows that there is no leader", func() bool {
		_, ok := follower.Leader()
		return !ok
	})
	if _, err := follower.ReadIndex(testContext(t)); !errors.Is(err, tidemark.ErrNoLeader) {
		t.Fatal(err)
	}
	if err := follower.Ready(); !errors.Is(err, tidemark.ErrNoLeader) {
		t.Fatal(err)
	}
	eventually(t, "it grows stale", func() bool { return follower.Staleness() > 200*time.Millisecond })
	c.network.heal(follower.id)
}

// A new leader's commit index can be behind what its predecessor acknowledged, or
// at a no-op: it gives no read index before it has applied an entry of its term.
func TestNewLeaderServesNoReadsBeforeItsFirstEntry(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	c.agree()
	old := c.leader()
	var apply gate
	t.Cleanup(apply.open)
	for _, node := range c.followers(old) {
		node.machine.mu.Lock()
		node.machine.beforeApply = apply.pass
		node.machine.mu.Unlock()
	}
	apply.close()
	result, err := old.Propose(testContext(t), []byte("acknowledged"))
	if err != nil {
		t.Fatal(err)
	}
	c.network.isolate(old.id)
	var next *testNode
	eventually(t, "another leads", func() bool {
		for _, node := range c.followers(old) {
			if node.raft.State() == raft.Leader {
				next = node
				return true
			}
		}
		return false
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if index, err := next.ReadIndex(ctx); err == nil {
		t.Fatalf("read index %d before the leadership was established", index)
	}
	apply.open()
	c.network.heal(old.id)
	leader := c.leader()
	index, err := leader.ReadIndex(testContext(t))
	if err != nil || index <= uint64(result.Position) {
		t.Fatal(index, result.Position, err)
	}
	c.agree()
}
