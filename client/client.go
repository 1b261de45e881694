package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Client talks to a cluster. All methods are safe for concurrent use, and one
// Client is enough for a process. It has to be closed.
type Client struct {
	options options
	nodes   *endpoints
	appends *pipeline
	// seen is the newest position of all replies.
	seen atomic.Uint64

	// closing ends when Close begins: what has no end of its own ends then.
	closing context.Context
	close   context.CancelFunc
	// ctx ends when Close stops waiting.
	ctx    context.Context
	cancel context.CancelFunc
	// mu guards closed, which makes adding to calls safe beside waiting for them.
	mu     sync.RWMutex
	closed bool
	calls  sync.WaitGroup
}

// New returns a client of the cluster that the endpoints, each HOST:PORT (or a
// target of gRPC's), belong to. It connects when it is first used. One endpoint is
// enough, several let it start while a node is down.
func New(endpoints []string, opts ...Option) (*Client, error) {
	c := &Client{options: defaultOptions()}
	for _, option := range opts {
		option(&c.options)
	}
	if err := c.options.validate(); err != nil {
		return nil, err
	}
	nodes, err := newEndpoints(endpoints, &c.options)
	if err != nil {
		return nil, err
	}
	c.nodes = nodes
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.closing, c.close = context.WithCancel(c.ctx)
	c.appends = newPipeline(c)
	go c.appends.run()
	return c, nil
}

// Close refuses new calls, waits for those under way up to the drain timeout, and
// then ends them with ErrClosed. An append that may have been applied then ends
// with an UnknownOutcomeError that wraps ErrClosed. Tails end at once.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		<-c.ctx.Done()
		return nil
	}
	c.close()
	c.appends.close()
	drain := time.AfterFunc(c.options.drainTimeout, c.cancel)
	<-c.appends.ended
	c.calls.Wait()
	drain.Stop()
	c.cancel()
	c.nodes.close()
	return nil
}

// begin registers a call; the caller says calls.Done after it.
func (c *Client) begin() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return ErrClosed
	}
	c.calls.Add(1)
	return nil
}

// connect waits for a connection for at most the connect timeout.
func (c *Client) connect(ctx context.Context, node *endpoint) error {
	if node.connected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.connectTimeout)
	defer cancel()
	return node.ready(ctx)
}

// sleep waits for d, or until ctx ends or the client is closed.
func (c *Client) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}
