package rpctest

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errCut = errors.New("rpctest: the node is cut off")

// links are the connections between nodes, so that they can be cut. Each connection
// is dialled by one of them, and its two ends are known by name.
type links struct {
	mu    sync.Mutex
	names map[string]string // by address
	off   map[string]bool
	open  map[net.Conn][2]string
}

func newLinks() *links {
	return &links{names: map[string]string{}, off: map[string]bool{}, open: map[net.Conn][2]string{}}
}

func (l *links) name(address, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names[address] = id
}

// dialer dials for one node.
func (l *links) dialer(from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if l.isOff(from, address) {
			return nil, errCut
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		to := l.names[address]
		if l.off[from] || l.off[to] {
			return nil, errors.Join(errCut, conn.Close())
		}
		l.open[conn] = [2]string{from, to}
		return &link{Conn: conn, links: l}, nil
	}
}

func (l *links) isOff(from, address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.off[from] || l.off[l.names[address]]
}

// link forgets itself when it is closed.
type link struct {
	net.Conn
	links *links
}

func (c *link) Close() error {
	c.links.mu.Lock()
	delete(c.links.open, c.Conn)
	c.links.mu.Unlock()
	return c.Conn.Close()
}

func (l *links) cut(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off[id] = true
	for conn, ends := range l.open {
		if ends[0] == id || ends[1] == id {
			conn.Close()
			delete(l.open, conn)
		}
	}
}

func (l *links) heal(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.off, id)
}
