//go:build linux

package host

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// relayChunk is the most that a relay reads at once, and relayChunks how many of
	// them wait in one direction of a connection. Together they bound what is on the
	// way, as the window of a long cable does.
	relayChunk  = 32 << 10
	relayChunks = 64
)

// relay passes connections on to an address.
type relay struct {
	listener net.Listener
	target   string
	// whose names the link that a connection came over, or refuses it.
	whose func(*net.TCPConn) (pair, bool)
	gate  func(pair) *gate

	// done is closed when the relay closes, and wait ends with all that it started.
	done chan struct{}
	wait sync.WaitGroup
	once sync.Once
}

func newRelay(target string, whose func(*net.TCPConn) (pair, bool), gate func(pair) *gate) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener, target: target, whose: whose, gate: gate, done: make(chan struct{})}
	r.wait.Go(r.accept)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// No file descriptors are left; others may give some back.
			time.Sleep(pollInterval)
			continue
		}
		r.wait.Go(func() { r.serve(conn.(*net.TCPConn)) })
	}
}

// serve passes one connection on. A connection that is opened while one of its two
// directions is cut comes to stand when both are open.
func (r *relay) serve(near *net.TCPConn) {
	defer near.Close()
	p, ok := r.whose(near)
	if !ok {
		return
	}
	there, back := r.gate(p), r.gate(pair{p.to, p.from})
	if !there.pass(r.done) || !back.pass(r.done) {
		return
	}
	conn, err := net.Dial("tcp", r.target)
	if err != nil {
		// The node does not run, and a kernel would say so at once.
		_ = near.SetLinger(0)
		return
	}
	far := conn.(*net.TCPConn)
	defer far.Close()

	over := make(chan struct{})
	var directions sync.WaitGroup
	directions.Go(func() { r.pump(far, near, there, over) })
	directions.Go(func() { r.pump(near, far, back, over) })
	go func() {
		directions.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-r.done:
		near.Close()
		far.Close()
		<-over
	}
}

// chunk is what was read at once, or with last the end of it all.
type chunk struct {
	data []byte
	due  time.Time
	last bool
}

// pump passes on what comes from one side, in order, each chunk when it is due and
// the gate is open. The end passes like the rest.
func (r *relay) pump(to, from *net.TCPConn, g *gate, over <-chan struct{}) {
	chunks := make(chan chunk, relayChunks)
	r.wait.Go(func() {
		defer close(chunks)
		for {
			buffer := make([]byte, relayChunk)
			n, err := from.Read(buffer)
			select {
			case chunks <- chunk{buffer[:n], g.due(time.Now()), err != nil}:
			case <-over:
				return
			case <-r.done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		if !g.pass(r.done) {
			return
		}
		if _, err := to.Write(c.data); err != nil {
			// Whoever sends this must learn that nobody gets it.
			from.Close()
			return
		}
		if c.last {
			_ = to.CloseWrite()
		}
	}
}

// close ends all connections.
func (r *relay) close() error {
	var err error
	r.once.Do(func() {
		close(r.done)
		err = r.listener.Close()
		r.wait.Wait()
	})
	return err
}
