package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"

	"tidemark"
)

// pipeline carries all appends of a client, one stream at a time.
//
// Its queue holds, in the order of submission, every append without an outcome:
//
//	head ── … ── │ unsent ── … ── tail
//	on the present stream │ not yet on it
//
// Order is kept by three invariants. An append enters the queue at its tail only. A
// stream is fed from unsent onwards, so in the order of the queue. And when a
// stream ends, unsent goes back to head before the next one opens: whatever was
// not answered is sent again, in the same order, before anything newer. So no
// stream carries an append before an older one of the same timeline that has no
// outcome; and since the node applies a stream in order, and knows a message that
// an earlier stream brought by its id, the timeline has them in the order of
// submission.
//
// An append leaves the queue with its outcome, or when its caller gives up. It is
// then not sent again: the caller was told that the outcome is unknown (or that it
// was not sent), and may find it applied or not, but later appends must not wait
// for one that nobody waits for.
type pipeline struct {
	c *Client
	// messages and bytes bound what the queue holds.
	messages, bytes *semaphore.Weighted
	// wake is signalled (it has room for one signal) when asleep was set and there
	// is something to do.
	wake  chan struct{}
	ended chan struct{}

	mu         sync.Mutex
	head, tail *Pending
	unsent     *Pending
	asleep     bool
	closing    bool
	// allowance bounds the unanswered appends on a stream. It is halved when a
	// node says that it is overloaded, and grows with each answer, so that
	// everything need not be sent again and again to a node that takes only a part.
	allowance int
	// last says why the last stream ended; nil if it ended well.
	last error
}

func newPipeline(c *Client) *pipeline {
	return &pipeline{
		c:         c,
		messages:  semaphore.NewWeighted(int64(c.options.inFlightMessages)),
		bytes:     semaphore.NewWeighted(int64(c.options.inFlightBytes)),
		wake:      make(chan struct{}, 1),
		ended:     make(chan struct{}),
		allowance: c.options.inFlightMessages,
	}
}

// weight is what the append counts against the bound in bytes. One that is larger
// than the bound takes all of it.
func (p *pipeline) weight(pending *Pending) int64 {
	return int64(min(len(pending.request), p.c.options.inFlightBytes))
}

// submit waits for room and puts the append at the end of the queue.
func (p *pipeline) submit(ctx context.Context, pending *Pending) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.admit(ctx, pending); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		p.release(pending)
		return ErrClosed
	}
	pending.prev = p.tail
	if p.tail != nil {
		p.tail.next = pending
	} else {
		p.head = pending
	}
	p.tail = pending
	if p.unsent == nil {
		p.unsent = pending
	}
	p.signal()
	p.mu.Unlock()
	return nil
}

// admit waits for room until ctx ends or the client is closed.
func (p *pipeline) admit(ctx context.Context, pending *Pending) error {
	if p.messages.TryAcquire(1) {
		if p.bytes.TryAcquire(p.weight(pending)) {
			return nil
		}
		p.messages.Release(1)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.c.ctx, func() { cancel(ErrClosed) })()
	if p.messages.Acquire(ctx, 1) != nil {
		return fmt.Errorf("no room among those under way: %w", context.Cause(ctx))
	}
	if p.bytes.Acquire(ctx, p.weight(pending)) != nil {
		p.messages.Release(1)
		return fmt.Errorf("no room among those under way: %w", context.Cause(ctx))
	}
	return nil
}

func (p *pipeline) release(pending *Pending) {
	p.messages.Release(1)
	p.bytes.Release(p.weight(pending))
}

// signal wakes run if it sleeps. It is called with mu held.
func (p *pipeline) signal() {
	if p.asleep {
		p.asleep = false
		p.wake <- struct{}{}
	}
}

// settle gives the append its outcome and takes it out of the queue. It is called
// with mu held, and reports false if it has an outcome already.
func (p *pipeline) settle(pending *Pending, err error) bool {
	if pending.ended {
		return false
	}
	pending.ended = true
	pending.err = err
	if p.unsent == pending {
		p.unsent = pending.next
	}
	if pending.prev != nil {
		pending.prev.next = pending.next
	} else {
		p.head = pending.next
	}
	if pending.next != nil {
		pending.next.prev = pending.prev
	} else {
		p.tail = pending.prev
	}
	pending.prev, pending.next = nil, nil
	return true
}

// announce lets everyone know of an outcome. It is called once, after settle,
// without mu.
func (p *pipeline) announce(pending *Pending) {
	close(pending.done)
	if pending.stop != nil {
		pending.stop()
	}
	p.release(pending)
}

// abandon ends an append whose caller gives up.
func (p *pipeline) abandon(pending *Pending, cause error) {
	p.mu.Lock()
	if p.last != nil {
		// Not wrapped: it is not about this append, which may have been sent before.
		cause = fmt.Errorf("%w; last attempt: %v", cause, p.last)
	}
	settled := p.settle(pending, pending.givenUp(cause))
	if settled && p.closing && p.head == nil {
		p.signal()
	}
	p.mu.Unlock()
	if settled {
		p.announce(pending)
	}
}

// givenUp is the outcome of an append that is not waited for any longer.
func (pending *Pending) givenUp(cause error) error {
	if pending.streams > 0 {
		return &UnknownOutcomeError{Draft: pending.draft, cause: cause}
	}
	return fmt.Errorf("append of %q to %q was not sent: %w", pending.draft.ID, pending.draft.Timeline, cause)
}

// watchedBy is told how to stop watching the context of the append.
func (p *pipeline) watchedBy(pending *Pending, stop func() bool) {
	p.mu.Lock()
	ended := pending.ended
	if !ended {
		pending.stop = stop
	}
	p.mu.Unlock()
	if ended {
		stop()
	}
}

// close refuses what is new. run ends when the queue is empty.
func (p *pipeline) close() {
	p.mu.Lock()
	p.closing = true
	p.signal()
	p.mu.Unlock()
}

// run opens one stream after the other while there is something to send.
func (p *pipeline) run() {
	defer close(p.ended)
	defer p.failAll(func(pending *Pending) error { return pending.givenUp(ErrClosed) })
	wait := backoff{base: p.c.options.backoffBase, limit: p.c.options.backoffMax}
	for p.awaitWork() {
		node := p.choose()
		s, f := p.attempt(node)
		p.remember(f)
		if s.answered > 0 {
			wait.reset()
			p.c.nodes.succeeded(node)
		}
		if f == nil {
			continue
		}
		if p.c.ctx.Err() == nil {
			p.c.nodes.failed(node, f)
			p.c.options.logger.Debug("append stream ended", "endpoint", node.address, "answered", s.answered, "error", f.err)
		}
		if f.verdict == final {
			p.failAll(func(pending *Pending) error { return pending.refused(s, f) })
			continue
		}
		if errors.Is(f.err, tidemark.ErrOverloaded) {
			p.slowDown(s)
		}
		p.c.sleep(context.Background(), wait.next(f.retryAfter))
	}
}

// remember keeps why a stream ended, for those who give up.
func (p *pipeline) remember(f *failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = nil
	if f != nil {
		p.last = f.err
	}
}

// awaitWork waits until there is something to send. It reports false when there
// will be nothing more, or no time for it.
func (p *pipeline) awaitWork() bool {
	for {
		p.mu.Lock()
		if p.c.ctx.Err() != nil || p.head == nil && p.closing {
			p.mu.Unlock()
			return false
		}
		if p.head != nil {
			p.mu.Unlock()
			return true
		}
		p.asleep = true
		p.mu.Unlock()
		select {
		case <-p.wake:
		case <-p.c.ctx.Done():
			p.stayAwake()
		}
	}
}

// stayAwake takes back asleep, and with it a signal that may have been given.
func (p *pipeline) stayAwake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asleep {
		<-p.wake
	}
	p.asleep = false
}

// choose prefers the leader, and asks around if it is not known.
func (p *pipeline) choose() *endpoint {
	if leader := p.c.nodes.knownLeader(); leader != nil {
		return leader
	}
	if leader := p.c.nodes.discover(p.c.ctx, discoveryTimeout); leader != nil {
		return leader
	}
	return p.c.nodes.writer()
}

// slowDown halves what may be unanswered on a stream.
func (p *pipeline) slowDown(s *stream) {
	p.mu.Lock()
	p.allowance = max(1, (s.answered+s.unanswered)/2)
	p.mu.Unlock()
}

// failAll ends everything in the queue.
func (p *pipeline) failAll(outcome func(*Pending) error) {
	var failed []*Pending
	p.mu.Lock()
	for p.head != nil {
		pending := p.head
		p.settle(pending, outcome(pending))
		failed = append(failed, pending)
	}
	p.mu.Unlock()
	for _, pending := range failed {
		p.announce(pending)
	}
}

// refused is the outcome of an append when a stream ended for good.
func (pending *Pending) refused(s *stream, f *failure) error {
	streams := pending.streams
	if s.answered == 0 && streams == 1 {
		switch f.code {
		case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
			// The stream was turned away at the door.
			streams = 0
		}
	}
	if streams > 0 {
		return &UnknownOutcomeError{Draft: pending.draft, cause: errors.New(f.err.Error())}
	}
	return fmt.Errorf("append of %q to %q: %w", pending.draft.ID, pending.draft.Timeline, f.err)
}
