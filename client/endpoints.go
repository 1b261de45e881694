package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

const (
	// maxReplyBytes leaves room for a page of tidemark.MaxPageBytes with its encoding.
	maxReplyBytes = 4 * tidemark.MaxPageBytes
	// maxDiscovered bounds the members that are known beside the given endpoints.
	maxDiscovered = 64
	// discoveryTimeout is how long nodes have to say who leads. A node that takes
	// longer is not asked for anything else either.
	discoveryTimeout = time.Second
	// discoveryPatience is how much longer than the first node the others have.
	discoveryPatience = 100 * time.Millisecond
	// An endpoint that failed is left alone for penaltyBase, twice as long after
	// each further failure, up to penaltyMax; unless there is no other.
	penaltyBase = 100 * time.Millisecond
	penaltyMax  = 5 * time.Second
)

// endpoint is one node and the connection to it.
type endpoint struct {
	address   string
	conn      *grpc.ClientConn
	timelines pb.TimelineServiceClient
	cluster   pb.ClusterServiceClient

	// Guarded by endpoints.mu.
	failures int
	badUntil time.Time
}

// endpoints are all nodes that the client knows, and which of them leads.
type endpoints struct {
	options *options
	dial    []grpc.DialOption

	mu    sync.Mutex
	given []*endpoint
	// discovered are members that were not given.
	discovered []*endpoint
	next       int
	// leader is who led when last heard of, or nil.
	leader *endpoint
	closed bool
}

func newEndpoints(addresses []string, o *options) (*endpoints, error) {
	e := &endpoints{options: o, dial: append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("tidemark-go"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReplyBytes)),
		// Nodes come back; a second later is soon enough, two minutes are not.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: o.connectTimeout,
		}),
		// Finds out about a dead node under a stream that waits for nothing. Ten
		// seconds is the shortest that gRPC allows.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	}, o.dialOptions...)}
	for i, address := range addresses {
		if address == "" {
			e.close()
			return nil, tidemark.Invalid(fmt.Sprintf("endpoints[%d]", i), "must not be empty")
		}
		if e.find(address) != nil {
			continue
		}
		node, err := e.connect(address)
		if err != nil {
			e.close()
			return nil, tidemark.Invalid(fmt.Sprintf("endpoints[%d]", i), "%q: %v", address, err)
		}
		e.given = append(e.given, node)
	}
	if len(e.given) == 0 {
		return nil, tidemark.Invalid("endpoints", "must not be empty")
	}
	return e, nil
}

// connect prepares a connection, which is made when it is first needed.
func (e *endpoints) connect(address string) (*endpoint, error) {
	conn, err := grpc.NewClient(address, e.dial...)
	if err != nil {
		return nil, err
	}
	return &endpoint{
		address:   address,
		conn:      conn,
		timelines: pb.NewTimelineServiceClient(conn),
		cluster:   pb.NewClusterServiceClient(conn),
	}, nil
}

func (e *endpoints) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for _, node := range slices.Concat(e.given, e.discovered) {
		// Closing fails only if it is closed already.
		_ = node.conn.Close()
	}
}

// find is called with mu held, or before e is shared.
func (e *endpoints) find(address string) *endpoint {
	for _, nodes := range [][]*endpoint{e.given, e.discovered} {
		for _, node := range nodes {
			if node.address == address {
				return node
			}
		}
	}
	return nil
}

// learn finds or adds a member's address; nil if it may not be used. It is called with mu held.
func (e *endpoints) learn(address string) *endpoint {
	if address == "" {
		return nil
	}
	if node := e.find(address); node != nil {
		return node
	}
	if e.closed || !e.options.discovery || len(e.discovered) >= maxDiscovered {
		return nil
	}
	node, err := e.connect(address)
	if err != nil {
		e.options.logger.Debug("member's address is of no use", "address", address, "error", err)
		return nil
	}
	e.discovered = append(e.discovered, node)
	return node
}

// any chooses an endpoint: the given ones in turn; if all of them have failed just
// now, another member; and if there is none, the one that has been left alone longest.
func (e *endpoints) any() *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.anyLocked(time.Now())
}

func (e *endpoints) anyLocked(now time.Time) *endpoint {
	var best *endpoint
	for i := range e.given {
		node := e.given[(e.next+i)%len(e.given)]
		if !now.Before(node.badUntil) {
			e.next = (e.next + i + 1) % len(e.given)
			return node
		}
		if best == nil || node.badUntil.Before(best.badUntil) {
			best = node
		}
	}
	for _, node := range e.discovered {
		if node.badUntil.Before(best.badUntil) {
			best = node
		}
	}
	return best
}

// writer chooses the leader if it is known, and any endpoint if not.
func (e *endpoints) writer() *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if e.leader != nil && !now.Before(e.leader.badUntil) {
		return e.leader
	}
	return e.anyLocked(now)
}

// knownLeader is nil if nobody is known to lead.
func (e *endpoints) knownLeader() *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader != nil && time.Now().Before(e.leader.badUntil) {
		return nil
	}
	return e.leader
}

// succeeded takes note of an answer.
func (e *endpoints) succeeded(node *endpoint) {
	e.mu.Lock()
	node.failures, node.badUntil = 0, time.Time{}
	e.mu.Unlock()
}

// failed takes note of a failed attempt. What the whole cluster would have answered
// is not held against the node.
func (e *endpoints) failed(node *endpoint, f *failure) {
	if f.verdict == final || errors.Is(f.err, tidemark.ErrOverloaded) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader == node {
		e.leader = nil
	}
	if errors.Is(f.err, tidemark.ErrNotLeader) {
		if leader := e.learn(f.leader); leader != nil && leader != node {
			e.leader = leader
		}
		return
	}
	node.badUntil = time.Now().Add(min(penaltyBase<<min(node.failures, 10), penaltyMax))
	node.failures++
}

// discover asks all nodes who leads, and believes the first that knows. It returns
// nil if none does.
func (e *endpoints) discover(ctx context.Context) *endpoint {
	if !e.options.discovery {
		return e.knownLeader()
	}
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	e.mu.Lock()
	nodes := slices.Concat(e.given, e.discovered)
	e.mu.Unlock()
	answers := make(chan *pb.StatusResponse, len(nodes))
	for _, node := range nodes {
		go func() {
			if node.ready(ctx) != nil {
				answers <- nil
				return
			}
			answer, err := node.cluster.Status(ctx, &pb.StatusRequest{})
			if err != nil {
				answer = nil
			}
			answers <- answer
		}()
	}
	var patience <-chan time.Time
	for range nodes {
		select {
		case answer := <-answers:
			if leader := e.believe(answer); leader != nil {
				return leader
			}
			if answer != nil && patience == nil {
				patience = time.After(discoveryPatience)
			}
		case <-patience:
			return nil
		}
	}
	return nil
}

// believe takes a node's word about members and leader. It returns the leader
// unless that has failed just now: the node may not have noticed yet.
func (e *endpoints) believe(answer *pb.StatusResponse) *endpoint {
	if answer == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, member := range answer.GetMembers() {
		e.learn(member.GetClientAddress())
	}
	leader := e.learn(answer.GetLeaderClientAddress())
	if leader == nil || time.Now().Before(leader.badUntil) {
		return nil
	}
	e.leader = leader
	return leader
}

// ready waits until there is a connection. It fails when a connection attempt has
// failed, or when ctx ends. While it fails, nothing was sent: that is what makes
// the outcome of a write without a connection a known one.
func (n *endpoint) ready(ctx context.Context) error {
	for {
		state := n.conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Shutdown:
			return ErrClosed
		case connectivity.TransientFailure:
			// Says why without waiting; it changes nothing should it get through.
			_, err := n.cluster.Status(ctx, &pb.StatusRequest{})
			if err == nil {
				continue
			}
			return err
		case connectivity.Idle:
			n.conn.Connect()
		}
		if !n.conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("while connecting: %w", context.Cause(ctx))
		}
	}
}

// connected says that ready would not wait.
func (n *endpoint) connected() bool { return n.conn.GetState() == connectivity.Ready }
