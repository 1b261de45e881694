package raftnode

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/logstore"
	"tidemark/raftnode/peer"
)

func TestMembersJoinAndLeave(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 3, func(cfg *Config) { cfg.TrailingTime, cfg.TrailingBytes = time.Nanosecond, 1 })
		for range 100 {
			c.propose("x")
		}
		leader := c.leader()
		if _, _, err := leader.TakeSnapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
		joined := c.join("n4")
		if err := joined.Ready(); !errors.Is(err, tidemark.ErrNoLeader) {
			t.Fatalf("a node that waits to be added is ready: %v", err)
		}
		if err := leader.AddMember(testContext(t), "n4", joined.address); err != nil {
			t.Fatal(err)
		}
		if err := leader.AddMember(testContext(t), "n4", joined.address); err != nil {
			t.Fatalf("adding it twice: %v", err)
		}
		if err := leader.AddMember(testContext(t), "n4", "127.0.0.1:1"); !errors.Is(err, tidemark.ErrMemberExists) {
			t.Fatalf("adding its id with another address: %v", err)
		}
		if err := leader.AddMember(testContext(t), "n5", joined.address); !errors.Is(err, tidemark.ErrMemberExists) {
			t.Fatalf("adding its address with another id: %v", err)
		}
		if server, _ := findServer(leader.members.configuration(), "n4"); server.Suffrage == 0 {
			t.Fatal("a new member votes at once")
		}
		c.agree()
		eventually(t, "n4 is ready", func() bool { return joined.Ready() == nil })
		eventually(t, "n4 is promoted", func() bool { return c.leader().PromoteMember(testContext(t), "n4") == nil })
		for _, node := range c.followers(joined) {
			eventually(t, node.id+" has met n4", func() bool {
				_, ok := node.registry.Known("n4")
				return ok
			})
		}
		if n := len(voters(c.leader().members.configuration())); n != 4 {
			t.Fatalf("%d voters, want 4", n)
		}
		// It leaves, and another node with the same id and an empty disk comes.
		c.propose("y")
		if c.leader() == joined {
			if _, err := joined.TransferLeadership(testContext(t), "n1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.leader().RemoveMember(testContext(t), "n4"); err != nil {
			t.Fatal(err)
		}
		if err := c.leader().RemoveMember(testContext(t), "n4"); !errors.Is(err, tidemark.ErrMemberNotFound) {
			t.Fatal(err)
		}
		c.stop("n4")
		delete(c.nodes, "n4")
		c.agree()
		again := c.join("n4")
		if err := c.leader().AddMember(testContext(t), "n4", again.address); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new n4 is promoted", func() bool { return c.leader().PromoteMember(testContext(t), "n4") == nil })
		for _, node := range c.followers(again) {
			eventually(t, node.id+" talks to the new n4", func() bool {
				_, err := node.askInfo(testContext(t), "n4", again.address)
				return err == nil
			})
		}
		c.propose("z")
		c.agree()
	})
}

// A node that comes back under its id without its data is refused, and told what to do.
func TestEmptyNodeUnderAKnownIDIsRefused(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.fill("a", 10)
	c.agree()
	lost := c.followers(c.leader())[0]
	c.stop(lost.id)
	if err := os.RemoveAll(lost.dir); err != nil {
		t.Fatal(err)
	}
	lost.machine = newFakeMachine()
	c.restart(lost.id)
	var err error
	select {
	case err = <-lost.fatals:
	case <-time.After(testTimeout):
		t.Fatal("it was not told")
	}
	if !strings.Contains(err.Error(), "tidemark member remove "+lost.id) || !strings.Contains(err.Error(), "--join") {
		t.Errorf("it was told %q", err)
	}
	c.propose("b") // the other two go on
	for len(lost.fatals) > 0 {
		<-lost.fatals
	}
	c.stop(lost.id)
	for len(lost.fatals) > 0 {
		<-lost.fatals
	}
	// What it was told works.
	if err := c.leader().RemoveMember(testContext(t), lost.id); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(lost.dir); err != nil {
		t.Fatal(err)
	}
	fresh := c.join(lost.id)
	if err := c.leader().AddMember(testContext(t), lost.id, fresh.address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is promoted", func() bool { return c.leader().PromoteMember(testContext(t), lost.id) == nil })
	c.agree()
}

func TestChangesThatEndangerTheQuorumAreRefused(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	leader := c.leader()
	followers := c.followers(leader)
	c.stop(followers[0].id)
	// Two of three are alive: removing the living one would leave one of two.
	if err := leader.RemoveMember(testContext(t), followers[1].id); !errors.Is(err, tidemark.ErrMembershipUnsafe) {
		t.Fatalf("removing a living voter beside a dead one: %v", err)
	}
	// A new voter that is alive makes three of four; that is fine. One that is
	// gone again is not ready.
	joined := c.join("n4")
	if err := leader.AddMember(testContext(t), "n4", joined.address); err != nil {
		t.Fatal(err)
	}
	c.agree()
	c.stop("n4")
	if err := leader.PromoteMember(testContext(t), "n4"); !errors.Is(err, tidemark.ErrMemberNotReady) {
		t.Fatalf("promoting a member that is gone: %v", err)
	}
	if err := leader.PromoteMember(testContext(t), "n9"); !errors.Is(err, tidemark.ErrMemberNotFound) {
		t.Fatal(err)
	}
	if err := leader.RemoveMember(testContext(t), "n4"); err != nil {
		t.Fatalf("removing a dead member that does not vote: %v", err)
	}
	// Removing the dead voter leaves two of two.
	if err := leader.RemoveMember(testContext(t), followers[0].id); err != nil {
		t.Fatalf("removing the dead voter: %v", err)
	}
	c.propose("b")
	delete(c.nodes, "n4")
}

func TestTheLastVoterStays(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	c.propose("a")
	if err := c.leader().RemoveMember(testContext(t), "n1"); !errors.Is(err, tidemark.ErrMembershipUnsafe) {
		t.Fatal(err)
	}
}

func TestMemberThatLagsIsNotPromoted(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, func(cfg *Config) { cfg.PromoteMaxLag = 10 })
	for range 20 {
		c.propose("a")
	}
	joined := c.join("n2")
	var apply gate
	joined.machine.mu.Lock()
	joined.machine.beforeApply = apply.pass
	joined.machine.mu.Unlock()
	apply.close()
	defer apply.open()
	leader := c.leader()
	if err := leader.AddMember(testContext(t), "n2", joined.address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 answers", func() bool {
		_, ok := leader.survey(testContext(t), leader.members.configuration())["n2"]
		return ok
	})
	if err := leader.PromoteMember(testContext(t), "n2"); !errors.Is(err, tidemark.ErrMemberNotReady) {
		t.Fatalf("promoting a member that has applied nothing: %v", err)
	}
	apply.open()
	c.agree()
	if err := leader.PromoteMember(testContext(t), "n2"); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheLeaderChangesMembers(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	follower := c.followers(c.leader())[0]
	for name, err := range map[string]error{
		"add":     follower.AddMember(testContext(t), "n4", "x:1"),
		"remove":  follower.RemoveMember(testContext(t), "n1"),
		"promote": follower.PromoteMember(testContext(t), "n1"),
	} {
		if !errors.Is(err, tidemark.ErrNotLeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := follower.TransferLeadership(testContext(t), ""); !errors.Is(err, tidemark.ErrNotLeader) {
		t.Error(err)
	}
	if err := c.leader().AddMember(testContext(t), "", "x:1"); !errors.Is(err, tidemark.ErrInvalid) {
		t.Error(err)
	}
	if err := c.leader().AddMember(testContext(t), "n4", ""); !errors.Is(err, tidemark.ErrInvalid) {
		t.Error(err)
	}
}

func TestLeaderThatLeavesHandsOverFirst(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	old := c.leader()
	if err := old.RemoveMember(testContext(t), old.id); !errors.Is(err, tidemark.ErrNotLeader) {
		t.Fatal(err)
	}
	next := c.leader()
	if next == old {
		t.Fatal("it still leads")
	}
	if err := next.RemoveMember(testContext(t), old.id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it notices that it was removed", func() bool { return old.Ready() != nil })
	c.stop(old.id)
	c.propose("b")
	c.agree()
}

func TestTransferLeadership(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	for range 3 {
		leader := c.leader()
		want := c.followers(leader)[0].id
		got, err := leader.TransferLeadership(testContext(t), want)
		if err != nil || got != want {
			t.Fatalf("leadership went to %q instead of %s: %v", got, want, err)
		}
		c.propose("b")
	}
	leader := c.leader()
	if got, err := leader.TransferLeadership(testContext(t), leader.id); err != nil || got != leader.id {
		t.Fatal(got, err)
	}
	if _, err := leader.TransferLeadership(testContext(t), "n9"); !errors.Is(err, tidemark.ErrMemberNotFound) {
		t.Fatal(err)
	}
}

// A transfer to a node that is gone fails, and the leader goes on.
func TestFailedTransferLeavesTheLeader(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	leader := c.leader()
	gone := c.followers(leader)[0]
	c.stop(gone.id)
	if _, err := leader.TransferLeadership(testContext(t), gone.id); !errors.Is(err, tidemark.ErrMemberNotReady) {
		t.Fatal(err)
	}
	if _, err := leader.Propose(testContext(t), []byte("b")); err != nil {
		t.Fatal(err)
	}
	// One that hangs in the middle fails too, and leaves a leader behind.
	stuck := c.followers(leader)[0]
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := leader.TransferLeadership(ctx, stuck.id); err == nil {
		t.Log("the transfer was faster than a millisecond")
	}
	c.propose("c")
	c.restart(gone.id)
	c.agree()
}

// Proposals that go on during transfers are applied or refused, in order.
func TestTransferKeepsTheOrderOfProposals(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			leader := c.leader()
			pipe := leader.NewPipeline()
			var all []*Pending
			for range 50 {
				all = append(all, pipe.ProposeAsync([]byte("x")))
			}
			failed := false
			for _, p := range all {
				_, err := p.Wait(testContext(t))
				if failed && err == nil {
					t.Error("a proposal was applied behind one that was not")
				}
				failed = failed || err != nil && !errors.Is(err, tidemark.ErrOutcomeUnknown)
			}
		}
	}()
	for range 5 {
		if _, err := c.leader().TransferLeadership(testContext(t), ""); err != nil {
			t.Logf("transfer: %v", err)
		}
	}
	close(stop)
	<-done
	c.agree()
}

// A node that was away while a member was added lets it in, or that member, as a
// leader, could never tell it.
func TestNodeThatWasAwayLearnsOfNewMembers(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	away := c.followers(c.leader())[0]
	c.stop(away.id)
	joined := c.join("n4")
	if err := c.leader().AddMember(testContext(t), "n4", joined.address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n4 is promoted", func() bool { return c.leader().PromoteMember(testContext(t), "n4") == nil })
	before := c.leader()
	if _, err := before.TransferLeadership(testContext(t), "n4"); err != nil {
		t.Fatal(err)
	}
	// Whoever led before still tries for a while to bring it up to date.
	c.network.separate(before.id, away.id)
	c.restart(away.id)
	c.propose("b")
	c.agree()
}

// A member that left and came back in order is not ended by one that has not
// heard of it yet.
func TestRejoinedNodeOutlivesAPeerThatMissedIt(t *testing.T) {
	c := newCluster(t, logstore.WAL, 4, nil)
	c.fill("a", 10)
	c.agree()
	followers := c.followers(c.leader())
	away, gone := followers[0], followers[1]
	eventually(t, "the two have met", func() bool {
		_, ok := away.registry.Known(gone.id)
		return ok
	})
	c.stop(away.id)
	eventually(t, gone.id+" is removed", func() bool { return c.leader().RemoveMember(testContext(t), gone.id) == nil })
	c.stop(gone.id)
	if err := os.RemoveAll(gone.dir); err != nil {
		t.Fatal(err)
	}
	gone.machine = newFakeMachine()
	again := c.join(gone.id)
	if err := c.leader().AddMember(testContext(t), again.id, again.address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is promoted", func() bool { return c.leader().PromoteMember(testContext(t), again.id) == nil })
	c.agree()
	// The peer that was away refuses it until it has applied the removal.
	away.machine.mu.Lock()
	var apply gate
	away.machine.beforeApply = apply.pass
	away.machine.mu.Unlock()
	apply.close()
	defer apply.open()
	c.restart(away.id)
	eventually(t, "it is refused", func() bool {
		_, err := again.askInfo(testContext(t), away.id, away.address)
		return err != nil && counterValue(t, away.metrics.refusals.WithLabelValues("dialer_changed")) > 0
	})
	apply.open()
	c.agree()
	eventually(t, "they talk", func() bool {
		_, err := again.askInfo(testContext(t), away.id, away.address)
		return err == nil
	})
	c.propose("b")
	c.agree()
}

// A peer that was away while a member left and came back, and learns of both by a
// snapshot, does not go on to refuse it: the two may be all that is left one day.
func TestRejoinedNodeIsKnownToAPeerThatGetsASnapshot(t *testing.T) {
	c := newCluster(t, logstore.WAL, 4, func(cfg *Config) { cfg.TrailingTime, cfg.TrailingBytes = time.Nanosecond, 1 })
	c.fill("a", 10)
	c.agree()
	followers := c.followers(c.leader())
	away, gone := followers[0], followers[1]
	eventually(t, "the two have met", func() bool {
		_, ok := away.registry.Known(gone.id)
		return ok
	})
	c.stop(away.id)
	eventually(t, gone.id+" is removed", func() bool { return c.leader().RemoveMember(testContext(t), gone.id) == nil })
	c.stop(gone.id)
	if err := os.RemoveAll(gone.dir); err != nil {
		t.Fatal(err)
	}
	again := c.join(gone.id)
	if err := c.leader().AddMember(testContext(t), again.id, again.address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is promoted", func() bool { return c.leader().PromoteMember(testContext(t), again.id) == nil })
	c.agree()
	for range 100 {
		c.propose("x")
	}
	leader := c.leader()
	if _, _, err := leader.TakeSnapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.restart(away.id)
	c.agree()
	eventually(t, "it installs a snapshot", func() bool { return counterValue(t, away.metrics.snapshotsInstalled) > 0 })
	eventually(t, "they talk", func() bool {
		_, err := again.askInfo(testContext(t), away.id, away.address)
		return err == nil
	})
}

// A member that lags does not make the others let in again whom they have seen leave.
func TestMembersAreLearnedFromThoseThatAreAhead(t *testing.T) {
	machine := newFakeMachine()
	machine.state.Applied.Index = 10
	v := &memberView{applied: raft.Configuration{Servers: []raft.Server{{ID: "n1"}, {ID: "n2"}}}}
	v.believe(map[string]peer.Info{
		"n1": {AppliedIndex: 9, Members: []peer.Member{{ID: "gone"}}},
		"n2": {AppliedIndex: 10, Members: []peer.Member{{ID: "new"}}},
	}, machine)
	if v.contains("gone") || !v.contains("new") || !v.contains("n1") {
		t.Fatalf("gone, new, n1: %v, %v, %v; want false, true, true", v.contains("gone"), v.contains("new"), v.contains("n1"))
	}
}

// A removal is complete after a crash between its two halves: the state machine
// holds it, and the registry still knows the member.
func TestCrashedRemovalIsCompletedAtStart(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.fill("a", 10)
	c.agree()
	followers := c.followers(c.leader())
	node, other := followers[0], followers[1]
	eventually(t, "the two have met", func() bool {
		_, ok := node.registry.Known(other.id)
		return ok
	})
	if err := node.registry.Remember("gone", "its old directory"); err != nil {
		t.Fatal(err)
	}
	c.stop(node.id)
	c.restart(node.id)
	if _, known := node.registry.Known("gone"); known {
		t.Error("it knows a node that is no member")
	}
	if _, known := node.registry.Known(other.id); !known {
		t.Error("it forgot a member")
	}
}

// A stranger can claim at every dial that this node's data is another's.
func TestClaimsOfOthersAreLoggedSometimes(t *testing.T) {
	var s sometimes
	start, told := time.Unix(1_700_000_000, 0), 0
	for at := start; at.Before(start.Add(25 * time.Second)); at = at.Add(10 * time.Millisecond) {
		if s.due(at) {
			told++
		}
	}
	if told != 3 {
		t.Errorf("told %d times in 25 s, want 3", told)
	}
}
