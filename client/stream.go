package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

const (
	// sendBatch is how many appends are taken from the queue at a time.
	sendBatch = 64
	// watchesPerStall is how often a stream is looked at within a stall timeout.
	watchesPerStall = 4
	// lostReplyFactor is how many stall timeouts one append may stay unanswered
	// while others behind it are answered.
	lostReplyFactor = 4
)

var (
	errStalled   = errors.New("node answers nothing")
	errLostReply = errors.New("node left an append unanswered")
)

// stream is one AppendStream.
type stream struct {
	p      *pipeline
	node   *endpoint
	ctx    context.Context
	cancel context.CancelCauseFunc
	calls  pb.TimelineService_AppendStreamClient
	// received is closed when no more replies come, and then ended says why.
	received chan struct{}
	ended    error
	// watchers are the goroutines beside sender and receiver.
	watchers sync.WaitGroup

	// Guarded by pipeline.mu.

	// owed holds every append that was put on the stream and not answered, by
	// tag; also those that their callers gave up.
	owed     map[uint64]*Pending
	lastTag  uint64
	answered int
	// unanswered is how many were owed at the end.
	unanswered int
	// draining stops sending, in order to go on with another node.
	draining bool
}

// attempt serves the queue over one stream to the node. The failure is nil if the
// stream was ended in order to go on with another node, or because all is done.
func (p *pipeline) attempt(node *endpoint) (*stream, *failure) {
	begin := time.Now()
	s := &stream{p: p, node: node, owed: make(map[uint64]*Pending), received: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(p.c.ctx)
	f := s.serve()
	s.cancel(context.Canceled)
	s.watchers.Wait()
	s.takeBack()
	if p.c.options.observer != nil {
		p.c.options.observer(Attempt{
			Operation:  "AppendStream",
			Endpoint:   node.address,
			Duration:   time.Since(begin),
			Answered:   s.answered,
			Unanswered: s.unanswered,
			Err:        f.observed(s.unanswered > 0),
		})
	}
	return s, f
}

// takeBack makes everything unanswered unsent again.
func (s *stream) takeBack() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.unanswered = len(s.owed)
	s.p.unsent = s.p.head
}

func (s *stream) serve() *failure {
	if err := s.p.c.connect(s.ctx, s.node); err != nil {
		return unreachable(s.node.address, err)
	}
	s.watchers.Go(s.watch)
	calls, err := s.node.timelines.AppendStream(s.ctx, grpc.ForceCodecV2(newFrameCodec()))
	if err != nil {
		return s.failure(err)
	}
	s.calls = calls
	go s.receive()
	err = s.send()
	if err != nil && !errors.Is(err, io.EOF) {
		// Not even the transport knows of this error, so the stream has to be told.
		s.cancel(err)
	}
	<-s.received
	if s.ended != nil {
		return s.failure(s.ended)
	}
	return nil
}

// failure prefers the reason for which the stream was given up.
func (s *stream) failure(err error) *failure {
	switch cause := context.Cause(s.ctx); {
	case cause == nil, errors.Is(cause, context.Canceled):
		return understand(s.node.address, err)
	default:
		s.p.c.options.logger.Warn("append stream given up", "endpoint", s.node.address, "error", cause)
		return &failure{verdict: unknown, err: fmt.Errorf("%s: %w", s.node.address, cause)}
	}
}

// send feeds the stream until it ends, drains, or all is done.
func (s *stream) send() error {
	batch := make([]frame, 0, sendBatch)
	for {
		var more bool
		if batch, more = s.take(batch[:0]); !more {
			return s.finish()
		}
		for i := range batch {
			if err := s.calls.SendMsg(&batch[i]); err != nil {
				s.notSent(batch[i+1:])
				return err
			}
			// The queue holds the request as long as it is needed.
			batch[i].request = nil
		}
		if len(batch) == 0 && !s.rest() {
			return nil
		}
	}
}

// finish ends the stream in good order: when it drains, after the node has
// answered what it owes; and when all is done, at once.
func (s *stream) finish() error {
	s.p.mu.Lock()
	draining := s.draining
	s.p.mu.Unlock()
	if !draining {
		s.cancel(context.Canceled)
	}
	return s.calls.CloseSend()
}

// take puts waiting appends on the stream, as many as are allowed. It reports false
// when there is nothing more to come.
func (s *stream) take(batch []frame) ([]frame, bool) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.draining || p.closing && p.head == nil {
		return batch, false
	}
	for len(batch) < sendBatch && len(s.owed) < p.allowance && p.unsent != nil {
		pending := p.unsent
		p.unsent = pending.next
		pending.streams++
		s.lastTag++
		s.owed[s.lastTag] = pending
		batch = append(batch, frame{tag: s.lastTag, request: pending.request})
	}
	p.asleep = len(batch) == 0
	return batch, true
}

// rest waits until there is something to do. It reports false when the stream ended.
func (s *stream) rest() bool {
	select {
	case <-s.p.wake:
		return true
	case <-s.received:
		s.p.stayAwake()
		return false
	}
}

// notSent undoes take for appends that were not handed to the transport.
func (s *stream) notSent(batch []frame) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, f := range batch {
		s.owed[f.tag].streams--
		delete(s.owed, f.tag)
	}
}

// receive settles what is answered.
func (s *stream) receive() {
	defer close(s.received)
	for {
		reply, err := s.calls.Recv()
		if err == nil {
			if err = s.settle(reply); err != nil {
				// The sender may be waiting for a node that will not read on.
				s.cancel(err)
			}
		}
		if err != nil {
			if !s.isDone(err) {
				s.ended = err
			}
			return
		}
	}
}

// isDone says that the stream was to end with err.
func (s *stream) isDone(err error) bool {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.draining && err == io.EOF || s.p.closing && s.p.head == nil
}

// settle gives one append its outcome.
func (s *stream) settle(reply *pb.AppendStreamResponse) error {
	result, failed, err := s.read(reply)
	if err != nil {
		return err
	}
	p := s.p
	p.mu.Lock()
	pending := s.owed[reply.GetTag()]
	if pending == nil {
		p.mu.Unlock()
		return fmt.Errorf("node answered tag %d, which is not owed", reply.GetTag())
	}
	delete(s.owed, reply.GetTag())
	s.answered++
	p.allowance = min(p.allowance+1, p.c.options.inFlightMessages)
	var outcome error
	if failed != nil {
		outcome = pending.failed(failed)
	} else {
		result.Timeline, result.ID = pending.draft.Timeline, pending.draft.ID
		if !pending.ended {
			pending.result = result
		}
	}
	settled := p.settle(pending, outcome)
	if p.unsent != nil || p.closing && p.head == nil {
		p.signal()
	}
	p.mu.Unlock()
	if settled {
		p.announce(pending)
	}
	return nil
}

// read translates a reply. An error means that the node does not keep to the API,
// so that nothing can be concluded from the reply.
func (s *stream) read(reply *pb.AppendStreamResponse) (result AppendResult, failed *failure, err error) {
	switch outcome := reply.GetOutcome().(type) {
	case *pb.AppendStreamResponse_Response:
		result, err = s.p.c.appendResult(outcome.Response)
		return result, nil, err
	case *pb.AppendStreamResponse_Error:
		failed = understandItem(s.node.address, outcome.Error)
		if failed.verdict != final {
			// A retry within the stream would overtake, so this ends it.
			return result, nil, failed.err
		}
		return result, failed, nil
	default:
		return result, nil, errors.New("node answered without an outcome")
	}
}

// failed is the outcome of an append that a node refused for good. If an earlier
// stream carried it too, that attempt may still be on its way.
func (pending *Pending) failed(f *failure) error {
	if pending.streams > 1 && !settles(f.err) && !errors.Is(f.err, tidemark.ErrInvalid) {
		return &UnknownOutcomeError{Draft: pending.draft, cause: errors.New(f.err.Error())}
	}
	return fmt.Errorf("append of %q to %q: %w", pending.draft.ID, pending.draft.Timeline, f.err)
}

// watch gives the stream up when the node answers nothing although it owes
// answers, and lets it drain when another node leads.
func (s *stream) watch() {
	ticker := time.NewTicker(s.p.c.options.stallTimeout / watchesPerStall)
	defer ticker.Stop()
	var w watched
	refreshed := time.Now()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-ticker.C:
			progress, err := s.look(&w)
			if err != nil {
				s.cancel(err)
				return
			}
			if progress && now.Sub(refreshed) >= s.p.c.options.leaderRefresh {
				refreshed = now
				s.watchers.Go(s.followLeader)
			}
		}
	}
}

// watched is what watch saw when it last looked.
type watched struct {
	answered int
	// idle counts looks without an answer though something was owed.
	idle int
	// oldest is the first append of the queue, and looks how often it was.
	oldest *Pending
	looks  int
}

// look compares the stream with what it was. It reports whether there were answers.
func (s *stream) look(w *watched) (progress bool, err error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	progress = s.answered > w.answered
	w.answered = s.answered
	switch {
	case progress || len(s.owed) == 0:
		w.idle = 0
	default:
		w.idle++
	}
	if oldest := s.p.head; oldest != nil && oldest == w.oldest && oldest != s.p.unsent {
		w.looks++
	} else {
		w.oldest, w.looks = oldest, 0
	}
	switch {
	case w.idle > watchesPerStall:
		return progress, fmt.Errorf("%w for %v", errStalled, s.p.c.options.stallTimeout)
	case w.looks > watchesPerStall*lostReplyFactor:
		return progress, fmt.Errorf("%w for %v", errLostReply, lostReplyFactor*s.p.c.options.stallTimeout)
	}
	return progress, nil
}

// followLeader lets the stream drain if another node leads: nothing more is sent,
// what was sent is answered, and then the next stream goes to the leader.
func (s *stream) followLeader() {
	leader := s.p.c.nodes.discover(s.ctx, discoveryTimeout)
	if leader == nil || leader == s.node {
		return
	}
	s.p.mu.Lock()
	s.draining = true
	s.p.signal()
	s.p.mu.Unlock()
	s.p.c.options.logger.Debug("append stream follows the leader", "from", s.node.address, "to", leader.address)
}
