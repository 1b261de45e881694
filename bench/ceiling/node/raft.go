package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"tidemark/raftnode"
	"tidemark/raftnode/logstore"
)

// startRaft starts a node that forms the cluster with the other members, with the settings
// that raftnode gives Raft.
func startRaft(self member, members []member, dir string) (*raft.Raft, error) {
	theirs := raftnode.DefaultConfig()
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(self.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = theirs.HeartbeatTimeout, theirs.ElectionTimeout, theirs.LeaderLeaseTimeout
	c.CommitTimeout = theirs.CommitTimeout
	c.MaxAppendEntries = 32
	// There is nothing to make a snapshot of, and the log of a run fits on the disk.
	c.SnapshotThreshold, c.SnapshotInterval = math.MaxUint64, time.Hour
	c.NoLegacyTelemetry = true
	c.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn})
	store, err := logstore.Open(logstore.Options{Kind: theirs.LogStore, Dir: dir, Durable: func() uint64 { return 0 }})
	if err != nil {
		return nil, err
	}
	transport, err := raft.NewTCPTransportWithConfig(self.raft, nil, &raft.NetworkTransportConfig{
		// One call at a time for each follower, as Tidemark has it; see raftnode/peer.
		MaxPool: 3, MaxRPCsInFlight: 1, Timeout: 5 * time.Second, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	node, err := raft.NewRaft(c, nothing{}, store.Log(), store.Stable(), raft.NewDiscardSnapshotStore(), transport)
	if err != nil {
		return nil, err
	}
	var cluster raft.Configuration
	for _, m := range members {
		cluster.Servers = append(cluster.Servers, raft.Server{ID: raft.ServerID(m.id), Address: raft.ServerAddress(m.raft)})
	}
	if err := node.BootstrapCluster(cluster).Error(); err != nil {
		return nil, fmt.Errorf("form the cluster: %w", err)
	}
	return node, nil
}

// nothing is the state machine.
type nothing struct{}

// Apply implements raft.FSM.
func (nothing) Apply(*raft.Log) any { return nil }

// ApplyBatch implements raft.BatchingFSM.
func (nothing) ApplyBatch(logs []*raft.Log) []any { return make([]any, len(logs)) }

// Snapshot implements raft.FSM.
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }

// Restore implements raft.FSM.
func (nothing) Restore(r io.ReadCloser) error { return r.Close() }

// Persist implements raft.FSMSnapshot.
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }

// Release implements raft.FSMSnapshot.
func (nothing) Release() {}
