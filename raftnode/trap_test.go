package raftnode

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// These tests show traps of the bare library that this package exists to avoid. If
// one fails, upstream may have mended it: see DESIGN.md for what can then go.

// bareNode is hashicorp/raft with its own stores in memory.
type bareNode struct {
	*raft.Raft
	id        raft.ServerID
	transport *heldTransport
	inmem     *raft.InmemTransport
}

// heldTransport delivers requests, and holds back the answers while held is set.
type heldTransport struct {
	*raft.InmemTransport
	held    atomic.Pointer[chan struct{}]
	holding atomic.Int32
	// hangTimeoutNow makes TimeoutNow wait for the channel.
	hangTimeoutNow chan struct{}
}

func (h *heldTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := h.InmemTransport.AppendEntries(id, target, args, resp)
	if held := h.held.Load(); held != nil {
		h.holding.Add(1)
		<-*held
	}
	return err
}

func (h *heldTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (h *heldTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if h.hangTimeoutNow != nil {
		<-h.hangTimeoutNow
		return errors.New("too late")
	}
	return h.InmemTransport.TimeoutNow(id, target, args, resp)
}

// bareCluster starts three bare nodes; tune changes the configuration of each.
func bareCluster(t *testing.T, fsm raft.FSM, tune func(id raft.ServerID, c *raft.Config)) []*bareNode {
	t.Helper()
	var nodes []*bareNode
	var members raft.Configuration
	for i := range 3 {
		id := raft.ServerID(fmt.Sprintf("n%d", i+1))
		address, transport := raft.NewInmemTransportWithTimeout("", 10*time.Second)
		members.Servers = append(members.Servers, raft.Server{ID: id, Address: address})
		nodes = append(nodes, &bareNode{id: id, inmem: transport, transport: &heldTransport{InmemTransport: transport}})
	}
	for i, node := range nodes {
		for j, other := range nodes {
			if i != j {
				node.inmem.Connect(other.inmem.LocalAddr(), other.inmem)
			}
		}
	}
	for _, node := range nodes {
		c := raft.DefaultConfig()
		c.LocalID = node.id
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
		c.CommitTimeout = 5 * time.Millisecond
		c.Logger = newRaftLogger(testLogger(t))
		tune(node.id, c)
		store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, store, store, snapshots, node.transport, members); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(c, fsm, store, store, snapshots, node.transport)
		if err != nil {
			t.Fatal(err)
		}
		node.Raft = r
		t.Cleanup(func() { r.Shutdown() })
	}
	return nodes
}

func bareLeader(t *testing.T, nodes ...*bareNode) (leader *bareNode) {
	t.Helper()
	eventually(t, "a leader of the bare library", func() bool {
		for _, node := range nodes {
			if node.State() == raft.Leader && node.Apply([]byte("x"), time.Second).Error() == nil {
				leader = node
				return true
			}
		}
		return false
	})
	return leader
}

// Trap 2: VerifyLeader counts an answer that was given before it was asked. An
// ex-leader verifies itself after its successor has acknowledged a write. Ours:
// TestPausedLeaderServesNoReads.
func TestTrapVerifyLeaderBelievesOldAnswers(t *testing.T) {
	nodes := bareCluster(t, &raft.MockFSM{}, func(id raft.ServerID, c *raft.Config) {
		if id == "n1" { // it is slow to notice that it is alone, as if it were paused
			c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
		}
	})
	old, others := nodes[0], nodes[1:]
	first := bareLeader(t, others...)
	eventually(t, "n1 leads", func() bool {
		if old.State() == raft.Leader {
			return true
		}
		_ = first.LeadershipTransferToServer("n1", old.inmem.LocalAddr()).Error()
		first = bareLeader(t, nodes...)
		return old.State() == raft.Leader
	})
	release := make(chan struct{})
	old.transport.held.Store(&release)
	eventually(t, "answers of both followers are on their way", func() bool { return old.transport.holding.Load() >= 2 })
	for _, other := range others {
		other.inmem.Disconnect(old.inmem.LocalAddr())
		old.inmem.Disconnect(other.inmem.LocalAddr())
	}
	next := bareLeader(t, others...) // it has acknowledged a write
	verify := old.VerifyLeader()
	for range 30 { // the main loop takes one of what waits at random
		old.Apply([]byte("never committed"), time.Second)
	}
	close(release)
	if err := verify.Error(); err != nil {
		t.Fatalf("VerifyLeader noticed that %s leads: %v", next.id, err)
	}
}

// Trap 8: a transfer of leadership that hangs refuses all writes for good. Ours:
// TestTransferToAPausedNodeEnds, TestHangingTransferEndsTheProcess.
func TestTrapHangingTransferRefusesWrites(t *testing.T) {
	nodes := bareCluster(t, &raft.MockFSM{}, func(raft.ServerID, *raft.Config) {})
	leader := bareLeader(t, nodes...)
	leader.transport.hangTimeoutNow = make(chan struct{})
	defer close(leader.transport.hangTimeoutNow)
	if err := leader.LeadershipTransfer().Error(); err == nil {
		t.Fatal("the transfer did not hang")
	}
	for start := time.Now(); time.Since(start) < 10*100*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		err := leader.Apply([]byte("x"), time.Second).Error()
		if leader.State() != raft.Leader {
			t.Skip("leadership was lost by chance")
		}
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			t.Fatalf("ten election timeouts after the transfer has failed: %v", err)
		}
	}
}

// Trap 11: the commit index can be that of a no-op, which the FSM never sees. Ours:
// TestReadIndexIsReachedAfterEveryElection.
func TestTrapNoopsNeverReachTheFSM(t *testing.T) {
	m := newFakeMachine()
	nodes := bareCluster(t, testAdapter(m), func(raft.ServerID, *raft.Config) {})
	eventually(t, "a leader has committed its no-op", func() bool {
		for _, node := range nodes {
			if node.State() == raft.Leader && node.CommitIndex() > 1 {
				return true
			}
		}
		return false
	})
	if a := m.Applied(); a.Index > 1 {
		t.Fatalf("the no-op reached the FSM: %+v", a)
	}
}

// Traps 4, 9, 12 and 13: what raft is told.
func TestRaftConfig(t *testing.T) {
	cfg := DefaultConfig()
	cfg.NodeID, cfg.Logger = "n1", raftDiscard
	rc := cfg.raftConfig(make(chan bool))
	if err := raft.ValidateConfig(rc); err != nil {
		t.Fatal(err)
	}
	if rc.RestoreCommittedLogs || rc.BatchApplyCh || !rc.NoSnapshotRestoreOnStart || rc.PreVoteDisabled || rc.ShutdownOnRemove {
		t.Errorf("%+v", rc)
	}
	if rc.HeartbeatTimeout != 2*time.Second || rc.ElectionTimeout != rc.HeartbeatTimeout || rc.LeaderLeaseTimeout != rc.HeartbeatTimeout {
		t.Errorf("timeouts are %s, %s, %s", rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout)
	}
	if rc.SnapshotInterval > 10*time.Second || rc.MaxAppendEntries*(512<<10) > 32<<20 {
		t.Errorf("snapshots every %s, %d entries a message", rc.SnapshotInterval, rc.MaxAppendEntries)
	}
}
