package client_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// cluster is a scripted stand-in for a cluster: nodes that share one state, keep
// the API's contract, and fail where a test says so.
type cluster struct {
	nodes []*node

	mu        sync.Mutex
	leader    int
	index     uint64
	timelines map[string]*timeline
	cursors   map[[2]string]*pb.Cursor
	// absent are further members that the nodes tell of.
	absent []*pb.Member
}

type timeline struct {
	messages []*pb.Message
	byID     map[string]int
}

// fault is what happens to one call, or to one append of a stream.
type fault struct {
	// delay comes first.
	delay time.Duration
	// skip leaves the call out: it is not applied.
	skip bool
	// late applies it only that long after the fault.
	late time.Duration
	// cut closes the connection, and err is the status, instead of a reply.
	cut bool
	err error
	// mute gives no reply at all.
	mute bool
}

// node is one server of the cluster.
type node struct {
	pb.UnimplementedTimelineServiceServer
	pb.UnimplementedClusterServiceServer
	cluster *cluster
	id      int
	address string
	server  *grpc.Server
	gate    *gate
	// background are appends that are applied late.
	background sync.WaitGroup

	mu      sync.Mutex
	scripts map[string][]fault
	// random, if set, makes up faults for the appends of streams.
	random func() *fault
	calls  map[string]int
	// carried counts the appends of each stream.
	carried []int
	// levels are those of the reads so far.
	levels []*pb.Consistency
	// deny is what every call gets.
	deny error
	// belief is what the node says about leader and term, if not the truth.
	belief *pb.StatusResponse
	// told is the address that the nodes tell for this one; guarded by cluster.mu.
	told string
}

// tb is what the cluster needs of a test, so that examples can have one too.
type tb interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

func newCluster(t tb, size int) *cluster {
	t.Helper()
	c := &cluster{timelines: make(map[string]*timeline), cursors: make(map[[2]string]*pb.Cursor)}
	for i := range size {
		c.nodes = append(c.nodes, c.newNode(t, i, "127.0.0.1:0"))
	}
	return c
}

func (c *cluster) newNode(t tb, id int, address string) *node {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		cluster: c, id: id, address: listener.Addr().String(),
		gate:    &gate{Listener: listener, conns: make(map[string]net.Conn)},
		scripts: make(map[string][]fault), calls: make(map[string]int),
	}
	n.gate.opened.L = &n.gate.mu
	n.told = n.address
	n.server = grpc.NewServer(grpc.UnaryInterceptor(n.intercept))
	pb.RegisterTimelineServiceServer(n.server, n)
	pb.RegisterClusterServiceServer(n.server, n)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = n.server.Serve(n.gate)
	}()
	t.Cleanup(func() {
		n.gate.thaw()
		n.server.Stop()
		<-served
		n.background.Wait()
	})
	return n
}

// endpoints are the addresses of all nodes.
func (c *cluster) endpoints() []string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, n.address)
	}
	return out
}

func (c *cluster) lead(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = id
}

// ids are the message ids of a timeline in order.
func (c *cluster) ids(name string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	if t := c.timelines[name]; t != nil {
		for _, m := range t.messages {
			out = append(out, m.GetMessageId())
		}
	}
	return out
}

// script lets the next calls of a method meet these faults, one each.
func (n *node) script(method string, faults ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.scripts[method] = append(n.scripts[method], faults...)
}

func (n *node) setRandom(random func() *fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.random = random
}

func (n *node) setDeny(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deny = err
}

func (n *node) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}

// next is the fault that the script has for this call, or nil.
func (n *node) next(method string) *fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls[method]++
	if n.deny != nil && method != "Status" {
		return &fault{skip: true, err: n.deny}
	}
	if script := n.scripts[method]; len(script) > 0 {
		n.scripts[method] = script[1:]
		return &script[0]
	}
	if method == "AppendStream" && n.random != nil {
		return n.random()
	}
	return nil
}

// cut closes the connection that a call came over.
func (n *node) cut(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		n.gate.cut(p.Addr.String())
	}
}

func (n *node) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	f := n.next(method)
	if f == nil {
		return handle(ctx, request)
	}
	wait(ctx, f.delay)
	var reply any
	var err error
	switch {
	case f.skip:
	case f.late > 0:
		n.background.Go(func() {
			time.Sleep(f.late)
			_, _ = handle(context.Background(), request)
		})
	default:
		reply, err = handle(ctx, request)
	}
	if f.mute {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if f.cut {
		n.cut(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	return reply, err
}

// AppendStream applies what it is sent in order, and answers out of order at times.
func (n *node) AppendStream(stream pb.TimelineService_AppendStreamServer) error {
	n.mu.Lock()
	at := len(n.carried)
	n.carried = append(n.carried, 0)
	n.mu.Unlock()
	var held *pb.AppendStreamResponse
	for {
		request, err := stream.Recv()
		if err != nil {
			if held != nil {
				_ = stream.Send(held)
			}
			return nil
		}
		n.mu.Lock()
		n.carried[at]++
		n.mu.Unlock()
		reply, err := n.appendOne(stream.Context(), request)
		if err != nil {
			return err
		}
		if reply == nil {
			continue
		}
		if held == nil && request.GetTag()%7 == 3 && n.hasRandom() {
			held = reply
			continue
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
		if held != nil {
			if err := stream.Send(held); err != nil {
				return err
			}
			held = nil
		}
	}
}

func (n *node) hasRandom() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random != nil
}

// appendOne handles one append of a stream. It returns nil for no reply.
func (n *node) appendOne(ctx context.Context, request *pb.AppendStreamRequest) (*pb.AppendStreamResponse, error) {
	f := n.next("AppendStream")
	if f == nil {
		f = &fault{}
	}
	wait(ctx, f.delay)
	var response *pb.AppendResponse
	var err error
	switch {
	case f.skip:
	case f.late > 0:
		n.background.Go(func() {
			time.Sleep(f.late)
			_, _ = n.cluster.append(request.GetAppend())
		})
	default:
		response, err = n.cluster.append(request.GetAppend())
	}
	if f.cut {
		n.cut(ctx)
		return nil, status.Error(codes.Unavailable, "cut")
	}
	if f.err != nil {
		if item := (itemError{}); errors.As(f.err, &item) {
			return &pb.AppendStreamResponse{Tag: request.GetTag(), Outcome: &pb.AppendStreamResponse_Error{Error: item.Error_}}, nil
		}
		return nil, f.err
	}
	if f.mute && f.skip {
		// What comes after an append that was not applied must not be applied either.
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.mute {
		return nil, nil
	}
	if err != nil {
		return &pb.AppendStreamResponse{Tag: request.GetTag(), Outcome: &pb.AppendStreamResponse_Error{Error: toItem(err)}}, nil
	}
	return &pb.AppendStreamResponse{Tag: request.GetTag(), Outcome: &pb.AppendStreamResponse_Response{Response: response}}, nil
}

// itemError is answered to one append, and the stream goes on.
type itemError struct{ Error_ *pb.Error }

func (itemError) Error() string { return "item error" }

func toItem(err error) *pb.Error {
	st := status.Convert(err)
	item := &pb.Error{Code: int32(st.Code()), Message: st.Message()}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			item.Reason, item.Metadata = info.GetReason(), info.GetMetadata()
		}
	}
	return item
}

func (n *node) AppendBatch(_ context.Context, request *pb.AppendBatchRequest) (*pb.AppendBatchResponse, error) {
	reply := &pb.AppendBatchResponse{}
	for _, item := range request.GetItems() {
		f := n.next("item")
		response, err := (*pb.AppendResponse)(nil), error(nil)
		if f == nil || !f.skip {
			response, err = n.cluster.append(item)
		}
		if f != nil {
			err = f.err
		}
		result := &pb.AppendBatchResult{Outcome: &pb.AppendBatchResult_Response{Response: response}}
		if err != nil {
			result.Outcome = &pb.AppendBatchResult_Error{Error: toItem(err)}
		}
		reply.Results = append(reply.Results, result)
	}
	reply.Position = n.cluster.position()
	return reply, nil
}

func (c *cluster) position() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tidemark.Position(c.index).Token()
}

// append keeps the contract: dense, exactly once, and dedupe before all else.
func (c *cluster) append(request *pb.AppendRequest) (*pb.AppendResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	name, id := request.GetTimeline(), request.GetMessageId()
	t := c.timelines[name]
	last := uint64(0)
	if t != nil {
		last = uint64(len(t.messages))
		if at, ok := t.byID[id]; ok {
			first := t.messages[at]
			if string(first.GetPayload()) != string(request.GetPayload()) || !first.GetClientTime().AsTime().Equal(request.GetClientTime().AsTime()) {
				return nil, reasoned(codes.AlreadyExists, "MESSAGE_ID_CONFLICT", 0)
			}
			return c.appended(first, true), nil
		}
	}
	if request.ExpectedLastSeqId != nil && request.GetExpectedLastSeqId() != last {
		return nil, conflict(request.GetExpectedLastSeqId(), last)
	}
	if t == nil {
		t = &timeline{byID: make(map[string]int)}
		c.timelines[name] = t
	}
	m := &pb.Message{
		Timeline: name, SeqId: last + 1, MessageId: id, Sender: request.GetSender(), Type: request.GetType(),
		Payload: slices.Clone(request.GetPayload()), Attributes: request.GetAttributes(), ClientTime: request.GetClientTime(),
		ServerTime: timestamppb.New(time.Unix(1700000000+int64(last), 0)), Digest: []byte(fmt.Sprintf("%016d", last+1)),
	}
	t.byID[id] = len(t.messages)
	t.messages = append(t.messages, m)
	return c.appended(m, false), nil
}

func (c *cluster) appended(m *pb.Message, duplicate bool) *pb.AppendResponse {
	return &pb.AppendResponse{
		SeqId: m.GetSeqId(), ServerTime: m.GetServerTime(), Digest: m.GetDigest(), Duplicate: duplicate,
		Position: tidemark.Position(c.index).Token(),
	}
}

// reasoned is a status as the API sends it.
func reasoned(code codes.Code, reason string, retry time.Duration, metadata ...string) error {
	info := &errdetails.ErrorInfo{Domain: "tidemark", Reason: reason, Metadata: make(map[string]string)}
	for i := 0; i+1 < len(metadata); i += 2 {
		info.Metadata[metadata[i]] = metadata[i+1]
	}
	details := []protoadapt.MessageV1{info}
	if retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	st, err := status.New(code, strings.ToLower(reason)).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return st.Err()
}

func conflict(expected, last uint64) error {
	return reasoned(codes.Aborted, "SEQUENCE_CONFLICT", 0, "expected_last_seq_id", fmt.Sprint(expected), "last_seq_id", fmt.Sprint(last))
}

// setBelief makes the node name a leader of its own, of a term of its own.
func (n *node) setBelief(leader int, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.belief = &pb.StatusResponse{LeaderId: nodeID(leader), LeaderClientAddress: n.cluster.nodes[leader].address, Term: term}
}

// advertise makes others tell this address for the node.
func (n *node) advertise(address string) {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.told = address
}

func nodeID(i int) string { return fmt.Sprintf("n%d", i+1) }

func (n *node) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := &pb.StatusResponse{NodeId: nodeID(n.id), Role: "follower", Term: 1}
	for i, other := range c.nodes {
		reply.Members = append(reply.Members, &pb.Member{NodeId: nodeID(i), ClientAddress: other.told, Leader: i == c.leader})
	}
	reply.Members = append(reply.Members, c.absent...)
	if c.leader >= 0 && c.leader < len(c.nodes) {
		reply.LeaderId, reply.LeaderClientAddress = nodeID(c.leader), c.nodes[c.leader].told
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.belief != nil {
		reply.LeaderId, reply.LeaderClientAddress, reply.Term = n.belief.GetLeaderId(), n.belief.GetLeaderClientAddress(), n.belief.GetTerm()
	}
	return reply, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
