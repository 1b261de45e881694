package peer

import (
	"context"
	"net"
	"sync"
)

// queue is a net.Listener of connections that were accepted elsewhere.
type queue struct {
	addr   addr
	conns  chan *Conn
	closed chan struct{}
	once   sync.Once
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func newQueue(address string) *queue {
	return &queue{addr: addr(address), conns: make(chan *Conn), closed: make(chan struct{})}
}

// put hands a connection to Accept. It reports false if nobody will take it.
func (q *queue) put(ctx context.Context, c *Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.closed:
	case <-ctx.Done():
	}
	return false
}

func (q *queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener. It is the address that other nodes use.
func (q *queue) Addr() net.Addr { return q.addr }
