package rpc

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// leaderConnections keeps one connection to whoever leads. When the address of the
// leader changes, a new one is made, and the old one closed after its last call.
type leaderConnections struct {
	options []grpc.DialOption

	mu      sync.Mutex
	current *leaderConnection
	closed  bool
}

type leaderConnection struct {
	address   string
	conn      *grpc.ClientConn
	timelines tidemarkv1.TimelineServiceClient
	cluster   tidemarkv1.ClusterServiceClient

	// users are the calls that run on it, and 1 while it is current; guarded by
	// leaderConnections.mu. The last one closes conn.
	users int
}

func newLeaderConnections(options []grpc.DialOption) *leaderConnections {
	if options == nil {
		options = []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	}
	return &leaderConnections{options: append([]grpc.DialOption{
		// A node that restarts is back within a second or two; the default backoff
		// would keep away from it for up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		// A leader that vanished without a word is noticed within the time of an election or two.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxRequestBytes), grpc.ForceCodecV2(newPooledCodec())),
		experimental.WithBufferPool(buffers),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connectionWindow),
		// Nodes reach each other directly, whatever proxy the environment names.
		grpc.WithNoProxy(),
	}, options...)}
}

// acquire returns a connection for one call. It connects in the background; a call on it fails
// at once while the address cannot be reached. release must follow.
func (l *leaderConnections) acquire(address string) (*leaderConnection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, tidemark.ErrStopping
	}
	if l.current == nil || l.current.address != address {
		conn, err := grpc.NewClient("passthrough:///"+address, l.options...)
		if err != nil {
			return nil, fmt.Errorf("%w: its address %q cannot be used", tidemark.ErrNoLeader, address)
		}
		l.drop()
		l.current = &leaderConnection{
			address: address, conn: conn, users: 1,
			timelines: tidemarkv1.NewTimelineServiceClient(conn), cluster: tidemarkv1.NewClusterServiceClient(conn),
		}
	}
	l.current.users++
	return l.current, nil
}

func (l *leaderConnections) release(c *leaderConnection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.leave()
}

// leave is called with leaderConnections.mu held.
func (c *leaderConnection) leave() {
	if c.users--; c.users == 0 {
		c.conn.Close()
	}
}

// drop lets go of the current connection; called with mu held.
func (l *leaderConnections) drop() {
	if l.current != nil {
		l.current.leave()
		l.current = nil
	}
}

// close makes acquire fail from now on. Calls that run keep their connection.
func (l *leaderConnections) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.drop()
}
