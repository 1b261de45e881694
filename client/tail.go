package client

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// tailEvents is how many events wait for Next at most. Beyond it the stream is not
// read, and the node holds nothing back but the positions.
const tailEvents = 16

// Tail follows any number of timelines over one stream, and goes on over another node
// when the one that serves it fails: every message after the start of a subscription
// comes once, in order. Follow and Next may be called by different goroutines, but
// Next by one at a time. It has to be closed.
type Tail struct {
	c *Client
	// ctx ends with Close, or when the client is closed.
	ctx    context.Context
	cancel context.CancelFunc
	events chan TailEvent
	// ended is closed when no more events come.
	ended chan struct{}

	// mu guards what follows.
	mu            sync.Mutex
	subscriptions map[uint64]*Subscription
	lastTag       uint64
	// joining and leaving are what the node that serves the stream was not told yet.
	joining []*Subscription
	leaving []uint64
	changed chan struct{}
	err     error
}

// Subscription is one timeline that a Tail follows.
type Subscription struct {
	tail *Tail
	tag  uint64

	// Timeline is what it follows.
	Timeline tidemark.TimelineID

	options followOptions
	// position is the SeqID behind which to go on, once known is set. It belongs to
	// the goroutine that receives while the stream is up, and to run otherwise.
	position tidemark.SeqID
	known    bool
}

// TailEvent is what is new of one subscription. Of Messages, Notified, Trimmed, CaughtUp
// and Err, one is set.
type TailEvent struct {
	Subscription *Subscription
	// Messages are the next ones, in rising order of SeqID.
	Messages []Message
	// Notified is the last SeqID of what is there, for a subscription with NotifyOnly.
	Notified tidemark.SeqID
	// Trimmed is the first SeqID that is retained: what was asked for before it is gone.
	Trimmed tidemark.SeqID
	// CaughtUp says that everything which the node has was delivered. It comes again after each
	// time that the subscription had fallen behind, and when another node serves it.
	CaughtUp bool
	// Err says why the node refused the subscription, which has ended with that: it wraps
	// tidemark.ErrInvalid or tidemark.ErrOverloaded.
	Err error
}

// FollowOption says how a subscription follows a timeline.
type FollowOption func(*followOptions)

type followOptions struct {
	after      tidemark.SeqID
	newest     bool
	notifyOnly bool
	priority   pb.TailPriority
}

// After begins behind a message that the caller has. The default, 0, begins with the first one.
func After(seq tidemark.SeqID) FollowOption {
	return func(o *followOptions) { o.after, o.newest = seq, false }
}

// FromNow begins behind the last message that the node has.
func FromNow() FollowOption { return func(o *followOptions) { o.newest = true } }

// NotifyOnly delivers only that there are messages, and up to which SeqID.
func NotifyOnly() FollowOption { return func(o *followOptions) { o.notifyOnly = true } }

// Priority gives a subscription 16 turns (high), 4 (normal) or 1 (low) of a busy stream.
func Priority(p TailPriority) FollowOption {
	return func(o *followOptions) { o.priority = pb.TailPriority(p) }
}

// TailPriority is a share of a stream on which there is more to send than the client takes.
type TailPriority int32

// The priorities.
const (
	PriorityNormal = TailPriority(pb.TailPriority_TAIL_PRIORITY_NORMAL)
	PriorityHigh   = TailPriority(pb.TailPriority_TAIL_PRIORITY_HIGH)
	PriorityLow    = TailPriority(pb.TailPriority_TAIL_PRIORITY_LOW)
)

// Tail opens a tail without subscriptions. It connects by itself, and again for as long
// as it is open.
func (c *Client) Tail() (*Tail, error) {
	if err := c.begin(); err != nil {
		return nil, fmt.Errorf("Tail: %w", err)
	}
	t := &Tail{
		c: c, events: make(chan TailEvent, tailEvents), ended: make(chan struct{}),
		subscriptions: make(map[uint64]*Subscription), changed: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancel(c.closing)
	go func() {
		defer c.calls.Done()
		defer close(t.ended)
		t.run()
	}()
	return t, nil
}

// Follow adds a subscription. A node that refuses it says so in an event.
func (t *Tail) Follow(timeline tidemark.TimelineID, opts ...FollowOption) (*Subscription, error) {
	s := &Subscription{tail: t, Timeline: timeline, options: followOptions{priority: pb.TailPriority_TAIL_PRIORITY_NORMAL}}
	for _, option := range opts {
		option(&s.options)
	}
	s.position, s.known = s.options.after, !s.options.newest
	if err := timeline.Validate("timeline"); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ctx.Err() != nil:
		return nil, fmt.Errorf("Follow: %w", ErrClosed)
	case len(t.subscriptions) >= tidemark.MaxTailSubscriptions:
		return nil, tidemark.Invalid("subscriptions", "must be at most %d on one tail", tidemark.MaxTailSubscriptions)
	}
	t.lastTag++
	s.tag = t.lastTag
	t.subscriptions[s.tag] = s
	t.joining = append(t.joining, s)
	t.tell()
	return s, nil
}

// Unfollow ends the subscription. Events that wait for Next may still come.
func (s *Subscription) Unfollow() {
	t := s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.subscriptions[s.tag] != s {
		return
	}
	delete(t.subscriptions, s.tag)
	if at := slices.Index(t.joining, s); at >= 0 {
		t.joining = slices.Delete(t.joining, at, at+1)
		return
	}
	t.leaving = append(t.leaving, s.tag)
	t.tell()
}

// tell makes the sender look at what has changed. It is called with mu held.
func (t *Tail) tell() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// Next waits for the next event, of any subscription. Its error is that of ctx,
// or ErrClosed after Close. While no node can be reached, it waits.
func (t *Tail) Next(ctx context.Context) (TailEvent, error) {
	select {
	case event := <-t.events:
		return event, nil
	default:
	}
	select {
	case event := <-t.events:
		return event, nil
	case <-t.ended:
		return TailEvent{}, t.reason()
	case <-ctx.Done():
		return TailEvent{}, ctx.Err()
	}
}

func (t *Tail) reason() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	return fmt.Errorf("Tail: %w", ErrClosed)
}

// Close ends the tail and all of its subscriptions.
func (t *Tail) Close() error {
	t.cancel()
	<-t.ended
	return nil
}

// Follow yields the messages of one timeline as they come, without an end of its own: it
// goes on until the loop is left, ctx ends, or the client is closed. Messages that were
// trimmed before they could be delivered are left out; a Tail tells of them.
func (c *Client) Follow(ctx context.Context, timeline tidemark.TimelineID, opts ...FollowOption) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		t, err := c.Tail()
		if err != nil {
			yield(Message{}, err)
			return
		}
		defer t.Close()
		if _, err := t.Follow(timeline, opts...); err != nil {
			yield(Message{}, err)
			return
		}
		for {
			event, err := t.Next(ctx)
			if err == nil {
				err = event.Err
			}
			if err != nil {
				yield(Message{}, err)
				return
			}
			for _, message := range event.Messages {
				if !yield(message, nil) {
					return
				}
			}
		}
	}
}
