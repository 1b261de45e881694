package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/logstore"
	"tidemark/raftnode/peer"
)

func TestShutdownHandsLeadershipOver(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.propose("a")
	c.agree()
	leader := c.leader()
	start := time.Now()
	if err := leader.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := leader.Shutdown(testContext(t)); err != nil {
		t.Fatalf("a second call: %v", err)
	}
	took := time.Since(start)
	leads := 0
	for _, node := range c.followers(leader) {
		if node.IsLeader() {
			leads++
		}
	}
	if leads != 1 {
		t.Errorf("%d nodes lead right after the shutdown", leads)
	}
	if took > 10*leader.cfg.ElectionTimeout {
		t.Errorf("handing over and stopping took %s", took)
	}
	if _, err := leader.ReadIndex(testContext(t)); !errors.Is(err, tidemark.ErrStopping) {
		t.Error(err)
	}
	if _, err := leader.Propose(testContext(t), []byte("x")); !errors.Is(err, tidemark.ErrStopping) {
		t.Error(err)
	}
	if err := leader.Ready(); !errors.Is(err, tidemark.ErrStopping) {
		t.Error(err)
	}
	if _, _, err := leader.TakeSnapshot(testContext(t)); !errors.Is(err, tidemark.ErrStopping) {
		t.Error(err)
	}
	if err := leader.AddMember(testContext(t), "n9", "x:1"); !errors.Is(err, tidemark.ErrStopping) {
		t.Error(err)
	}
	leader.Node = nil
	c.propose("b")
}

// Whatever is pending when a node stops gets an answer.
func TestShutdownResolvesWhatIsPending(t *testing.T) {
	for _, members := range []int{1, 3} {
		c := newCluster(t, logstore.WAL, members, nil)
		c.propose("a")
		leader := c.leader()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for caller := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					p := leader.ProposeAsync(fmt.Appendf(nil, "%d %d", caller, i))
					select {
					case <-p.Done():
					case <-time.After(testTimeout):
						t.Error("a proposal was never resolved")
						return
					}
					if err := p.err; err != nil && !errors.Is(err, tidemark.ErrStopping) && !errors.Is(err, tidemark.ErrNotLeader) &&
						!errors.Is(err, tidemark.ErrOutcomeUnknown) {
						t.Errorf("resolved with %v", err)
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		if members > 1 {
			c.network.isolate(leader.id)
		}
		if err := leader.Shutdown(testContext(t)); err != nil {
			t.Fatal(err)
		}
		close(stop)
		wg.Wait()
		leader.Node = nil
	}
}

// A node whose disk hangs stops within its context, and says that it could not.
func TestShutdownOfANodeThatHangs(t *testing.T) {
	c, gates := gatedCluster(t, 1)
	c.propose("a")
	node := c.leader()
	gates["n1"].close()
	stuck := node.ProposeAsync([]byte("stuck"))
	eventually(t, "it hangs", func() bool { return gates["n1"].waiting() > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := node.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := stuck.Wait(testContext(t)); !errors.Is(err, tidemark.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	gates["n1"].open()
	node.Node = nil
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	c := newCluster(t, logstore.WAL, 3, nil)
	c.fill("a", 100)
	c.agree()
	c.stopAll()
	for _, node := range c.nodes {
		node.Node = nil
	}
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+1 })
}

// A successor that is paused does not answer; the leader that asked it goes on.
func TestTransferToAPausedNodeEnds(t *testing.T) {
	c, gates := gatedCluster(t, 3)
	c.propose("a")
	c.agree()
	leader := c.leader()
	target := c.followers(leader)[0]
	gates[target.id].close()
	c.propose("b") // its main loop hangs in this one
	eventually(t, "the target hangs", func() bool { return gates[target.id].waiting() > 0 })
	if _, err := leader.TransferLeadership(testContext(t), target.id); err == nil {
		t.Fatal("leadership went to a node that hangs")
	}
	c.propose("c")
	gates[target.id].open()
	c.agree()
}

// stuckRaft refuses everything as if a transfer never ended.
func TestHangingTransferEndsTheProcess(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	node := c.leader()
	fatal := make(chan error, 1)
	n := &Node{cfg: node.cfg, raft: node.raft, machine: node.machine, proposer: node.proposer, leader: node.leader, logger: node.logger,
		ctx: node.ctx, raftDone: node.raftDone}
	n.cfg.Fatal = func(err error) { fatal <- err }
	n.cfg.ElectionTimeout = time.Millisecond
	refuse := func(raft.Log) raft.ApplyFuture { return refused{raft.ErrLeadershipTransferInProgress} }
	n.establishWith(1, n.raft.CurrentTerm(), refuse)
	select {
	case err := <-fatal:
		if !strings.Contains(err.Error(), "transfer") {
			t.Error(err)
		}
	default:
		t.Fatal("the process went on")
	}
}

type refused struct{ err error }

func (f refused) Error() error  { return f.err }
func (f refused) Index() uint64 { return 0 }
func (f refused) Response() any { return nil }

// Trap 5: a log that holds other entries behind an installed snapshot is emptied,
// and the process starts again.
func TestConflictingLogIsDroppedAndTheProcessRestarts(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		m := newFakeMachine()
		logs, err := logstore.Open(logstore.Options{Kind: kind, Dir: filepath.Join(t.TempDir(), "raft"), Durable: m.DurableIndex,
			Fatal: func(err error) { panic(err) }})
		if err != nil {
			t.Fatal(err)
		}
		defer logs.Close()
		store := func(from, to, term uint64) {
			for i := from; i <= to; i++ {
				if err := logs.Log().StoreLog(&raft.Log{Index: i, Term: term}); err != nil {
					t.Fatal(err)
				}
			}
		}
		install := func(index, term uint64) error {
			m.state.Applied = tidemark.Applied{Index: index, Term: term, InstalledIndex: index}
			m.durable = m.state.clone()
			return (&Node{logs: logs}).fitLog(index, term)
		}
		store(1, 15, 1)
		if err := install(8, 1); err != nil || logs.LastIndex() != 15 {
			t.Fatalf("a log that agrees lost its tail: %v, it ends at %d", err, logs.LastIndex())
		}
		if err := install(12, 2); !errors.Is(err, ErrRestart) || logs.LastIndex() != 0 {
			t.Fatalf("%v, the log ends at %d", err, logs.LastIndex())
		}
		store(13, 14, 2)
		if err := install(20, 3); err != nil || logs.LastIndex() != 0 {
			t.Fatalf("a log that ends before the snapshot: %v, it ends at %d", err, logs.LastIndex())
		}
		store(21, 22, 3)
	})
}

// Trap 7.
func TestWatchdogSeesAFollowerThatStands(t *testing.T) {
	var w followerWatch
	at := func(a, b uint64) map[string]peer.Info {
		return map[string]peer.Info{"a": {LastIndex: a}, "b": {LastIndex: b}}
	}
	for look := range 6 {
		last := uint64(100 + 10*look)
		got := w.look(last, at(50, last-20)) // a stands, b follows, always a little behind
		if want := look >= stalledAfter; got["a"] != want || got["b"] {
			t.Fatalf("look %d: %v", look, got)
		}
	}
	if got := w.look(200, at(51, 190)); got["a"] {
		t.Fatal("a follower that moves again is still called stalled")
	}
	for range 6 {
		if got := w.look(51, at(51, 51)); got["a"] {
			t.Fatal("followers of an idle leader are called stalled")
		}
	}
}

func TestStatusAndMetrics(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, nil)
	c.fill("a", 10)
	c.agree()
	leader := c.leader()
	down := c.followers(leader)[0]
	c.stop(down.id)
	for _, node := range c.nodes {
		if node.Node == nil {
			continue
		}
		var s Status
		eventually(t, node.id+" knows the leader's client address", func() bool {
			s = node.Status(testContext(t))
			return s.Leader.ClientAddress == "client-of-"+leader.id
		})
		if s.NodeID != node.id || len(s.Members) != 3 || s.Leader.ID != leader.id || s.CommitIndex == 0 || s.AppliedIndex == 0 ||
			s.LogStore != "wal" || s.Term == 0 || s.StartedAt.IsZero() {
			t.Errorf("%+v", s)
		}
		for _, m := range s.Members {
			if m.Reachable != (m.ID != down.id) || m.Leader != (m.ID == leader.id) || !m.Voter {
				t.Errorf("%s sees %+v", node.id, m)
			}
			if m.Reachable && m.ClientAddress != "client-of-"+m.ID {
				t.Errorf("%s sees the client address %q of %s", node.id, m.ClientAddress, m.ID)
			}
		}
	}
}

// Members whose connections stand and say nothing, as those of a frozen process do,
// do not hold up Status: clients look for the leader with it.
func TestStatusDoesNotWaitForFrozenMembers(t *testing.T) {
	frozen := make(chan struct{})
	thaw := make(chan struct{})
	c := newCluster(t, logstore.WAL, 3, func(cfg *Config) {
		cfg.PeerTimeout = time.Minute
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, kind, address string) (net.Conn, error) {
			conn, err := dial(ctx, kind, address)
			if err != nil {
				return nil, err
			}
			return &freezingConn{conn, frozen, thaw}, nil
		}
	})
	c.fill("a", 1)
	node := c.leader()
	eventually(t, "all members answer", func() bool {
		return !slices.ContainsFunc(node.Status(testContext(t)).Members, func(m Member) bool { return !m.Reachable })
	})
	close(frozen)
	defer close(thaw)
	start := time.Now()
	status := node.Status(testContext(t))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Status took %s", took)
	}
	for _, m := range status.Members {
		if m.Reachable != (m.ID == node.id) {
			t.Errorf("%+v", m)
		}
	}
}

// freezingConn delivers nothing between frozen and thaw.
type freezingConn struct {
	net.Conn
	frozen, thaw <-chan struct{}
}

func (c *freezingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.frozen:
		<-c.thaw
	default:
	}
	return n, err
}

func TestFullDiskRefusesSnapshots(t *testing.T) {
	n := &Node{cfg: Config{DataDir: t.TempDir()}}
	if err := n.admitSnapshot(1); err != nil {
		t.Fatal(err)
	}
	if err := n.admitSnapshot(1 << 60); !errors.Is(err, tidemark.ErrDiskFull) {
		t.Fatal(err)
	}
	if err := os.Remove(n.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := n.admitSnapshot(1); err == nil {
		t.Fatal("no error for a directory that is gone")
	}
}

// stuckReader stops after its first bytes until it is released.
type stuckReader struct {
	r              io.Reader
	reads          int
	stuck, release chan struct{}
}

func (s *stuckReader) Read(p []byte) (int, error) {
	if s.reads++; s.reads == 2 {
		close(s.stuck)
		<-s.release
	}
	return s.r.Read(p[:1])
}

// A node stops while it receives a snapshot, however long that would take.
func TestShutdownWhileASnapshotComes(t *testing.T) {
	c := newCluster(t, logstore.WAL, 3, func(cfg *Config) { cfg.TrailingTime, cfg.TrailingBytes = time.Nanosecond, 1 })
	c.fill("a", 10)
	away := c.followers(c.leader())[0]
	c.stop(away.id)
	for i := range 100 { // one entry each, so that more than raft's own trailing logs are deleted
		c.propose(fmt.Sprint("while away ", i))
	}
	leader := c.leader()
	if _, _, err := leader.TakeSnapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stuck, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	leader.machine.mu.Lock()
	leader.machine.snapshotReader = func(r io.Reader) io.Reader {
		once.Do(func() { r = &stuckReader{r: r, stuck: stuck, release: release} })
		return r
	}
	leader.machine.mu.Unlock()
	c.restart(away.id)
	<-stuck
	eventually(t, "raft waits for the snapshot", func() bool {
		away.snapshots.mu.Lock()
		defer away.snapshots.mu.Unlock()
		return away.snapshots.serial > 0
	})
	if err := away.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	away.Node = nil
}

// cloggedConn hangs once a snapshot was announced on it, as when the other side
// does not read, until it is closed.
type cloggedConn struct {
	net.Conn
	announced bool
	clogged   chan<- struct{}
	once      sync.Once
	closed    chan struct{}
}

func (c *cloggedConn) Write(p []byte) (int, error) {
	if c.announced {
		c.clogged <- struct{}{}
		<-c.closed
		return 0, net.ErrClosed
	}
	const installSnapshot = 2 // the first byte of the message in raft's net_transport.go
	c.announced = len(p) > 0 && p[0] == installSnapshot
	return c.Conn.Write(p)
}

func (c *cloggedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A leader stops while it sends a snapshot that is not read.
func TestShutdownWhileASnapshotGoes(t *testing.T) {
	clogged := make(chan struct{}, 100)
	c := newCluster(t, logstore.WAL, 3, func(cfg *Config) {
		cfg.TrailingTime, cfg.TrailingBytes = time.Nanosecond, 1
		dial := cfg.DialContext
		cfg.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &cloggedConn{Conn: conn, clogged: clogged, closed: make(chan struct{})}, nil
		}
	})
	c.fill("a", 10)
	away := c.followers(c.leader())[0]
	c.stop(away.id)
	for i := range 100 { // one entry each, so that more than raft's own trailing logs are deleted
		c.propose(fmt.Sprint("while away ", i))
	}
	leader := c.leader()
	if _, _, err := leader.TakeSnapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.restart(away.id)
	<-clogged
	if err := leader.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	leader.Node = nil
}
