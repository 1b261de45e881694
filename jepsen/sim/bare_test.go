package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// messages is a network of single messages for the bare library: each has its own
// delay, so they overtake each other, and each may be lost or come twice. A host
// that is held sends nothing and keeps what arrives, as one with a paused process.
type messages struct {
	mu    sync.Mutex
	rng   *rand.Rand
	hosts map[raft.ServerAddress]*bareTransport
	// delay is that of a message, at most; loss and twice are shares.
	delay       time.Duration
	loss, twice float64
	held        map[raft.ServerAddress]chan struct{}
	// away are hosts whose messages, in both directions, are lost.
	away map[raft.ServerAddress]bool
	// slow is how much longer everything but heartbeats takes to a host. Heartbeats
	// have a connection of their own, on which nothing stands before them.
	slow map[raft.ServerAddress]time.Duration
}

var errLost = errors.New("message or answer was lost")

// lossTimeout is when a sender gives up.
const lossTimeout = 2 * time.Second

func newMessages(rng *rand.Rand) *messages {
	return &messages{
		rng: rand.New(rand.NewPCG(rng.Uint64(), 10)), hosts: map[raft.ServerAddress]*bareTransport{}, delay: 2 * time.Millisecond,
		held: map[raft.ServerAddress]chan struct{}{}, slow: map[raft.ServerAddress]time.Duration{},
		away: map[raft.ServerAddress]bool{},
	}
}

// hold keeps what arrives at a host until the function that it returns is called.
func (m *messages) hold(a raft.ServerAddress) (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make(chan struct{})
	m.held[a] = held
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.held, a)
		close(held)
	}
}

// cut loses what a host sends and is sent, until the function that it returns is called.
func (m *messages) cut(a raft.ServerAddress) (heal func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away[a] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.away, a)
	}
}

// pass takes a message to a host, and says whether it arrived, and
// whether it arrives once more.
func (m *messages) pass(from, to raft.ServerAddress, heartbeat bool) (arrived, again bool) {
	m.mu.Lock()
	delay := time.Duration(m.rng.Int64N(int64(m.delay)))
	if !heartbeat {
		delay += m.slow[to]
	}
	lost, again := m.rng.Float64() < m.loss || m.away[from] || m.away[to], m.rng.Float64() < m.twice
	m.mu.Unlock()
	time.Sleep(delay)
	m.mu.Lock()
	held, late := m.held[to], time.Duration(m.rng.Int64N(int64(3*usualFsync)))
	m.mu.Unlock()
	if held != nil {
		<-held
		time.Sleep(late)
	}
	return !lost, again
}

// bareTransport is the raft.Transport of one node.
type bareTransport struct {
	*messages
	address  raft.ServerAddress
	consumer chan raft.RPC
	// fastPath has heartbeats handled beside Raft's main loop, as the library's own
	// transport does.
	fastPath  bool
	heartbeat func(raft.RPC)
	closed    chan struct{}
	once      sync.Once
}

func (t *bareTransport) Consumer() <-chan raft.RPC            { return t.consumer }
func (t *bareTransport) LocalAddr() raft.ServerAddress        { return t.address }
func (t *bareTransport) SetHeartbeatHandler(f func(raft.RPC)) { t.heartbeat = f }
func (t *bareTransport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte {
	return []byte(a)
}
func (t *bareTransport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }
func (t *bareTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}
func (t *bareTransport) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	b, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	return call(t, to, &snapshotMessage{*args, b}, resp)
}

// snapshotMessage is a request with what follows it.
type snapshotMessage struct {
	request raft.InstallSnapshotRequest
	data    []byte
}

func (t *bareTransport) AppendEntries(_ raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	request := *args
	return call(t, to, &request, resp)
}

func (t *bareTransport) RequestVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	request := *args
	return call(t, to, &request, resp)
}

func (t *bareTransport) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	request := *args
	return call(t, to, &request, resp)
}

func (t *bareTransport) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	request := *args
	return call(t, to, &request, resp)
}

// call delivers a request, and fills in the answer.
func call[R any](t *bareTransport, to raft.ServerAddress, request any, resp *R) error {
	t.mu.Lock()
	paused := t.held[t.address]
	t.mu.Unlock()
	if paused != nil {
		<-paused
	}
	arrived, again := t.pass(t.address, to, isHeartbeat(request))
	if !arrived {
		time.Sleep(lossTimeout)
		return errLost
	}
	t.mu.Lock()
	target := t.hosts[to]
	t.mu.Unlock()
	if again {
		go func() {
			t.pass(t.address, to, false)
			target.deliver(request)
		}()
	}
	answer, err := target.deliver(request)
	if back, _ := t.pass(to, t.address, false); !back {
		time.Sleep(lossTimeout)
		return errLost
	}
	if err != nil {
		return err
	}
	*resp = *answer.(*R)
	return nil
}

// isHeartbeat says what the library's own transport takes for a heartbeat.
func isHeartbeat(request any) bool {
	a, ok := request.(*raft.AppendEntriesRequest)
	return ok && a.Term != 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// slowDown delays all but heartbeats to a host.
func (m *messages) slowDown(to raft.ServerAddress, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slow[to] = by
}

// die has nobody hear from this node any more.
func (t *bareTransport) die() { t.once.Do(func() { close(t.closed) }) }

// deliver hands a request to Raft and waits for the answer.
func (t *bareTransport) deliver(request any) (any, error) {
	answers := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{Command: request, RespChan: answers}
	if s, ok := request.(*snapshotMessage); ok {
		rpc.Command, rpc.Reader = &s.request, bytes.NewReader(s.data)
	}
	if t.fastPath && isHeartbeat(request) {
		t.heartbeat(rpc)
	} else {
		select {
		case t.consumer <- rpc:
		case <-t.closed:
			return nil, errLost
		}
	}
	select {
	case answer := <-answers:
		return answer.Response, answer.Error
	case <-t.closed:
		return nil, errLost
	}
}

// bareNode is the library with stores in memory. Its appends wait while gate is
// closed, as in a process that is paused or on a disk that hangs.
type bareNode struct {
	*raft.Raft
	transport *bareTransport
	store     *gatedStore
	machine   *bareMachine
	snapshots *raft.InmemSnapshotStore
	config    *raft.Config
	// open opens other stores than store, if it is not nil, at each start.
	open   func(*bareNode) (raft.LogStore, raft.StableStore)
	logs   raft.LogStore
	stable raft.StableStore
}

type gatedStore struct {
	*raft.InmemStore
	mu   sync.Mutex
	gate chan struct{}
}

func (s *gatedStore) close() (open func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate = gate
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gate = nil
		close(gate)
	})
}

func (s *gatedStore) StoreLogs(logs []*raft.Log) error {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	time.Sleep(usualFsync)
	return s.InmemStore.StoreLogs(logs)
}

func (s *gatedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// bareMachine counts what is applied, and what is restored. slow is how long a
// command takes.
type bareMachine struct {
	slow time.Duration
	// installed, if not nil, is called when a snapshot has become the state.
	installed func()

	mu                sync.Mutex
	applied, restored int
	index             uint64
}

func (m *bareMachine) Apply(entry *raft.Log) any {
	time.Sleep(m.slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied++
	m.index = entry.Index
	return m.applied
}

// durable is the index up to which all is applied.
func (m *bareMachine) durable() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.index
}

func (m *bareMachine) reached(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index = index
}

func (m *bareMachine) installs() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restored
}

func (m *bareMachine) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// bareCluster starts three nodes. tune changes what each is told.
func bareCluster(t *testing.T, network *messages, fastPath bool, tune func(*raft.Config)) []*bareNode {
	t.Helper()
	return bareClusterOn(t, network, fastPath, tune, nil)
}

// bareClusterOn starts three nodes on the stores that open opens.
func bareClusterOn(t *testing.T, network *messages, fastPath bool, tune func(*raft.Config), open func(*bareNode) (raft.LogStore, raft.StableStore)) []*bareNode {
	t.Helper()
	var members raft.Configuration
	for i := range 3 {
		a := fmt.Sprintf("n%d", i+1)
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(a), Address: raft.ServerAddress(a)})
		network.hosts[raft.ServerAddress(a)] = &bareTransport{
			messages: network, address: raft.ServerAddress(a), consumer: make(chan raft.RPC), fastPath: fastPath, closed: make(chan struct{}),
		}
	}
	var nodes []*bareNode
	for _, member := range members.Servers {
		c := raft.DefaultConfig()
		c.LocalID = member.ID
		c.Logger = hclog.NewNullLogger()
		c.NoLegacyTelemetry = true
		tune(c)
		n := &bareNode{
			transport: network.hosts[member.Address], store: &gatedStore{InmemStore: raft.NewInmemStore()}, machine: &bareMachine{},
			snapshots: raft.NewInmemSnapshotStore(), config: c, open: open,
		}
		n.openStores()
		if err := raft.BootstrapCluster(c, n.logs, n.stable, n.snapshots, n.transport, members); err != nil {
			t.Fatal(err)
		}
		n.start(t)
		nodes = append(nodes, n)
	}
	return nodes
}

func (n *bareNode) openStores() {
	n.logs, n.stable = n.store, n.store
	if n.open != nil {
		n.logs, n.stable = n.open(n)
	}
}

func (n *bareNode) start(t *testing.T) {
	t.Helper()
	var err error
	if n.Raft, err = raft.NewRaft(n.config, n.machine, n.logs, n.stable, n.snapshots, n.transport); err != nil {
		t.Fatal(err)
	}
}

// reborn ends the node's process and starts it again on what is stored, and on a
// state machine that had applied so much. meanwhile is called while it is down.
func (n *bareNode) reborn(t *testing.T, machine *bareMachine, meanwhile func()) *bareNode {
	t.Helper()
	n.transport.die()
	store := raft.NewInmemStore()
	copyStore(t, n.store.InmemStore, store)
	transport := &bareTransport{
		messages: n.transport.messages, address: n.transport.address, consumer: make(chan raft.RPC), fastPath: n.transport.fastPath, closed: make(chan struct{}),
	}
	n.transport.mu.Lock()
	n.transport.hosts[n.transport.address] = transport
	n.transport.mu.Unlock()
	if err := n.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	meanwhile()
	again := &bareNode{transport: transport, store: &gatedStore{InmemStore: store}, machine: machine, snapshots: n.snapshots, config: n.config, open: n.open}
	again.openStores()
	again.start(t)
	return again
}

// copyStore copies the log, the term and the vote.
func copyStore(t *testing.T, from, to *raft.InmemStore) {
	t.Helper()
	first, err := from.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := from.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last && i > 0; i++ {
		var entry raft.Log
		if from.GetLog(i, &entry) == nil {
			if err := to.StoreLog(&entry); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range []string{"CurrentTerm", voteTermKey} {
		if value, err := from.GetUint64([]byte(key)); err == nil {
			if err := to.SetUint64([]byte(key), value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if candidate, err := from.Get([]byte(voteCandidateKey)); err == nil {
		if err := to.Set([]byte(voteCandidateKey), candidate); err != nil {
			t.Fatal(err)
		}
	}
}

// stopBare ends all goroutines of the nodes.
func stopBare(t *testing.T, nodes []*bareNode) {
	t.Helper()
	for _, n := range nodes {
		if err := n.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		n.transport.die()
	}
}

// bareLeader waits for a node that leads and commits.
func bareLeader(t *testing.T, nodes ...*bareNode) *bareNode {
	t.Helper()
	for range 1000 {
		for _, n := range nodes {
			if n.State() == raft.Leader && n.Apply([]byte("x"), time.Second).Error() == nil {
				return n
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no leader")
	return nil
}

// except are all nodes but one.
func except(nodes []*bareNode, but *bareNode) []*bareNode {
	var rest []*bareNode
	for _, n := range nodes {
		if n != but {
			rest = append(rest, n)
		}
	}
	return rest
}
