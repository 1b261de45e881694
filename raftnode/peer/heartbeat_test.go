package peer

import (
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// gatedLog is a log store whose writes wait at a gate: they stand for a slow
// fsync on Raft's main loop.
type gatedLog struct {
	*raft.InmemStore
	mu      sync.Mutex
	gate    chan struct{} // nil while open
	arrived chan struct{}
}

func (g *gatedLog) StoreLogs(logs []*raft.Log) error {
	g.mu.Lock()
	gate := g.gate
	g.mu.Unlock()
	if gate != nil {
		g.arrived <- struct{}{}
		<-gate
	}
	return g.InmemStore.StoreLogs(logs)
}

func (g *gatedLog) StoreLog(log *raft.Log) error { return g.StoreLogs([]*raft.Log{log}) }

func (g *gatedLog) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := make(chan struct{})
	g.gate, g.arrived = gate, make(chan struct{}, 1)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.gate = nil
		close(gate)
	}
}

// openLeader starts Raft as the only voter n1 and waits until it leads.
func openLeader(t *testing.T, trans raft.Transport) (*raft.Raft, *gatedLog) {
	t.Helper()
	store := raft.NewInmemStore()
	log := &gatedLog{InmemStore: store}
	cfg := raft.DefaultConfig()
	cfg.LocalID = "n1"
	cfg.Logger = hclog.NewNullLogger()
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	snapshots := raft.NewInmemSnapshotStore()
	servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: trans.LocalAddr()}}}
	if err := raft.BootstrapCluster(cfg, log, store, snapshots, trans, servers); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(cfg, &raft.MockFSM{}, log, store, snapshots, trans)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	eventually(t, "a leader", func() bool { return r.State() == raft.Leader })
	if err := r.Barrier(10 * time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	return r, log
}

// heartbeatUnderWrite holds a leader's main loop in a write, sends it a heartbeat
// with a newer term, and returns whether its term changed before the write ended.
func heartbeatUnderWrite(t *testing.T, r *raft.Raft, log *gatedLog, heartbeat func(term uint64) error) bool {
	t.Helper()
	term := r.CurrentTerm()
	open := log.shut()
	applied := r.Apply([]byte("x"), 0)
	<-log.arrived
	answered := make(chan error, 1)
	go func() { answered <- heartbeat(term + 10) }()
	changed := false
	for deadline := time.Now().Add(300 * time.Millisecond); !changed && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		changed = r.CurrentTerm() != term || r.State() != raft.Leader
	}
	open()
	if err := <-answered; err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	if err := applied.Error(); err != nil && !changed {
		t.Logf("the write ended with %v, after the heartbeat had its turn", err)
	}
	eventually(t, "the newer term", func() bool { return r.CurrentTerm() >= term+10 })
	return changed
}

// TestBareLibraryChangesTermUnderALeader shows the trap that SetHeartbeatHandler
// is taken over for. If it fails, upstream has been mended.
func TestBareLibraryChangesTermUnderALeader(t *testing.T) {
	trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	sender, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	r, log := openLeader(t, trans)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n2"), Addr: []byte("b:1")}
	changed := heartbeatUnderWrite(t, r, log, func(term uint64) error {
		req := &raft.AppendEntriesRequest{RPCHeader: header, Term: term}
		return sender.AppendEntries("n1", trans.LocalAddr(), req, &raft.AppendEntriesResponse{})
	})
	if !changed {
		t.Error("the bare library waited for the main loop: the fast path is gone or safe, see DESIGN.md")
	}
}

func TestHeartbeatWaitsForTheMainLoop(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	r, log := openLeader(t, n1.Transport)
	changed := heartbeatUnderWrite(t, r, log, func(term uint64) error {
		req := &raft.AppendEntriesRequest{RPCHeader: n2.header(), Term: term}
		return n2.AppendEntries("n1", n1.LocalAddr(), req, &raft.AppendEntriesResponse{})
	})
	if changed {
		t.Error("a heartbeat changed the term while the leader's main loop was writing")
	}
}

func TestNoHeartbeatBypassesTheConsumer(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	n2.SetHeartbeatHandler(func(raft.RPC) { t.Error("a heartbeat went to the handler") })
	n2.NetworkTransport.SetHeartbeatHandler(func(raft.RPC) { t.Error("a heartbeat went to the library's handler") })
	var seen int
	n2.answerWith(t, func(rpc raft.RPC) {
		seen++
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	})
	const heartbeats = 100
	for range heartbeats {
		req := &raft.AppendEntriesRequest{RPCHeader: n1.header(), Term: 3}
		if err := n1.AppendEntries("n2", n2.LocalAddr(), req, &raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	if seen != heartbeats {
		t.Errorf("the consumer saw %d heartbeats of %d", seen, heartbeats)
	}
}
