package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// window is how many bytes can be under way in one direction of a connection
// before its writer waits.
const window = 1 << 20

var errReset = errors.New("connection reset by peer")

// pipe is one direction of a connection. Bytes arrive in order, each chunk not
// before its time, and not while the link is cut. What a link loses is sent again,
// as TCP does, so loss shows as delay, for all that is behind it too.
type pipe struct {
	link *link

	mu sync.Mutex
	// wake is closed and replaced at each change.
	wake   chan struct{}
	chunks []chunk
	queued int
	last   time.Time
	// broken ends the connection for reader and writer. gone says that the
	// reader has closed it; a write then leads to a reset, once, some time later.
	broken error
	gone   bool
	reset  func()
}

// chunk is what one Write sent; a nil one is the end of the stream.
type chunk struct {
	at   time.Time
	data []byte
}

func newPipe(l *link) *pipe { return &pipe{link: l, wake: make(chan struct{})} }

// changed wakes all that wait. The caller holds mu.
func (p *pipe) changed() {
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *pipe) breakOff(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
		p.changed()
	}
}

func (p *pipe) poke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed()
}

// send queues data, or the end of the stream if data is nil.
func (p *pipe) send(data []byte) {
	at := time.Now().Add(p.link.transit())
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	p.chunks = append(p.chunks, chunk{at, data})
	p.queued += len(data)
	p.changed()
}

// refuse has the other host answer that nobody reads here any more. The answer
// ends both directions at the same time, as a TCP reset does: gRPC would call again
// and again, without a pause, while only its writes fail. The caller holds mu.
func (p *pipe) refuse() {
	if p.reset != nil && !p.link.isCut() {
		time.AfterFunc(2*p.link.transit(), p.reset)
		p.reset = nil
	}
}

func (p *pipe) write(b []byte, deadline *deadline) (int, error) {
	for {
		passed := deadline.passed()
		select {
		case <-passed:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		p.mu.Lock()
		switch {
		case p.broken != nil:
			p.mu.Unlock()
			return 0, p.broken
		case p.gone:
			p.refuse()
			p.mu.Unlock()
			return len(b), nil
		case p.queued < window:
			p.send(append(make([]byte, 0, len(b)), b...))
			p.mu.Unlock()
			return len(b), nil
		}
		wake := p.wake
		p.mu.Unlock()
		select {
		case <-wake:
		case <-passed:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.send(nil)
	}
}

// leave says that the reader is gone.
func (p *pipe) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.changed()
}

func (p *pipe) read(b []byte, deadline *deadline) (int, error) {
	for {
		passed := deadline.passed()
		select {
		case <-passed:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		n, wait, wake, err := p.take(b)
		if n > 0 || err != nil {
			return n, err
		}
		var due <-chan time.Time
		if wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-wake:
		case <-due:
		case <-passed:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// take returns what has arrived, or how long to wait (0: for wake alone).
func (p *pipe) take(b []byte) (n int, wait time.Duration, wake <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.broken != nil:
		return 0, 0, nil, p.broken
	case p.gone:
		return 0, 0, nil, net.ErrClosed
	case len(p.chunks) == 0 || p.link.isCut():
		return 0, 0, p.wake, nil
	}
	head := &p.chunks[0]
	if wait := time.Until(head.at); wait > 0 {
		return 0, wait, p.wake, nil
	}
	if head.data == nil {
		return 0, 0, nil, io.EOF
	}
	n = copy(b, head.data)
	head.data = head.data[n:]
	p.queued -= n
	if len(head.data) == 0 {
		p.chunks = p.chunks[1:]
	}
	p.changed()
	return n, 0, nil, nil
}

// deadline is one of the two of a connection.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	// over is closed when the deadline has passed.
	over chan struct{}
}

func newDeadline() *deadline { return &deadline{over: make(chan struct{})} }

func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.over:
		d.over = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	over := d.over
	wait := time.Until(t)
	if wait <= 0 {
		close(over)
		return
	}
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		// It may have been set again while this function waited.
		if d.over == over {
			select {
			case <-over:
			default:
				close(over)
			}
		}
	})
}
