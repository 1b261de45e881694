package sim

import (
	"context"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// Traffic counts what the network did.
type Traffic struct {
	// Packets are writes of any kind; Delayed are those that took longer than a
	// quiet network takes, because the link was slow or lost them.
	Packets, Delayed atomic.Int64
	// Calls are Raft's. Lost ones never arrived, Late ones arrived after their sender
	// had given them up, Doubled ones arrived twice. Overtaken are the copies that
	// arrived after a later call of the same sender.
	Calls, Lost, Late, Doubled, Overtaken atomic.Int64
}

// fate is what happens to a Raft call as a whole.
type fate int

const (
	fateUsual fate = iota
	fateLost
	fateLate
	fateDoubled
)

// maxLate is how much later a copy of a call is sent, at most: longer than an
// election, so that it may meet another leader.
const maxLate = 6 * time.Second

// copyPatience is how long a copy tries to get through.
const copyPatience = 10 * time.Second

// The preface of package peer: the sixth byte of the dialer's is the kind of the
// connection, and that of the acceptor's is 0 if it accepts; two bytes of length follow.
const (
	prefaceKind   = 5
	prefaceLength = 6
	prefaceBody   = 8
	kindRaft      = 1
)

// callConn is the dialer's end of a connection between two nodes. On one for Raft a call
// is what is written until the answer is read, and nothing else is under way
// meanwhile. So whole calls can be lost, doubled and sent late, each copy on a connection
// of its own, where calls that were made later overtake it.
type callConn struct {
	*conn
	boot  int
	hello []byte

	// asking says that a call is being written.
	asking bool
	fate   fate
	call   []byte
}

func (c *callConn) Write(b []byte) (int, error) {
	if c.hello == nil {
		c.hello = slices.Clone(b)
		return c.conn.Write(b)
	}
	if c.hello[prefaceKind] != kindRaft {
		return c.conn.Write(b)
	}
	if !c.asking {
		c.asking, c.call, c.fate = true, nil, c.out.link.callFate()
		c.network.Traffic.Calls.Add(1)
	}
	if c.fate != fateUsual {
		c.call = append(c.call, b...)
	}
	if c.fate == fateLost || c.fate == fateLate {
		return len(b), nil
	}
	return c.conn.Write(b)
}

func (c *callConn) Read(b []byte) (int, error) {
	if c.asking {
		c.asking = false
		c.called()
	}
	return c.conn.Read(b)
}

// called does to a call, now that all of it is written, what is to be done. A sender
// whose call got lost sees its connection break.
func (c *callConn) called() {
	traffic := &c.network.Traffic
	switch c.fate {
	case fateUsual:
		return
	case fateLost:
		traffic.Lost.Add(1)
		c.reset()
		return
	case fateLate:
		traffic.Late.Add(1)
		c.reset()
	case fateDoubled:
		traffic.Doubled.Add(1)
	}
	after, number := c.out.link.late()
	hello, call := c.hello, c.call
	go c.network.again(c.local, c.boot, c.remote.address, after, hello, call, func() {
		if c.out.link.calls.Load() > number {
			traffic.Overtaken.Add(1)
		}
	})
}

// again makes a call on a connection of its own, and ignores the answer.
func (n *Network) again(from *host, boot int, to string, after time.Duration, hello, call []byte, arrives func()) {
	ctx, cancel := context.WithTimeout(context.Background(), after+copyPatience)
	defer cancel()
	if !wait(ctx, after) {
		return
	}
	c, err := n.dial(ctx, from, boot, to)
	if err != nil {
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.Write(hello); err != nil || !accepted(c) {
		return
	}
	arrives()
	if _, err := c.Write(call); err == nil {
		_, _ = c.Read(make([]byte, 1)) // whatever the answer is
	}
}

// accepted reads the acceptor's preface.
func accepted(c net.Conn) bool {
	header := make([]byte, prefaceBody)
	if _, err := io.ReadFull(c, header); err != nil {
		return false
	}
	length := int64(header[prefaceLength])<<8 | int64(header[prefaceLength+1])
	_, err := io.CopyN(io.Discard, c, length)
	return err == nil && header[prefaceKind] == 0
}

// callFate decides about the next call.
func (l *link) callFate() fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.Add(1)
	if l.state.Unruly == 0 || l.rng.Float64() >= l.state.Unruly {
		return fateUsual
	}
	return []fate{fateLost, fateLate, fateDoubled}[l.rng.IntN(3)]
}

// late is how long a copy waits, and the number of the call.
func (l *link) late() (after time.Duration, number int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.rng.Int64N(int64(maxLate))), l.calls.Load()
}
