package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/raftnode/logstore"
)

// testTimeout is how long a test waits for what must happen.
const testTimeout = 30 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok, and fails the test with what otherwise.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within %s: %s", testTimeout, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// bothLogStores runs a test on each log store.
func bothLogStores(t *testing.T, test func(t *testing.T, kind logstore.Kind)) {
	for _, kind := range []logstore.Kind{logstore.WAL, logstore.BoltDB} {
		t.Run(string(kind), func(t *testing.T) { test(t, kind) })
	}
}

// network lets tests cut nodes off. It knows who dials whom.
type network struct {
	mu    sync.Mutex
	ids   map[string]string // by address
	cut   map[string]bool
	apart map[[2]string]bool
	conns map[net.Conn][2]string
}

func newNetwork() *network {
	return &network{ids: map[string]string{}, cut: map[string]bool{}, apart: map[[2]string]bool{}, conns: map[net.Conn][2]string{}}
}

var errCut = errors.New("the network is cut here")

func (w *network) dialer(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, kind, address string) (net.Conn, error) {
		w.mu.Lock()
		to := w.ids[address]
		refused := w.refuses(from, to)
		w.mu.Unlock()
		if refused {
			return nil, errCut
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, kind, address)
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.refuses(from, to) {
			return nil, errors.Join(errCut, conn.Close())
		}
		w.conns[conn] = [2]string{from, to}
		return conn, nil
	}
}

func (w *network) refuses(from, to string) bool {
	return w.cut[from] || w.cut[to] || w.apart[[2]string{from, to}] || w.apart[[2]string{to, from}]
}

// separate keeps two nodes from making new connections with each other.
func (w *network) separate(a, b string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.apart[[2]string{a, b}] = true
}

// isolate cuts a node off from all others.
func (w *network) isolate(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[id] = true
	for conn, ends := range w.conns {
		if ends[0] == id || ends[1] == id {
			conn.Close()
			delete(w.conns, conn)
		}
	}
}

func (w *network) heal(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.cut, id)
}

// testCluster is some nodes of one process.
type testCluster struct {
	t       testing.TB
	kind    logstore.Kind
	network *network
	initial map[string]string
	nodes   map[string]*testNode
	// tune changes the configuration of each node before it starts.
	tune func(*Config)
}

type testNode struct {
	*Node
	id, address, dir string
	machine          *fakeMachine
	fatals           chan error
}

// newCluster makes a cluster of n members, n1, n2, …, and starts them.
func newCluster(t testing.TB, kind logstore.Kind, n int, tune func(*Config)) *testCluster {
	t.Helper()
	c := &testCluster{t: t, kind: kind, network: newNetwork(), initial: map[string]string{}, nodes: map[string]*testNode{}, tune: tune}
	var listeners []net.Listener
	for i := range n {
		listener := c.listen("127.0.0.1:0")
		listeners = append(listeners, listener)
		c.initial[fmt.Sprintf("n%d", i+1)] = listener.Addr().String()
	}
	for i, listener := range listeners {
		id := fmt.Sprintf("n%d", i+1)
		c.add(id, c.initial[id])
		c.start(id, c.initial, listener)
	}
	t.Cleanup(c.stopAll)
	return c
}

func (c *testCluster) listen(address string) net.Listener {
	c.t.Helper()
	var listener net.Listener
	eventually(c.t, "listen on "+address, func() (ok bool) {
		var err error
		listener, err = net.Listen("tcp", address)
		return err == nil
	})
	return listener
}

// add makes a node without starting it.
func (c *testCluster) add(id, address string) *testNode {
	c.network.mu.Lock()
	c.network.ids[address] = id
	c.network.mu.Unlock()
	node := &testNode{id: id, address: address, dir: filepath.Join(c.t.TempDir(), id), machine: newFakeMachine()}
	c.nodes[id] = node
	return node
}

// join starts a node that waits to be added.
func (c *testCluster) join(id string) *testNode {
	c.t.Helper()
	listener := c.listen("127.0.0.1:0")
	node := c.add(id, listener.Addr().String())
	c.start(id, nil, listener)
	return node
}

func (c *testCluster) config(node *testNode) Config {
	cfg := DefaultConfig()
	cfg.NodeID, cfg.DataDir, cfg.LogStore = node.id, node.dir, c.kind
	cfg.RaftAdvertise = node.address
	cfg.ClientAddress, cfg.Version = "client-of-"+node.id, "test"
	cfg.Machine, cfg.EncodeEntry, cfg.Noop = node.machine, encodeFake, fakeNoop
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	cfg.CommitTimeout = 10 * time.Millisecond
	cfg.SnapshotInterval = time.Hour
	cfg.PeerTimeout = time.Second
	cfg.ProbeInterval = 20 * time.Millisecond
	cfg.DialContext = c.network.dialer(node.id)
	cfg.Logger = testLogger(c.t)
	fatals := make(chan error, 16)
	node.fatals = fatals
	cfg.Fatal = func(err error) {
		fatals <- err
		select {} // it must not return
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	return cfg
}

// testLogger writes to the test's log if asked to.
func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("RAFTNODE_LOG") == "" {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start starts a node, on the listener or on its own address.
func (c *testCluster) start(id string, initial map[string]string, listener net.Listener) *testNode {
	c.t.Helper()
	node := c.nodes[id]
	cfg := c.config(node)
	cfg.InitialCluster = initial
	if listener == nil {
		listener = c.listen(node.address)
	}
	cfg.Listener = listener
	n, err := Open(cfg)
	if err != nil {
		c.t.Fatalf("start %s: %v", id, err)
	}
	node.Node = n
	return node
}

func (c *testCluster) restart(id string) *testNode { return c.start(id, c.initial, nil) }

// stop stops a node as if its process had ended: the network is cut first, so that
// it hands nothing over.
func (c *testCluster) stop(id string) {
	c.t.Helper()
	node := c.nodes[id]
	c.network.isolate(id)
	defer c.network.heal(id)
	if err := node.Shutdown(testContext(c.t)); err != nil {
		c.t.Fatalf("stop %s: %v", id, err)
	}
	node.Node = nil
}

func (c *testCluster) stopAll() {
	for id, node := range c.nodes {
		if node.Node == nil {
			continue
		}
		if err := node.Shutdown(testContext(c.t)); err != nil {
			c.t.Errorf("stop %s: %v", id, err)
		}
		if err := checkIndexes(node.machine); err != nil {
			c.t.Errorf("%s: %v", id, err)
		}
		select {
		case err := <-node.fatals:
			c.t.Errorf("%s ended its process: %v", id, err)
		default:
		}
	}
}

func checkIndexes(m *fakeMachine) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.IsSorted(m.indexes) || len(slices.Compact(slices.Clone(m.indexes))) != len(m.indexes) {
		return fmt.Errorf("entries were applied twice or out of order: %v", m.indexes)
	}
	return nil
}

// leader waits for a node that takes proposals and can confirm it.
func (c *testCluster) leader() *testNode {
	c.t.Helper()
	var leader *testNode
	eventually(c.t, "a leader", func() bool {
		for _, node := range c.nodes {
			if node.Node == nil || c.isCut(node.id) || !node.IsLeader() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := node.ReadIndex(ctx)
			cancel()
			if err == nil && node.IsLeader() {
				leader = node
				return true
			}
		}
		return false
	})
	return leader
}

func (c *testCluster) isCut(id string) bool {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	return c.network.cut[id]
}

// followers are the running nodes but the leader, by id.
func (c *testCluster) followers(leader *testNode) []*testNode {
	var out []*testNode
	for _, node := range c.nodes {
		if node != leader && node.Node != nil {
			out = append(out, node)
		}
	}
	slices.SortFunc(out, func(a, b *testNode) int { return compare(a.id, b.id) })
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// propose proposes until a leader has applied the command; it may be applied twice.
func (c *testCluster) propose(command string) {
	c.t.Helper()
	eventually(c.t, "propose "+command, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := c.leader().Propose(ctx, []byte(command))
		return err == nil
	})
}

// fill proposes n commands at once.
func (c *testCluster) fill(prefix string, n int) {
	c.t.Helper()
	leader := c.leader()
	var pending []*Pending
	for i := range n {
		pending = append(pending, leader.ProposeAsync(fmt.Appendf(nil, "%s-%d", prefix, i)))
	}
	for _, p := range pending {
		if _, err := p.Wait(testContext(c.t)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// agree waits until all running nodes hold the same, and returns it.
func (c *testCluster) agree() []string {
	c.t.Helper()
	var want []string
	eventually(c.t, "all nodes hold the same", func() bool {
		want = c.leader().machine.commands()
		for _, node := range c.nodes {
			if node.Node != nil && !slices.Equal(node.machine.commands(), want) {
				return false
			}
		}
		return true
	})
	return want
}

// pausedLog is a log whose appends can be held up, as by a disk that hangs or a
// process that is paused.
type pausedLog struct {
	raft.LogStore
	gate *gate
}

func (l pausedLog) StoreLogs(logs []*raft.Log) error {
	l.gate.pass()
	return l.LogStore.StoreLogs(logs)
}

// gate lets everything pass unless it is closed.
type gate struct {
	mu     sync.Mutex
	closed chan struct{}
	waits  int
}

func (g *gate) pass() {
	g.mu.Lock()
	closed := g.closed
	if closed != nil {
		g.waits++
	}
	g.mu.Unlock()
	if closed != nil {
		<-closed
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.waits = make(chan struct{}), 0
}

func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waits
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}
