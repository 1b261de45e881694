package logstore

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// recorder is a state machine that counts commands, and calls a hook when it is
// restored.
type recorder struct {
	mu       sync.Mutex
	applied  int
	restored func()
}

func (r *recorder) Apply(*raft.Log) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied++
	return nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

func (r *recorder) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("not needed") }

func (r *recorder) Restore(in io.ReadCloser) error {
	if r.restored != nil {
		r.restored()
	}
	return in.Close()
}

func raftConfig(id raft.ServerID) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID, c.LogOutput, c.NoLegacyTelemetry = id, io.Discard, true
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	c.NoSnapshotRestoreOnStart = true
	return c
}

// A Raft node of its own runs on the store and finds everything again.
func TestRaftRunsOnTheStore(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		for round := 1; round <= 3; round++ {
			s := mustOpen(t, o)
			_, trans := raft.NewInmemTransport("self")
			conf := raftConfig("self")
			if round == 1 {
				servers := []raft.Server{{ID: "self", Address: "self"}}
				err := raft.BootstrapCluster(conf, s.Log(), s.Stable(), raft.NewInmemSnapshotStore(), trans, raft.Configuration{Servers: servers})
				if err != nil {
					t.Fatal(err)
				}
			}
			fsm := &recorder{}
			r, err := raft.NewRaft(conf, fsm, s.Log(), s.Stable(), raft.NewInmemSnapshotStore(), trans)
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-r.LeaderCh():
			case <-time.After(10 * time.Second):
				t.Fatal("no leader")
			}
			for range 100 {
				if err := r.Apply([]byte("command"), 10*time.Second).Error(); err != nil {
					t.Fatal(err)
				}
			}
			if n := fsm.count(); n != 100*round {
				t.Errorf("round %d: %d commands were applied", round, n)
			}
			if err := errors.Join(r.Shutdown().Error(), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// follower is a Raft node with entries 1 to 60, all of term 1, to which a leader
// sends messages.
type follower struct {
	t      testing.TB
	raft   *raft.Raft
	leader raft.LoopbackTransport
}

func startFollower(t testing.TB, logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore, restored func()) *follower {
	t.Helper()
	_, trans := raft.NewInmemTransport("self")
	_, leader := raft.NewInmemTransport("leader")
	leader.Connect("self", trans)
	conf := raftConfig("self")
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = time.Minute, time.Minute, time.Minute
	r, err := raft.NewRaft(conf, &recorder{restored: restored}, logs, stable, snaps, trans)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t, r, leader}
	t.Cleanup(f.stop)
	return f
}

func (f *follower) stop() {
	if err := f.raft.Shutdown().Error(); err != nil {
		f.t.Error(err)
	}
}

var servers = raft.Configuration{Servers: []raft.Server{{ID: "leader", Address: "leader"}, {ID: "self", Address: "self"}}}

// install sends a snapshot as the leader of term 9.
func (f *follower) install(index, term uint64) {
	f.t.Helper()
	data := []byte("state")
	req := raft.InstallSnapshotRequest{
		RPCHeader:       raft.RPCHeader{ProtocolVersion: 3, ID: []byte("leader"), Addr: []byte("leader")},
		SnapshotVersion: 1, Term: 9, LastLogIndex: index, LastLogTerm: term,
		Configuration: raft.EncodeConfiguration(servers), ConfigurationIndex: 1, Size: int64(len(data)),
	}
	var resp raft.InstallSnapshotResponse
	if err := f.leader.InstallSnapshot("self", "self", &req, &resp, bytes.NewReader(data)); err != nil || !resp.Success {
		f.t.Fatalf("InstallSnapshot: %+v, %v", resp, err)
	}
}

// append sends the entry after prev as the leader of term 9, and reports whether
// the follower took it.
func (f *follower) append(prev, prevTerm uint64) bool {
	f.t.Helper()
	next := testEntry(prev+1, 9, 10)
	next.Type = raft.LogCommand
	req := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("leader"), Addr: []byte("leader")},
		Term:      9, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: []*raft.Log{next},
	}
	var resp raft.AppendEntriesResponse
	if err := f.leader.AppendEntries("self", "self", &req, &resp); err != nil {
		f.t.Fatal(err)
	}
	return resp.Success
}

func followerLog(t testing.TB, logs raft.LogStore) {
	t.Helper()
	entries := testEntries(1, 60, 1)
	for _, l := range entries {
		l.Type = raft.LogCommand
	}
	entries[0].Type, entries[0].Data = raft.LogConfiguration, raft.EncodeConfiguration(servers)
	if err := logs.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
}

// After it installed a snapshot at 40, hashicorp/raft deletes all of a log that
// says that it is monotonic: also entries 41 to 60, which this follower has
// acknowledged and the leader may have counted.
func TestBareWALLosesAcknowledgedEntriesToASnapshot(t *testing.T) {
	logs, done := openBare(t, testOptions(t, WAL))
	followerLog(t, logs)
	f := startFollower(t, logs, raft.NewInmemStore(), raft.NewInmemSnapshotStore(), nil)
	f.install(40, 1)
	last, err := logs.LastIndex()
	if last != 0 || err != nil {
		t.Fatalf("the log ends at %d, %v; it used to be emptied", last, err)
	}
	f.stop()
	if err := done(); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotKeepsAcknowledgedEntries(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(0)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		followerLog(t, s.Log())
		f := startFollower(t, s.Log(), s.Stable(), raft.NewInmemSnapshotStore(), func() {
			durable = 40
			if conflict, err := s.SnapshotInstalled(40, 1); conflict || err != nil {
				t.Errorf("SnapshotInstalled: %v, %v", conflict, err)
			}
		})
		f.install(40, 1)
		if s.LastIndex() != 60 {
			t.Fatalf("the log ends at %d", s.LastIndex())
		}
		if !f.append(60, 1) {
			t.Error("the next entry was refused")
		}
		f.stop()
	})
}

func TestSnapshotBeyondTheLog(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(0)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		followerLog(t, s.Log())
		f := startFollower(t, s.Log(), s.Stable(), raft.NewInmemSnapshotStore(), func() {
			durable = 100
			if conflict, err := s.SnapshotInstalled(100, 5); conflict || err != nil {
				t.Errorf("SnapshotInstalled: %v, %v", conflict, err)
			}
		})
		f.install(100, 5)
		if !f.append(100, 5) || !f.append(101, 9) || s.FirstIndex() != 101 || s.LastIndex() != 102 {
			t.Errorf("after the snapshot at 100 the log is %d to %d", s.FirstIndex(), s.LastIndex())
		}
		f.stop()
	})
}

// With a conflicting tail beyond the snapshot the Raft instance is stuck; after
// the restart that conflict asks for, it goes on.
func TestConflictNeedsARestart(t *testing.T) {
	forKinds(t, func(t *testing.T, o Options) {
		durable := uint64(0)
		o.Durable = func() uint64 { return durable }
		s := mustOpen(t, o)
		followerLog(t, s.Log())
		snaps := raft.NewInmemSnapshotStore()
		conflict := false
		f := startFollower(t, s.Log(), s.Stable(), snaps, func() {
			durable = 60
			var err error
			if conflict, err = s.SnapshotInstalled(60, 5); err != nil {
				t.Errorf("SnapshotInstalled: %v", err)
			}
		})
		f.install(60, 5)
		if !conflict {
			t.Fatal("no conflict was seen")
		}
		if f.append(60, 5) {
			t.Error("the same instance took the next entry: the restart is not needed any more")
		}
		f.stop()
		f = startFollower(t, s.Log(), s.Stable(), snaps, nil)
		if !f.append(60, 5) || s.FirstIndex() != 61 {
			t.Errorf("after the restart the log is %d to %d", s.FirstIndex(), s.LastIndex())
		}
		f.stop()
	})
}
