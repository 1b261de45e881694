package peer

import (
	"errors"
	"net"
	"sync"
)

// Conn is a connection past the preface.
type Conn struct {
	net.Conn
	peer    string
	kind    Kind
	inbound bool
	set     *connSet
	once    sync.Once
	err     error
}

// Peer returns the id of the node at the other end.
func (c *Conn) Peer() string { return c.peer }

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.set.remove(c)
		c.err = c.Conn.Close()
	})
	return c.err
}

var (
	errTooManyOfPeer = errors.New("the acceptor holds as many connections of this node as it may")
	errTooMany       = errors.New("the acceptor holds as many connections as it may")
	errSetClosed     = errors.New("the node is stopping")
)

// connSet holds the open connections. Only inbound ones count against the limits:
// what this node dials it decides itself.
type connSet struct {
	limit, limitPerPeer int

	mu      sync.Mutex
	closed  bool
	conns   map[*Conn]struct{}
	inbound int
	perPeer map[string]int
}

func (s *connSet) init(limit, limitPerPeer int) {
	s.limit, s.limitPerPeer = limit, limitPerPeer
	s.conns = map[*Conn]struct{}{}
	s.perPeer = map[string]int{}
}

// add returns the connection as a member of the set, or why there is no room.
func (s *connSet) add(conn net.Conn, peer string, kind Kind, inbound bool) (*Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errSetClosed
	case inbound && s.perPeer[peer] >= s.limitPerPeer:
		return nil, errTooManyOfPeer
	case inbound && s.inbound >= s.limit:
		return nil, errTooMany
	}
	c := &Conn{Conn: conn, peer: peer, kind: kind, inbound: inbound, set: s}
	s.conns[c] = struct{}{}
	if inbound {
		s.inbound++
		s.perPeer[peer]++
	}
	return c, nil
}

func (s *connSet) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if !c.inbound {
		return
	}
	s.inbound--
	if s.perPeer[c.peer]--; s.perPeer[c.peer] == 0 {
		delete(s.perPeer, c.peer)
	}
}

func (s *connSet) closeWhere(match func(*Conn) bool, last bool) {
	s.mu.Lock()
	s.closed = s.closed || last
	var found []*Conn
	for c := range s.conns {
		if match(c) {
			found = append(found, c)
		}
	}
	s.mu.Unlock()
	for _, c := range found {
		c.Close()
	}
}

func (s *connSet) closeOf(peer string) {
	s.closeWhere(func(c *Conn) bool { return c.peer == peer }, false)
}

func (s *connSet) closeAll() { s.closeWhere(func(*Conn) bool { return true }, true) }

func (s *connSet) count() map[Kind]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[Kind]int{KindRaft: 0, KindGRPC: 0}
	for c := range s.conns {
		n[c.kind]++
	}
	return n
}

// pendingSet holds the accepted connections that have not finished the preface,
// oldest first. One too many pushes the oldest out.
type pendingSet struct {
	limit int

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

// add reports false after closeAll.
func (s *pendingSet) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if len(s.conns) >= s.limit {
		s.conns[0].Close()
		s.conns = s.conns[1:]
	}
	s.conns = append(s.conns, c)
	return true
}

// remove reports whether c was still there, so that it was not pushed out.
func (s *pendingSet) remove(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.conns {
		if s.conns[i] == c {
			s.conns = append(s.conns[:i], s.conns[i+1:]...)
			return true
		}
	}
	return false
}

func (s *pendingSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.conns {
		c.Close()
	}
}
