package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
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

// fakeStore holds one timeline, "t", of ten messages "m1" to "m10", and cursors of it.
type fakeStore struct {
	ranges atomic.Pointer[tidemark.Range]
	pulls  atomic.Pointer[tidemark.Pull]
	// read answers Read; nil gives the ten messages' head and no message.
	read func(tidemark.Range) (tidemark.Page, error)
	// recipients is the size of each recipient set, missingLevels how much is missing to
	// the present feature level.
	recipients    uint64
	missingLevels uint32
}

var fakeHead = tidemark.Head{Timeline: "t", Number: 1, First: 1, Last: 10, Bytes: 100, CreatedTime: 1, LastTime: 10}

func (s *fakeStore) GetHead(id tidemark.TimelineID) (tidemark.Head, uint64, error) {
	if id != "t" {
		return tidemark.Head{}, 0, tidemark.ErrTimelineNotFound
	}
	return fakeHead, 20, nil
}
func (s *fakeStore) Read(r tidemark.Range) (tidemark.Page, error) {
	s.ranges.Store(&r)
	if r.Timeline != "t" {
		return tidemark.Page{}, tidemark.ErrTimelineNotFound
	}
	if s.read != nil {
		return s.read(r)
	}
	return tidemark.Page{Head: fakeHead, Applied: 20}, nil
}

// Pull finds a message in each timeline that is asked for.
func (s *fakeStore) Pull(p tidemark.Pull) (page tidemark.PullPage, err error) {
	s.pulls.Store(&p)
	for _, at := range p.Positions {
		page.Timelines = append(page.Timelines, tidemark.Pulled{
			Head: tidemark.Head{Timeline: at.Timeline, First: 4, Last: 9}, After: at.After, Class: at.Class, More: true,
			Messages: []tidemark.Message{{SeqID: 4, Draft: tidemark.Draft{Timeline: at.Timeline, ClientTime: tidemark.NoTime}}},
			Cursor:   tidemark.Cursor{Timeline: at.Timeline, Reader: p.Reader, Delivered: 3},
		})
	}
	page.More, page.Applied = true, 20
	return page, nil
}
func (s *fakeStore) Digests(id tidemark.TimelineID, seqs []tidemark.SeqID) (digests []tidemark.Digest, h tidemark.Head, applied uint64, err error) {
	if id != "t" {
		return nil, h, 0, tidemark.ErrTimelineNotFound
	}
	for _, seq := range seqs {
		if seq <= 10 {
			digests = append(digests, tidemark.Digest{byte(seq)})
		}
	}
	return digests, fakeHead, 20, nil
}
func (s *fakeStore) Get(id tidemark.TimelineID, seq tidemark.SeqID) (tidemark.Message, uint64, error) {
	if id != "t" || seq > 10 {
		return tidemark.Message{}, 0, tidemark.ErrMessageNotFound
	}
	return tidemark.Message{SeqID: seq, Draft: tidemark.Draft{Timeline: id, ClientTime: tidemark.NoTime}}, 20, nil
}
func (s *fakeStore) GetByID(id tidemark.TimelineID, message tidemark.MessageID) (tidemark.Message, uint64, error) {
	m, applied, err := s.Get(id, 3)
	m.ID = message
	return m, applied, err
}
func (s *fakeStore) CursorsByTimeline(id tidemark.TimelineID, _ tidemark.SeqID, after tidemark.ReaderID, limit int) (page tidemark.CursorPage, err error) {
	for _, reader := range []tidemark.ReaderID{"a", "b", "c"} {
		if reader > after && len(page.Cursors) < limit {
			page.Cursors = append(page.Cursors, tidemark.Cursor{Timeline: id, Reader: reader, Read: 1, Delivered: 2})
			page.Heads = append(page.Heads, fakeHead)
		}
	}
	page.More = limit < 3 && after != "b" && after != "c" && !(after == "a" && limit == 2)
	page.Applied = 20
	return page, nil
}
func (s *fakeStore) CountCursors(tidemark.TimelineID, tidemark.SeqID) (uint64, uint64, error) {
	return 3, 20, nil
}
func (s *fakeStore) CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (page tidemark.CursorPage, err error) {
	for number := after + 1; number <= 3 && len(page.Cursors) < limit; number++ {
		page.Cursors = append(page.Cursors, tidemark.Cursor{Timeline: "t", Reader: reader})
		page.Heads = append(page.Heads, tidemark.Head{Number: number})
	}
	page.More = int(after)+limit < 3
	return page, nil
}
func (s *fakeStore) Conversations(reader tidemark.ReaderID, after *tidemark.Activity, limit int) (page tidemark.CursorPage, err error) {
	numbers := []uint64{3, 1, 2}
	if after != nil {
		numbers = numbers[slices.Index(numbers, after.Number)+1:]
	}
	for _, number := range numbers[:min(limit, len(numbers))] {
		page.Cursors = append(page.Cursors, tidemark.Cursor{Timeline: "t", Reader: reader})
		page.Heads = append(page.Heads, tidemark.Head{Number: number})
		page.Unread = append(page.Unread, number)
	}
	page.More = limit < len(numbers)
	return page, nil
}
func (s *fakeStore) Recipients(id, after tidemark.TimelineID, limit int) (page tidemark.RecipientPage, err error) {
	page.Version, page.Count = 7, 2
	for _, inbox := range []tidemark.TimelineID{"a", "b"} {
		if inbox > after && len(page.Inboxes) < limit {
			page.Inboxes = append(page.Inboxes, inbox)
		}
	}
	page.More = after == "" && limit < 2
	return page, nil
}
func (s *fakeStore) CountRecipients(id tidemark.TimelineID) (uint64, error) { return s.recipients, nil }
func (s *fakeStore) CountTimelines(string) (uint64, uint64, error)          { return 2, 20, nil }
func (s *fakeStore) Describe(id tidemark.TimelineID) (tidemark.Described, uint64, error) {
	h, applied, err := s.GetHead(id)
	return tidemark.Described{Head: h, Attributes: tidemark.Attributes{{Key: "k", Value: "v"}}}, applied, err
}
func (s *fakeStore) Policies() ([]tidemark.Policy, uint64, error) {
	return []tidemark.Policy{{Prefix: "t", MaxMessages: 5}}, 20, nil
}
func (s *fakeStore) TrimPoint(tidemark.TimelineID, *tidemark.Policy, tidemark.Time) (tidemark.SeqID, tidemark.Head, error) {
	return 6, fakeHead, nil
}
func (s *fakeStore) Level() uint32 { return fsm.Level - s.missingLevels }
func (s *fakeStore) Timelines(_ string, after tidemark.TimelineID, limit int) (page tidemark.TimelinePage, err error) {
	for _, id := range []tidemark.TimelineID{"t", "u"} {
		if id > after && len(page.Timelines) < limit {
			page.Timelines = append(page.Timelines, tidemark.Described{Head: tidemark.Head{Timeline: id, First: 1}})
		}
	}
	page.More = after == "" && limit < 2
	return page, nil
}
func (s *fakeStore) Applied() tidemark.Applied { return tidemark.Applied{Index: 20} }

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
