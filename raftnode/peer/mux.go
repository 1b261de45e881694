package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Mux owns the Raft port: it accepts and dials, shakes hands, and hands each
// connection to whom it is for.
type Mux struct {
	cfg       Config
	listener  net.Listener
	advertise string
	queues    map[Kind]*queue
	conns     connSet
	pending   pendingSet
	refusals  refusalLog

	// ctx ends when the Mux closes; wg counts its goroutines.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	closed error
}

// Listen starts to accept. What is accepted before StreamLayer and GRPCListener
// are read waits there for as long as a handshake may take.
func Listen(cfg Config) (*Mux, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := cfg.Listener
	if l == nil {
		var err error
		if l, err = listenTCP(cfg.Listen); err != nil {
			return nil, fmt.Errorf("listen for the other nodes on %s: %w", cfg.Listen, err)
		}
	}
	advertise, err := advertised(cfg.Advertise, l.Addr())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	m := &Mux{cfg: cfg, listener: l, advertise: advertise}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.queues = map[Kind]*queue{
		KindRaft: newQueue(advertise),
		KindGRPC: newQueue(advertise),
	}
	m.conns.init(cfg.MaxConns, cfg.MaxConnsPerPeer)
	m.pending.limit = cfg.MaxHandshakes
	m.refusals.logger = cfg.Logger
	if m.cfg.DialContext == nil {
		m.cfg.DialContext = dialTCP
	}
	m.wg.Go(m.acceptLoop)
	return m, nil
}

// advertised returns the address to tell other nodes. One that cannot be dialed
// from elsewhere, such as 0.0.0.0, is refused rather than written into the
// cluster's configuration.
func advertised(given string, listen net.Addr) (string, error) {
	address := given
	if address == "" {
		address = listen.String()
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("advertised Raft address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return "", fmt.Errorf("advertised Raft address %q cannot be reached from other nodes: set one that can", address)
	}
	return address, nil
}

// Advertise returns the address that other nodes reach this one by.
func (m *Mux) Advertise() string { return m.advertise }

// StreamLayer returns the Raft streams. Its Dial wants an address made by Target.
// Closing it refuses further Raft streams and leaves the Mux open.
func (m *Mux) StreamLayer() raft.StreamLayer { return streamLayer{m.queues[KindRaft], m} }

// GRPCListener returns the accepted connections of kind KindGRPC.
func (m *Mux) GRPCListener() net.Listener { return m.queues[KindGRPC] }

// Disconnect closes every connection with a node, in both directions. Call it
// after the node was removed from the configuration, when IsMember denies it.
func (m *Mux) Disconnect(id string) { m.conns.closeOf(id) }

// Conns returns how many connections there are now, by kind.
func (m *Mux) Conns() map[Kind]int { return m.conns.count() }

// Close stops listening and closes every connection; it returns when the Mux has
// no goroutine left. Later calls return what the first did.
func (m *Mux) Close() error {
	m.once.Do(func() {
		m.cancel()
		m.closed = m.listener.Close()
		m.pending.closeAll()
		for _, q := range m.queues {
			q.Close()
		}
		m.conns.closeAll()
		m.wg.Wait()
	})
	return m.closed
}

// acceptLoop must outlive a shortage of file descriptors, so errors only slow it
// down.
func (m *Mux) acceptLoop() {
	const firstDelay, maxDelay = 5 * time.Millisecond, time.Second
	delay := firstDelay
	for {
		conn, err := m.listener.Accept()
		if err == nil {
			delay = firstDelay
			m.wg.Go(func() { m.accept(conn) })
			continue
		}
		if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		m.cfg.Logger.Error("cannot accept a connection on the Raft port", "error", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-m.ctx.Done():
			return
		}
		delay = min(2*delay, maxDelay)
	}
}

func (m *Mux) refused(r Refusal) {
	m.refusals.log(r)
	m.cfg.OnRefused(r)
}
