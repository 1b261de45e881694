package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

const (
	// tailSilence is after how much silence another node is asked: a node sends a
	// heartbeat every two seconds.
	tailSilence = 7 * time.Second
	// tailStaleness is after how long without a leader a node is left for another one,
	// which may have heard of it.
	tailStaleness = 5 * time.Second
)

var (
	errTailSilent = errors.New("node sends nothing, not even heartbeats")
	errTailHole   = errors.New("node left out messages")
)

// run keeps a stream up until the tail is closed.
func (t *Tail) run() {
	wait := backoff{base: t.c.options.backoffBase, limit: t.c.options.backoffMax}
	for t.ctx.Err() == nil {
		if !t.following() {
			select {
			case <-t.changed:
			case <-t.ctx.Done():
			}
			continue
		}
		node := t.c.nodes.any()
		begin := time.Now()
		answered, f := t.serve(node)
		if t.c.options.observer != nil {
			t.c.options.observer(Attempt{Operation: "Tail", Endpoint: node.address, Duration: time.Since(begin), Answered: answered, Err: f.observed(false)})
		}
		if t.ctx.Err() != nil {
			return
		}
		if f.verdict == final && f.code == codes.InvalidArgument {
			t.mu.Lock()
			t.err = fmt.Errorf("Tail: %w", f.err)
			t.mu.Unlock()
			t.cancel()
			return
		}
		t.c.options.logger.Debug("tail interrupted", "endpoint", node.address, "error", f.err)
		if answered > 0 {
			wait.reset()
		}
		// A node of an older version is not a bad one. Everything else is the node's, so
		// that the next one is asked.
		if f.code != codes.Unimplemented {
			f.verdict = notApplied
			t.c.nodes.failed(node, f)
		}
		t.c.sleep(t.ctx, wait.next(f.retryAfter))
	}
}

func (t *Tail) following() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subscriptions) > 0
}

// serve runs one stream over the node, and returns how many responses came and why it
// ended.
func (t *Tail) serve(node *endpoint) (answered int, f *failure) {
	if err := t.c.connect(t.ctx, node); err != nil {
		return 0, unreachable(node.address, err)
	}
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(context.Canceled)
	stream, err := node.timelines.Tail(ctx, pages...)
	if err != nil {
		return 0, understand(node.address, err)
	}
	t.joinAgain()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		t.send(ctx, stream)
	}()
	silence := time.AfterFunc(tailSilence, func() { cancel(errTailSilent) })
	for err == nil {
		var response tailReply
		silence.Reset(tailSilence)
		err = stream.RecvMsg(&response)
		silence.Stop()
		if err == nil {
			answered++
			err = t.take(node, &response)
		}
	}
	cause := context.Cause(ctx)
	cancel(context.Canceled)
	<-sent
	if cause == nil || errors.Is(cause, context.Canceled) {
		return answered, understand(node.address, err)
	}
	return answered, &failure{verdict: notApplied, code: codes.Unavailable, err: fmt.Errorf("%s: %w", node.address, cause)}
}

// joinAgain makes all subscriptions new ones for a stream that begins.
func (t *Tail) joinAgain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving, t.joining = nil, make([]*Subscription, 0, len(t.subscriptions))
	for _, s := range t.subscriptions {
		t.joining = append(t.joining, s)
	}
	// In the order of Follow, so that it does not depend on the order of a map.
	slices.SortFunc(t.joining, func(a, b *Subscription) int { return int(int64(a.tag) - int64(b.tag)) })
	t.tell()
}

// send tells the node of subscriptions that come and go until ctx ends. Errors show
// in what is received.
func (t *Tail) send(ctx context.Context, stream pb.TimelineService_TailClient) {
	for {
		request := t.changes()
		if request == nil {
			select {
			case <-t.changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		if stream.Send(request) != nil {
			return
		}
	}
}

// changes is the next request, or nil if the node knows everything.
func (t *Tail) changes() *pb.TailRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.joining) == 0 && len(t.leaving) == 0 {
		return nil
	}
	request := &pb.TailRequest{}
	n := min(len(t.leaving), tidemark.MaxTailRequestItems)
	request.Unsubscribe, t.leaving = t.leaving[:n:n], t.leaving[n:]
	n = min(len(t.joining), tidemark.MaxTailRequestItems)
	for _, s := range t.joining[:n] {
		request.Subscribe = append(request.Subscribe, s.request())
	}
	t.joining = t.joining[n:]
	return request
}

func (s *Subscription) request() *pb.TailSubscription {
	item := &pb.TailSubscription{Tag: s.tag, Timeline: string(s.Timeline), NotifyOnly: s.options.notifyOnly, Priority: s.options.priority}
	if s.known {
		item.Start = &pb.TailSubscription_AfterSeqId{AfterSeqId: uint64(s.position)}
	} else {
		item.Start = &pb.TailSubscription_Newest{Newest: true}
	}
	return item
}

// take hands the events of a response on. An error says that the node is of no use.
func (t *Tail) take(node *endpoint, response *tailReply) error {
	if _, err := t.c.observeToken(response.GetPosition()); err != nil {
		return err
	}
	for i := range response.events {
		told := &response.events[i]
		t.mu.Lock()
		s := t.subscriptions[told.GetTag()]
		t.mu.Unlock()
		if s == nil {
			continue // it was ended, and the node has not heard of that
		}
		event, err := s.advance(node, told)
		if err != nil {
			return err
		}
		if event == nil {
			continue
		}
		select {
		case t.events <- *event:
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
	if age := time.Duration(response.GetStalenessMillis()) * time.Millisecond; age > tailStaleness && t.c.nodes.hasOther(node) {
		return fmt.Errorf("%w: last heard from a leader %v ago", tidemark.ErrStale, age)
	}
	return nil
}

// advance brings the subscription forward by an event, and returns what the caller is
// told of it, or nil.
func (s *Subscription) advance(node *endpoint, told *tailReplyEvent) (*TailEvent, error) {
	event := &TailEvent{Subscription: s}
	if told.delivers {
		event.Messages = told.messages
		return event, s.pass(told.messages)
	}
	switch told := told.GetEvent().(type) {
	case *pb.TailEvent_Notice:
		if event.Notified = tidemark.SeqID(told.Notice.GetLastSeqId()); s.known && event.Notified <= s.position {
			return nil, fmt.Errorf("%w: a notice of %d of %q came after %d", errTailHole, event.Notified, s.Timeline, s.position)
		}
		s.moveTo(event.Notified)
	case *pb.TailEvent_CaughtUp:
		event.CaughtUp = true
		if !s.known {
			s.moveTo(tidemark.SeqID(told.CaughtUp.GetLastSeqId()))
		}
	case *pb.TailEvent_Trimmed:
		event.Trimmed = tidemark.SeqID(told.Trimmed.GetFirstSeqId())
		s.moveTo(event.Trimmed - 1)
	case *pb.TailEvent_Error:
		event.Err = understandItem(node.address, told.Error).err
		s.tail.mu.Lock()
		delete(s.tail.subscriptions, s.tag)
		s.tail.mu.Unlock()
	default:
		return nil, nil
	}
	return event, nil
}

// pass brings the subscription behind messages, which must be the next ones.
func (s *Subscription) pass(messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	last, known := s.position, s.known
	for i := range messages {
		seq := messages[i].SeqID
		if known && seq != last+1 {
			return fmt.Errorf("%w: message %d of %q came after %d", errTailHole, seq, s.Timeline, last)
		}
		last, known = seq, true
	}
	s.moveTo(last)
	return nil
}

func (s *Subscription) moveTo(seq tidemark.SeqID) {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	s.position, s.known = seq, true
}
