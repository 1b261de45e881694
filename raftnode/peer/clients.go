package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"tidemark"
	"tidemark/raftnode/peer/peerpb"
)

// redial keeps a peer that restarts from being missed for long: gRPC's own
// backoff grows to two minutes. Nodes are few, so nobody is flooded.
var redial = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
	MinConnectTimeout: time.Second,
}

// Clients holds one connection to each peer that was asked for. Its methods may
// be called by many goroutines at once.
type Clients struct {
	mux *Mux

	mu      sync.Mutex
	closed  bool
	clients map[string]*Client
}

// NewClients returns an empty set over m. Close it before m.
func NewClients(m *Mux) *Clients { return &Clients{mux: m, clients: map[string]*Client{}} }

// Client speaks to one peer. Its methods fail at once while the last attempt to
// connect has failed, and when ctx ends; ctx should have a deadline. They may be
// called by many goroutines at once.
type Client struct {
	id, address string
	conn        *grpc.ClientConn
	api         peerpb.PeerServiceClient
}

// Get returns the client of a node without connecting yet. An address other than
// the one before replaces the connection.
func (c *Clients) Get(id, address string) (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("client of node %q: %w", id, tidemark.ErrStopping)
	}
	if old, ok := c.clients[id]; ok {
		if old.address == address {
			return old, nil
		}
		old.conn.Close()
		delete(c.clients, id)
	}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return c.mux.Dial(ctx, KindGRPC, id, address)
		}),
		// TLS, if there is any, is below the preface.
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(redial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: clientPing, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPeerMessageBytes), grpc.MaxCallSendMsgSize(maxPeerMessageBytes)),
		grpc.WithStaticStreamWindowSize(windowBytes),
		grpc.WithStaticConnWindowSize(windowBytes),
		// A connection that fell idle would make the next read wait for a handshake.
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
	)
	if err != nil {
		return nil, fmt.Errorf("client of node %q at %s: %w", id, address, err)
	}
	client := &Client{id: id, address: address, conn: conn, api: peerpb.NewPeerServiceClient(conn)}
	c.clients[id] = client
	return client, nil
}

// Remove closes the connection to a node that left the cluster.
func (c *Clients) Remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.clients[id]; ok {
		old.conn.Close()
		delete(c.clients, id)
	}
}

// Close closes all connections; Get fails from then on.
func (c *Clients) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, client := range c.clients {
		errs = append(errs, client.conn.Close())
	}
	c.clients = nil
	return errors.Join(errs...)
}

// Term asks for the peer's current term.
func (c *Client) Term(ctx context.Context) (uint64, error) {
	r, err := c.api.Term(ctx, &peerpb.TermRequest{})
	if err != nil {
		return 0, fromStatus(c.id, err)
	}
	return r.GetTerm(), nil
}

// ReadIndex asks the peer, as a leader, for a read index and its term.
func (c *Client) ReadIndex(ctx context.Context) (index, term uint64, err error) {
	r, err := c.api.ReadIndex(ctx, &peerpb.ReadIndexRequest{})
	if err != nil {
		return 0, 0, fromStatus(c.id, err)
	}
	return r.GetIndex(), r.GetTerm(), nil
}

// Info asks the peer how it is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	r, err := c.api.Info(ctx, &peerpb.InfoRequest{})
	if err != nil {
		return Info{}, fromStatus(c.id, err)
	}
	i := Info{
		NodeID: r.GetNodeId(), ClientAddress: r.GetClientAddress(), HTTPAddress: r.GetHttpAddress(), Version: r.GetVersion(),
		Term: r.GetTerm(), AppliedIndex: r.GetAppliedIndex(), CommitIndex: r.GetCommitIndex(), LastIndex: r.GetLastIndex(),
		Role: r.GetRole(), LeaderID: r.GetLeaderId(), NotServingReason: r.GetNotServingReason(), Level: r.GetLevel(),
	}
	for _, m := range r.GetMembers() {
		i.Members = append(i.Members, Member{ID: m.GetNodeId(), RaftAddress: m.GetRaftAddress(), Voter: m.GetVoter()})
	}
	return i, nil
}
