package raftnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/logstore"
)

func TestClusterOrdersConcurrentProposals(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 3, nil)
		leader := c.leader()
		const callers, each = 50, 200
		positions := make([][]tidemark.Position, callers)
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				var pending []*Pending
				for i := range each {
					pending = append(pending, leader.ProposeAsync(fmt.Appendf(nil, "%d %d", caller, i)))
				}
				for _, p := range pending {
					result, err := p.Wait(testContext(t))
					if err != nil {
						t.Error(err)
						return
					}
					positions[caller] = append(positions[caller], result.Position)
				}
			})
		}
		wg.Wait()
		got := c.agree()
		if len(got) != callers*each {
			t.Fatalf("%d commands were applied, want %d", len(got), callers*each)
		}
		next := map[int]int{}
		for _, command := range got {
			var caller, i int
			if _, err := fmt.Sscan(command, &caller, &i); err != nil {
				t.Fatal(err)
			}
			if i != next[caller] {
				t.Fatalf("caller %d: command %d was applied before %d", caller, i, next[caller])
			}
			next[caller]++
		}
		for caller, ps := range positions {
			for i := 1; i < len(ps); i++ {
				if ps[i] < ps[i-1] {
					t.Fatalf("caller %d: position went back from %d to %d", caller, ps[i-1], ps[i])
				}
			}
		}
		if entries := leader.raft.LastIndex(); entries > callers*each/4 {
			t.Errorf("%d commands took %d entries: they were not gathered", callers*each, entries)
		}
	})
}

func TestClusterSurvivesItsLeader(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 3, nil)
		c.fill("before", 100)
		old := c.leader()
		c.network.isolate(old.id)
		stuck := old.ProposeAsync([]byte("never acknowledged"))
		if _, err := stuck.Wait(testContext(t)); !errors.Is(err, tidemark.ErrOutcomeUnknown) && !errors.Is(err, tidemark.ErrNotLeader) {
			t.Fatalf("a leader without a majority answered %v", err)
		}
		c.propose("after")
		if next := c.leader(); next == old {
			t.Fatal("the isolated node still leads")
		}
		c.network.heal(old.id)
		got := c.agree()
		if got[99] != "before-99" || got[len(got)-1] != "after" {
			t.Fatalf("the log ends with %q", got[len(got)-3:])
		}
	})
}

func TestNodeRestartsFromItsOwnState(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 3, nil)
		c.fill("a", 50)
		if _, _, err := c.leader().TakeSnapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
		c.fill("b", 50)
		want := c.agree()
		for id := range c.nodes {
			c.stop(id)
		}
		for id, node := range c.nodes {
			node.machine.crash() // what was not synced is gone, and comes back from the log
			c.restart(id)
		}
		if got := c.agree(); len(got) != len(want) {
			t.Fatalf("%d commands after the restart, want %d", len(got), len(want))
		}
		c.propose("c")
		for _, node := range c.nodes {
			eventually(t, node.id+" is ready", func() bool { return node.Ready() == nil })
		}
	})
}

func TestRestartWithOtherFlagsKeepsTheMembership(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	c.propose("a")
	c.stop("n1")
	node := c.start("n1", map[string]string{"n1": c.initial["n1"], "n2": "127.0.0.1:1"}, nil)
	c.propose("b")
	if s := node.Status(testContext(t)); len(s.Members) != 1 {
		t.Fatalf("the flags changed the membership to %v", s.Members)
	}
}

func TestFollowerCatchesUpBySnapshot(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 3, func(cfg *Config) { cfg.TrailingTime, cfg.TrailingBytes = time.Nanosecond, 1 })
		c.fill("a", 10)
		leader := c.leader()
		away := c.followers(leader)[0]
		c.stop(away.id)
		for i := range 100 { // one entry each, so that more than raft's own trailing logs are deleted
			c.propose(fmt.Sprint("while away ", i))
		}
		leader = c.leader()
		if _, _, err := leader.TakeSnapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if first := leader.logs.FirstIndex(); first <= away.machine.Applied().Index+1 {
			t.Fatalf("the log begins at %d, so no snapshot is needed", first)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					p := leader.ProposeAsync(fmt.Appendf(nil, "meanwhile %d", i))
					_, _ = p.Wait(testContext(t)) // a change of leadership may refuse some
				}
			}
		})
		c.restart(away.id)
		eventually(t, "the snapshot is installed", func() bool { return away.machine.Applied().InstalledIndex > 0 })
		close(stop)
		wg.Wait()
		c.agree()
		eventually(t, "all checkpoints are released", func() bool {
			leader.machine.mu.Lock()
			defer leader.machine.mu.Unlock()
			return leader.machine.open == 0
		})
		// It goes on from there after a restart, too.
		c.stop(away.id)
		away.machine.crash()
		c.restart(away.id)
		c.propose("at last")
		c.agree()
	})
}

func TestNodeThatMissedEntriesAppliesThem(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.fill("a", 10)
	away := c.followers(c.leader())[0]
	c.stop(away.id)
	c.fill("b", 100)
	c.restart(away.id)
	c.agree()
	if away.machine.Applied().InstalledIndex > 0 {
		t.Fatal("it needed a snapshot although the log was there")
	}
}

func TestReadIndexCoversAcknowledgedWrites(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	leader := c.leader()
	for i := range 100 {
		result, err := leader.Propose(testContext(t), fmt.Appendf(nil, "%d", i))
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range c.nodes {
			index, err := node.ReadIndex(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			if index < uint64(result.Position) {
				t.Fatalf("%s: read index %d does not cover the write at %d", node.id, index, result.Position)
			}
			if err := node.WaitApplied(testContext(t), index); err != nil {
				t.Fatal(err)
			}
			if got := len(node.machine.commands()); got < i+1 {
				t.Fatalf("%s holds %d commands after the wait, want %d", node.id, got, i+1)
			}
		}
	}
}

// The read index must be reachable: after an election Raft's commit index can be
// that of its own no-op entry, which no state machine ever sees.
func TestReadIndexIsReachedAfterEveryElection(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	for range 5 {
		leader := c.leader()
		for _, node := range c.nodes {
			eventually(t, "a linearizable read on "+node.id, func() bool {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				index, err := node.ReadIndex(ctx)
				if err != nil {
					return false
				}
				if err := node.WaitApplied(testContext(t), index); err != nil {
					t.Fatalf("%s never reaches its read index %d: %v", node.id, index, err)
				}
				return true
			})
		}
		if _, err := leader.TransferLeadership(testContext(t), ""); err != nil {
			t.Logf("transfer: %v", err)
		}
	}
}

func TestStaleness(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	leader := c.leader()
	eventually(t, "the leader is not stale", func() bool { return leader.Staleness() == 0 })
	follower := c.followers(leader)[0]
	eventually(t, "a follower is fresh", func() bool { return follower.Staleness() < time.Second })
	// A follower that does not apply is not fresh, though heartbeats come through.
	var apply gate
	follower.machine.mu.Lock()
	follower.machine.beforeApply = apply.pass
	follower.machine.mu.Unlock()
	apply.close()
	defer apply.open()
	c.propose("b")
	eventually(t, "it grows stale", func() bool { return follower.Staleness() > 500*time.Millisecond })
	if age := time.Since(follower.raft.LastContact()); age > 300*time.Millisecond {
		t.Fatalf("no heartbeat for %s", age)
	}
}

// A leader is stale until it has applied what was acknowledged before its term.
func TestNewLeaderIsStaleUntilItHasCaughtUp(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	c.agree()
	leader := c.leader()
	next := c.followers(leader)[0]
	var apply gate
	next.machine.mu.Lock()
	next.machine.beforeApply = apply.pass
	next.machine.mu.Unlock()
	apply.close()
	defer apply.open()
	c.propose("b") // which next has, and has not applied
	if _, err := leader.TransferLeadership(testContext(t), next.id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leads", func() bool { return next.raft.State() == raft.Leader })
	if next.Staleness() == 0 {
		t.Error("a leader that lacks an acknowledged write says that it is not stale")
	}
	apply.open()
	eventually(t, "it has caught up", func() bool { return next.Staleness() == 0 })
	c.agree()
}

// Followers may apply before the leader does, and answer linearizable reads with it.
func TestLeaderIsStaleWhileItLagsBehindItsCommits(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	c.agree()
	leader := c.leader()
	eventually(t, "the leader is not stale", func() bool { return leader.Staleness() == 0 })
	var apply gate
	leader.machine.mu.Lock()
	leader.machine.beforeApply = apply.pass
	leader.machine.mu.Unlock()
	apply.close()
	defer apply.open()
	pending := leader.ProposeAsync([]byte("b"))
	eventually(t, "it is committed", func() bool { return leader.raft.CommitIndex() > leader.machine.Applied().Index })
	if leader.Staleness() == 0 {
		t.Error("a leader that lacks a committed write says that it is not stale")
	}
	apply.open()
	if _, err := pending.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has caught up", func() bool { return leader.Staleness() == 0 })
}

// An epoch that begins just after this node lost leadership ends by itself. Else
// the node would take proposals, in place of sending them to the leader, for ever.
func TestEpochOfALeadershipThatIsOverEnds(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	follower := c.followers(c.leader())[0]
	follower.elected()
	pending := follower.ProposeAsync([]byte("a"))
	if _, err := pending.Wait(testContext(t)); !errors.Is(err, tidemark.ErrNotLeader) {
		t.Fatalf("outcome is %v, want %v", err, tidemark.ErrNotLeader)
	}
	if follower.IsLeader() {
		t.Fatal("a follower takes proposals")
	}
}
