package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/fsm"
	"tidemark/fsm/fsmpb"
	"tidemark/raftnode"
	"tidemark/rpc/tidemarkv1"
)

// fakeNode is a Node whose outcomes the test decides. It counts what it is asked.
type fakeNode struct {
	mu sync.Mutex
	// outcome answers the n-th proposal, counted from 1; nil succeeds with SeqID n.
	outcome func(n int, command *fsmpb.Command) (any, error)
	// hold keeps proposals without an outcome until it is closed; nil holds nothing.
	hold     chan struct{}
	proposed []*fsmpb.Command

	leader    raftnode.Leader
	known     bool
	leads     bool
	changed   chan struct{}
	ready     error
	staleness time.Duration
	// waitApplied and readIndex answer reads; nil succeeds.
	waitApplied func(context.Context, uint64) error
	readIndex   func(context.Context) (uint64, error)
	waited      []uint64
	members     []string
	memberErr   error
}

// leadingNode leads as "n1".
func leadingNode() *fakeNode {
	return &fakeNode{leads: true, known: true, leader: raftnode.Leader{ID: "n1", ClientAddress: "n1:1", Term: 1}, changed: make(chan struct{})}
}

// followingNode follows the leader.
func followingNode(leader string) *fakeNode {
	n := leadingNode()
	n.follow(leader)
	return n
}

func (n *fakeNode) follow(leader string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leads, n.known = false, leader != ""
	n.leader = raftnode.Leader{ID: leader, ClientAddress: leader + ":1"}
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *fakeNode) setReady(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = err
	close(n.changed)
	n.changed = make(chan struct{})
}

type fakePending struct {
	done     chan struct{}
	proposal tidemark.Proposal
	err      error
}

func (p *fakePending) Done() <-chan struct{} { return p.done }
func (p *fakePending) Wait(ctx context.Context) (tidemark.Proposal, error) {
	select {
	case <-p.done:
		return p.proposal, p.err
	case <-ctx.Done():
		return tidemark.Proposal{}, errors.Join(tidemark.ErrOutcomeUnknown, ctx.Err())
	}
}

func (n *fakeNode) propose(data []byte) *fakePending {
	command := &fsmpb.Command{}
	if err := proto.Unmarshal(data, command); err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proposed = append(n.proposed, command)
	number, outcome, hold := len(n.proposed), n.outcome, n.hold
	p := &fakePending{done: make(chan struct{})}
	finish := func() {
		defer close(p.done)
		if outcome == nil {
			outcome = succeed
		}
		p.proposal.Position = tidemark.Position(number)
		p.proposal.Result, p.err = outcome(number, command)
	}
	if hold == nil {
		finish()
	} else {
		go func() { <-hold; finish() }()
	}
	return p
}

// succeed is the outcome of a first append, batch or acknowledgement.
func succeed(n int, command *fsmpb.Command) (any, error) {
	one := fsm.AppendResult{SeqID: tidemark.SeqID(n), ServerTime: 1}
	switch {
	case command.GetAppendBatch() != nil:
		result := fsm.AppendBatchResult{}
		for range command.GetAppendBatch().GetItems() {
			result.Results = append(result.Results, one)
		}
		return result, nil
	case command.GetTrim() != nil:
		return fsm.TrimResult{Head: fakeHead, Trimmed: 1}, nil
	case command.GetDeleteTimeline() != nil:
		return fsm.DeleteTimelineResult{Head: fakeHead}, nil
	case command.GetUpdateTimeline() != nil:
		return fsm.UpdateTimelineResult{Head: fakeHead}, nil
	case command.GetImport() != nil:
		return fsm.ImportResult{Head: fakeHead}, nil
	case command.GetSetPolicy() != nil:
		return fsm.SetPolicyResult{}, nil
	case command.GetSetRecipients() != nil:
		return fsm.SetRecipientsResult{Version: uint64(n), Count: 1}, nil
	case command.GetRevise() != nil:
		return fsm.ReviseResult{Revision: 1, SeqID: tidemark.SeqID(n)}, nil
	case command.GetAck() != nil:
		result := fsm.AckResult{}
		for _, item := range command.GetAck().GetItems() {
			result.Cursors = append(result.Cursors, tidemark.Cursor{Timeline: tidemark.TimelineID(item.GetTimeline())})
			result.Heads = append(result.Heads, tidemark.Head{Last: 9})
		}
		return result, nil
	}
	return one, nil
}

func (n *fakeNode) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.proposed)
}

func (n *fakeNode) Propose(ctx context.Context, command []byte) (tidemark.Proposal, error) {
	return n.propose(command).Wait(ctx)
}
func (n *fakeNode) NewPipeline() Pipeline { return &fakePipeline{node: n} }

// fakePipeline refuses what follows a refusal, as the real one does.
type fakePipeline struct {
	node   *fakeNode
	broken error
}

func (p *fakePipeline) ProposeAsync(command []byte) Pending {
	if p.broken != nil {
		refused := &fakePending{done: make(chan struct{}), err: p.broken}
		close(refused.done)
		return refused
	}
	pending := p.node.propose(command)
	select {
	case <-pending.done:
		p.broken = pending.err
	default:
	}
	return pending
}

func (n *fakeNode) ReadIndex(ctx context.Context) (uint64, error) {
	if n.readIndex != nil {
		return n.readIndex(ctx)
	}
	return 7, ctx.Err()
}
func (n *fakeNode) WaitApplied(ctx context.Context, index uint64) error {
	n.mu.Lock()
	n.waited = append(n.waited, index)
	wait := n.waitApplied
	n.mu.Unlock()
	if wait != nil {
		return wait(ctx, index)
	}
	return nil
}
func (n *fakeNode) Staleness() time.Duration { return n.staleness }
func (n *fakeNode) Leader() (raftnode.Leader, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader, n.known
}
func (n *fakeNode) IsLeader() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leads
}
func (n *fakeNode) LeaderChanged() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}
func (n *fakeNode) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ready
}
func (n *fakeNode) Status(context.Context) raftnode.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := raftnode.Status{NodeID: "n1", Role: "leader", Leader: n.leader, NotServing: n.ready}
	for _, id := range n.members {
		s.Members = append(s.Members, raftnode.Member{ID: id, Voter: id == "n1"})
	}
	return s
}
func (n *fakeNode) change(verb, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.memberErr == nil {
		n.members = append(n.members, verb+" "+id)
	}
	return n.memberErr
}
func (n *fakeNode) AddMember(_ context.Context, id, address string) error {
	return n.change("add", id+" "+address)
}
func (n *fakeNode) RemoveMember(_ context.Context, id string) error  { return n.change("remove", id) }
func (n *fakeNode) PromoteMember(_ context.Context, id string) error { return n.change("promote", id) }
func (n *fakeNode) TransferLeadership(_ context.Context, id string) (string, error) {
	return "n2", n.change("transfer", id)
}
func (n *fakeNode) TakeSnapshot(context.Context) (uint64, uint64, error) { return 5, 2, nil }

// network connects servers by name without sockets.
type network struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	dials     atomic.Int64
}

func newNetwork() *network { return &network{listeners: make(map[string]*bufconn.Listener)} }

func (w *network) listen(address string) net.Listener {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := bufconn.Listen(1 << 20)
	w.listeners[address] = l
	return l
}

func (w *network) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			w.dials.Add(1)
			w.mu.Lock()
			l := w.listeners[address]
			w.mu.Unlock()
			if l == nil {
				return nil, errors.New("no such address: " + address)
			}
			return l.DialContext(ctx)
		}),
	}
}

// door is one server with clients of it.
type door struct {
	*Server
	timelines tidemarkv1.TimelineServiceClient
	cluster   tidemarkv1.ClusterServiceClient
	conn      *grpc.ClientConn
}

// open starts a server as "n1" at n1:1 unless change says otherwise, and a client.
func open(t *testing.T, w *network, node Node, change func(*Options)) *door {
	t.Helper()
	o := Options{NodeID: "n1", Node: node, Store: &fakeStore{}, DialOptions: w.options()}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	l := w.listen(o.NodeID + ":1")
	go func() { served <- s.Serve(l) }()
	d := &door{Server: s, conn: dial(t, w, o.NodeID+":1")}
	d.timelines, d.cluster = tidemarkv1.NewTimelineServiceClient(d.conn), tidemarkv1.NewClusterServiceClient(d.conn)
	t.Cleanup(func() {
		d.conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		for name, left := range map[string]int64{"bytes": s.admission.held.Load(), "calls": s.admission.calls.Load(), "streams": s.admission.streams.Load()} {
			if left != 0 {
				t.Errorf("%d %s are in flight after Shutdown", left, name)
			}
		}
	})
	return d
}

func dial(t *testing.T, w *network, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, append(w.options(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wantReason asserts the code and the ErrorInfo of err, and returns its details.
func wantReason(t *testing.T, err error, code codes.Code, reason string) (*errdetails.ErrorInfo, []any) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code {
		t.Fatalf("code is %v, want %v: %v", s.Code(), code, err)
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			if info.GetDomain() != "tidemark" || info.GetReason() != reason {
				t.Fatalf("ErrorInfo is %v, want reason %s", info, reason)
			}
			return info, s.Details()
		}
	}
	t.Fatalf("no ErrorInfo in %v", err)
	return nil, nil
}

// eventually waits for a condition that something else brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not after 10 s: %s", what)
		}
	}
}

// drain reads a stream to its end.
func drain(t *testing.T, stream tidemarkv1.TimelineService_AppendStreamClient) (replies []*tidemarkv1.AppendStreamResponse, err error) {
	t.Helper()
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			return replies, nil
		}
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply)
	}
}
