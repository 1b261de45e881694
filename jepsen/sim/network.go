package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link says how one direction between two hosts behaves.
type Link struct {
	// Delay and Jitter make up the time of transit: Delay and up to Jitter more.
	Delay, Jitter time.Duration
	// Loss is the share of packets that are lost and sent again after resendAfter.
	Loss float64
	// Cut holds everything back.
	Cut bool
	// Unruly is the share of Raft's calls that are lost, doubled or late as a whole.
	Unruly float64
}

const (
	// resendAfter is the shortest time after which TCP sends a lost packet again.
	resendAfter = 200 * time.Millisecond
	// giveUpAfter is when a connection breaks whose bytes do not get through.
	giveUpAfter = 30 * time.Second
	// redialAfter is when a dial that got no answer tries again.
	redialAfter = time.Second
)

// usualLink is that of a quiet network within one site.
var usualLink = Link{Delay: 100 * time.Microsecond, Jitter: 400 * time.Microsecond}

// link is one direction between two hosts.
type link struct {
	traffic *Traffic
	// calls counts Raft's.
	calls atomic.Int64

	mu    sync.Mutex
	state Link
	rng   *rand.Rand
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Cut
}

// transit is how long one packet takes.
func (l *link) transit() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.state.Delay
	if l.state.Jitter > 0 {
		d += time.Duration(l.rng.Int64N(int64(l.state.Jitter)))
	}
	for resend := resendAfter; l.state.Loss > 0 && l.rng.Float64() < l.state.Loss && resend < giveUpAfter; resend *= 2 {
		d += resend
	}
	l.traffic.Packets.Add(1)
	if d > usualLink.Delay+usualLink.Jitter {
		l.traffic.Delayed.Add(1)
	}
	return d
}

// Network joins hosts, by connections that behave like TCP. All methods may be
// called at the same time.
type Network struct {
	// Traffic may be read at any time.
	Traffic Traffic

	mu    sync.Mutex
	rng   *rand.Rand
	hosts map[string]*host
	links map[[2]string]*link
	conns map[*conn]struct{}
}

// host is one machine. boots counts the processes that it had.
type host struct {
	id, address string
	boots       int
	listener    *listener
	// silent says that it has no power: it does not even refuse.
	silent bool
}

// NewNetwork returns a network without hosts.
func NewNetwork(rng *rand.Rand) *Network {
	return &Network{rng: rng, hosts: map[string]*host{}, links: map[[2]string]*link{}, conns: map[*conn]struct{}{}}
}

// AddHost adds a machine and its links to all others.
func (n *Network) AddHost(id, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.hosts {
		for _, pair := range [][2]string{{id, other}, {other, id}} {
			n.links[pair] = &link{traffic: &n.Traffic, state: usualLink, rng: rand.New(rand.NewPCG(n.rng.Uint64(), 1))}
		}
	}
	n.hosts[id] = &host{id: id, address: address}
}

// IsCut says whether nothing gets from one host to another.
func (n *Network) IsCut(from, to string) bool {
	n.mu.Lock()
	l := n.links[[2]string{from, to}]
	n.mu.Unlock()
	return l != nil && l.isCut()
}

// SetLink changes how one direction behaves.
func (n *Network) SetLink(from, to string, state Link) {
	n.mu.Lock()
	l := n.links[[2]string{from, to}]
	l.mu.Lock()
	was := l.state.Cut
	l.state = state
	l.mu.Unlock()
	through := n.through(func(c *conn) bool {
		return c.local.id == from && c.remote.id == to || c.local.id == to && c.remote.id == from
	})
	n.mu.Unlock()
	if state.Cut && !was {
		time.AfterFunc(giveUpAfter, func() {
			if l.isCut() {
				for _, c := range through {
					c.reset()
				}
			}
		})
		return
	}
	for _, c := range through {
		c.out.poke()
		c.in.poke()
	}
}

// Heal makes all links usual ones.
func (n *Network) Heal() {
	n.mu.Lock()
	var pairs [][2]string
	for pair := range n.links {
		pairs = append(pairs, pair)
	}
	n.mu.Unlock()
	for _, pair := range pairs {
		n.SetLink(pair[0], pair[1], usualLink)
	}
}

// through are the ends of connections that match. The caller holds mu.
func (n *Network) through(match func(*conn) bool) []*conn {
	var found []*conn
	for c := range n.conns {
		if match(c) {
			found = append(found, c)
		}
	}
	return found
}

// Boot starts a process on a host: it returns where the process listens, and how it
// dials. Both are its own, and dead after the next Down.
func (n *Network) Boot(id string) (net.Listener, func(context.Context, string, string) (net.Conn, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[id]
	h.boots++
	h.silent = false
	h.listener = &listener{address: address(h.address), backlog: make(chan net.Conn, 64), closed: make(chan struct{})}
	boot := h.boots
	// What an earlier process left open on other hosts is refused from now on.
	for _, c := range n.through(func(c *conn) bool { return c.remote == h && c.remoteBoot < boot }) {
		defer c.reset()
	}
	return h.listener, func(ctx context.Context, _, to string) (net.Conn, error) {
		c, err := n.dial(ctx, h, boot, to)
		if err != nil {
			return nil, err
		}
		return &callConn{conn: c, boot: boot}, nil
	}
}

// Down ends the process on a host. The kernel tells the others, unless the power
// is lost.
func (n *Network) Down(id string, power bool) {
	n.mu.Lock()
	h := n.hosts[id]
	h.boots++
	h.silent = power
	l := h.listener
	own := n.through(func(c *conn) bool { return c.local == h })
	n.mu.Unlock()
	if l != nil {
		l.Close()
	}
	for _, c := range own {
		c.die(power)
	}
}

func (n *Network) dial(ctx context.Context, from *host, boot int, to string) (*conn, error) {
	for {
		if !wait(ctx, n.linkOf(from, to).transit()) {
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
		c, retry, err := n.connect(from, boot, to)
		if !retry {
			return c, err
		}
		if !wait(ctx, redialAfter) {
			return nil, fmt.Errorf("dial %s: no answer: %w", to, ctx.Err())
		}
	}
}

func (n *Network) linkOf(from *host, to string) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hosts {
		if h.address == to && h != from {
			return n.links[[2]string{from.id, h.id}]
		}
	}
	return &link{traffic: &n.Traffic, state: usualLink}
}

// connect makes a connection, or says that there was no answer.
func (n *Network) connect(from *host, boot int, to string) (c *conn, retry bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if from.boots != boot {
		return nil, false, net.ErrClosed
	}
	var h *host
	for _, other := range n.hosts {
		if other.address == to {
			h = other
		}
	}
	if h == nil || h == from {
		return nil, false, fmt.Errorf("dial %s: no route", to)
	}
	there, back := n.links[[2]string{from.id, h.id}], n.links[[2]string{h.id, from.id}]
	if h.silent || there.isCut() || back.isCut() {
		return nil, true, nil
	}
	if h.listener == nil || h.listener.isClosed() {
		return nil, false, fmt.Errorf("dial %s: connection refused", to)
	}
	out, in := newPipe(there), newPipe(back)
	dialed := &conn{network: n, local: from, remote: h, remoteBoot: h.boots, out: out, in: in, readBy: newDeadline(), writeBy: newDeadline()}
	accepted := &conn{network: n, local: h, remote: from, remoteBoot: from.boots, out: in, in: out, readBy: newDeadline(), writeBy: newDeadline()}
	out.reset, in.reset = dialed.reset, dialed.reset
	select {
	case h.listener.backlog <- accepted:
	default:
		return nil, true, nil
	}
	n.conns[dialed], n.conns[accepted] = struct{}{}, struct{}{}
	return dialed, false, nil
}

// conn is one end of a connection.
type conn struct {
	network         *Network
	local, remote   *host
	remoteBoot      int
	out, in         *pipe
	readBy, writeBy *deadline
	once            sync.Once
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b, c.readBy) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b, c.writeBy) }

func (c *conn) Close() error {
	c.once.Do(func() {
		c.forget()
		c.out.end()
		c.in.leave()
	})
	return nil
}

func (c *conn) forget() {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.conns, c)
}

// reset ends both directions at once.
func (c *conn) reset() {
	c.out.breakOff(errReset)
	c.in.breakOff(errReset)
}

// die ends this end of the connection with its process. What the process has sent
// gets there. Without power the other end learns nothing until it gives up.
func (c *conn) die(power bool) {
	c.forget()
	c.in.leave()
	if !power {
		c.out.end()
		return
	}
	time.AfterFunc(giveUpAfter, c.reset)
}

func (c *conn) LocalAddr() net.Addr                { return address(c.local.address) }
func (c *conn) RemoteAddr() net.Addr               { return address(c.remote.address) }
func (c *conn) SetReadDeadline(t time.Time) error  { c.readBy.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.writeBy.set(t); return nil }
func (c *conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// listener is the port of one process.
type listener struct {
	address address
	backlog chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return l.address }

// wait returns false if ctx ends before the time has passed.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleepUnless returns false if stop was closed before the time has passed.
func sleepUnless(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
