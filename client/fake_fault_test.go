package client_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// anyFault makes up every failure that the contract allows for an append.
func anyFault(rng *rand.Rand, rate float64, mute bool) func() *fault {
	var mu sync.Mutex
	return func() *fault {
		mu.Lock()
		defer mu.Unlock()
		if rng.Float64() >= rate {
			return nil
		}
		faults := []fault{
			{cut: true, skip: true},
			{cut: true},
			{cut: true, late: time.Duration(rng.IntN(5)+1) * time.Millisecond},
			{err: reasoned(codes.Unavailable, "OUTCOME_UNKNOWN", 0), late: time.Duration(rng.IntN(5)+1) * time.Millisecond},
			{err: reasoned(codes.Unavailable, "OUTCOME_UNKNOWN", 0)},
			{err: reasoned(codes.Unavailable, "NO_LEADER", time.Millisecond), skip: true},
			{err: reasoned(codes.Unavailable, "NOT_LEADER", 0), skip: true},
			{err: reasoned(codes.ResourceExhausted, "OVERLOADED", time.Millisecond), skip: true},
			{err: reasoned(codes.Unavailable, "STOPPING", 0), skip: true},
			{err: status.Error(codes.Internal, "broken"), skip: true},
			{delay: time.Duration(rng.IntN(3)+1) * time.Millisecond},
		}
		if mute {
			faults = append(faults, fault{mute: true})
		}
		return &faults[rng.IntN(len(faults))]
	}
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// gate is a listener whose connections can be cut or frozen.
type gate struct {
	net.Listener
	mu     sync.Mutex
	opened sync.Cond
	frozen bool
	conns  map[string]net.Conn
}

func (g *gate) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[conn.RemoteAddr().String()] = conn
	return &gatedConn{Conn: conn, gate: g}, nil
}

func (g *gate) cut(remote string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if conn := g.conns[remote]; conn != nil {
		_ = conn.Close()
		delete(g.conns, remote)
	}
}

// freeze is what SIGSTOP does: connections live, and nobody is there.
func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = true
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = false
	g.opened.Broadcast()
}

func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.frozen {
		g.opened.Wait()
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.pass()
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.gate.pass()
	return c.Conn.Write(b)
}
