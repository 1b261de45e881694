package peer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// member is one node of a test cluster: Raft and the peer service on one port.
type member struct {
	mux     *testMux
	raft    *raft.Raft
	clients *Clients
}

func openCluster(t *testing.T, n int) []*member {
	t.Helper()
	var members []*member
	var servers []raft.Server
	for i := range n {
		id := fmt.Sprintf("n%d", i+1)
		mux := openMux(t, id, nil)
		members = append(members, &member{mux: mux, clients: openClients(t, mux)})
		servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(mux.Advertise())})
	}
	for i, m := range members {
		trans := NewTransport(m.mux.Mux, TransportConfig{OnInvalid: func(peer string, err error) { t.Errorf("from %s: %v", peer, err) }})
		cfg := raft.DefaultConfig()
		cfg.LocalID = servers[i].ID
		cfg.Logger = hclog.NewNullLogger()
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
		store := raft.NewInmemStore()
		snapshots := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(cfg, store, store, snapshots, trans, raft.Configuration{Servers: servers}); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(cfg, &raft.MockFSM{}, store, store, snapshots, trans)
		if err != nil {
			t.Fatal(err)
		}
		m.raft = r
		t.Cleanup(func() {
			if err := r.Shutdown().Error(); err != nil {
				t.Error(err)
			}
		})
		serve(t, m.mux, raftService{&fakeService{}, r})
	}
	return members
}

// raftService answers with the term of a real node.
type raftService struct {
	*fakeService
	r *raft.Raft
}

func (s raftService) Term(context.Context) (uint64, error) { return s.r.CurrentTerm(), nil }

func leader(members []*member) *member {
	for _, m := range members {
		if m.raft.State() == raft.Leader {
			return m
		}
	}
	return nil
}

// TestClusterOnOnePortEach runs Raft and the peer service side by side over three
// ports, hands leadership over, and looks for calls that validate refused: what
// Raft itself sends must all be let through.
func TestClusterOnOnePortEach(t *testing.T) {
	members := openCluster(t, 3)
	for round := range 3 {
		var l *member
		eventually(t, "a leader", func() bool { l = leader(members); return l != nil })
		for i := range 50 {
			if err := l.raft.Apply(fmt.Appendf(nil, "%d/%d", round, i), 5*time.Second).Error(); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			for _, m := range members {
				if m == l {
					continue
				}
				// The one that is not in the majority may hear of the term later.
				eventually(t, "node "+m.mux.cfg.NodeID+" to answer with the leader's term", func() bool {
					term, err := get(t, l.clients, m.mux.cfg.NodeID, m.mux.Advertise()).Term(testContext(t))
					if err != nil {
						t.Fatalf("node %s answers %v", m.mux.cfg.NodeID, err)
					}
					return term == l.raft.CurrentTerm()
				})
			}
		}
		last := l.raft.LastIndex()
		eventually(t, "all nodes to have all entries", func() bool {
			for _, m := range members {
				if m.raft.AppliedIndex() < last {
					return false
				}
			}
			return true
		})
		if err := l.raft.LeadershipTransfer().Error(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	for _, m := range members {
		if r, ok := m.mux.refusal(func(Refusal) bool { return true }); ok {
			t.Errorf("node %s saw a refusal: %+v", m.mux.cfg.NodeID, r)
		}
		if n := m.mux.Conns(); n[KindRaft] == 0 {
			t.Errorf("node %s has no Raft stream", m.mux.cfg.NodeID)
		}
	}
}
