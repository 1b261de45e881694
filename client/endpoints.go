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
	// streamWindow and connectionWindow are how much a node may send that is not read yet: enough
	// for 40 MB/s over a link of 100 ms. They are set because gRPC measures what it would choose itself
	// with a ping for nearly every reply that comes alone, and each ping wakes both sides up.
	streamWindow, connectionWindow = tidemark.MaxPageBytes, 4 * tidemark.MaxPageBytes
	// readBufferBytes lets several pages come by one system call.
	readBufferBytes = 128 << 10
	// maxDiscovered bounds the members that are known beside the given endpoints.
	maxDiscovered = 64
)

// endpoint is one node and the connection to it.
type endpoint struct {
	address   string
	conn      *grpc.ClientConn
	timelines pb.TimelineServiceClient
	cluster   pb.ClusterServiceClient

	// Guarded by endpoints.mu.

	// id is the node's own, as it or another member has told it.
	id string
	// bad says that the last that was seen of it is a failure, at badSince. It is
	// avoided until a probe gets an answer.
	bad      bool
	badSince time.Time
	probed   bool
	// forgotten says that it is none of the endpoints any more.
	forgotten bool
}

// endpoints are all nodes that the client knows, and which of them leads.
type endpoints struct {
	options *options
	dial    []grpc.DialOption
	// ctx ends when the client is closed, and with it the probes.
	ctx    context.Context
	cancel context.CancelFunc
	probes sync.WaitGroup

	mu    sync.Mutex
	given []*endpoint
	// discovered are members that were not given.
	discovered []*endpoint
	next       int
	// leader is who led when last heard of, or nil, and term the term of it.
	leader *endpoint
	term   uint64
	closed bool
}

func newEndpoints(addresses []string, o *options) (*endpoints, error) {
	ctx, cancel := context.WithCancel(context.Background())
	e := &endpoints{options: o, ctx: ctx, cancel: cancel, dial: append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("tidemark-go"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReplyBytes)),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(readBufferBytes),
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
	e.closed = true
	nodes := slices.Concat(e.given, e.discovered)
	e.mu.Unlock()
	e.cancel()
	e.probes.Wait()
	for _, node := range nodes {
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

// any chooses an endpoint: the given ones in turn; if all of them are bad, another
// member; and if that is bad too, the one that has been left alone longest.
func (e *endpoints) any() *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.anyLocked()
}

func (e *endpoints) anyLocked() *endpoint {
	var best *endpoint
	for i := range e.given {
		node := e.given[(e.next+i)%len(e.given)]
		if !node.bad {
			e.next = (e.next + i + 1) % len(e.given)
			return node
		}
		if best == nil || node.badSince.Before(best.badSince) {
			best = node
		}
	}
	for _, node := range e.discovered {
		if !node.bad || node.badSince.Before(best.badSince) {
			best = node
		}
		if !node.bad {
			break
		}
	}
	return best
}

// writer chooses the leader if it is known, and any endpoint if not.
func (e *endpoints) writer() *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader != nil && !e.leader.bad {
		return e.leader
	}
	return e.anyLocked()
}

// knownLeader is nil if nobody is known to lead, or who does is bad.
func (e *endpoints) knownLeader() *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader != nil && e.leader.bad {
		return nil
	}
	return e.leader
}

// succeeded takes note of an answer.
func (e *endpoints) succeeded(node *endpoint) {
	e.mu.Lock()
	node.bad = false
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
		if leader := e.learn(f.leaderID, f.leader); leader != nil && leader != node {
			e.leader = leader
		}
		return
	}
	node.bad, node.badSince = true, time.Now()
	if !node.probed && !e.closed {
		node.probed = true
		e.probes.Go(func() { e.probe(node) })
	}
}

// hasOther reports whether there is an endpoint to turn to after node failed.
func (e *endpoints) hasOther(node *endpoint) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, other := range slices.Concat(e.given, e.discovered) {
		if other != node && !other.bad {
			return true
		}
	}
	return false
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
