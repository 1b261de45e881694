package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

const (
	// tailPageMessages and tailPageBytes bound one turn of one subscription, so that
	// one with much to catch up does not hold up the others.
	tailPageMessages = 100
	tailPageBytes    = 64 << 10
	// tailResponseBytes and tailResponseEvents bound one response, and so what is held
	// for a client that does not read.
	tailResponseBytes  = 256 << 10
	tailResponseEvents = 1024
	// maxTailNotes bounds the answers to requests that wait to be sent. At the bound
	// the stream is not read further.
	maxTailNotes = 4 * tidemark.MaxTailRequestItems
)

// tailServer is the server's side of one Tail.
type tailServer = grpc.BidiStreamingServer[tidemarkv1.TailRequest, tidemarkv1.TailResponse]

// Tail implements tidemarkv1.TimelineServiceServer.
func (s *Server) Tail(stream tailServer) error {
	if s.Tails == nil {
		return s.UnimplementedTimelineServiceServer.Tail(stream)
	}
	t := newTailStream(s, stream)
	defer t.close()
	return t.run()
}

// tailStream runs one Tail. One goroutine receives and keeps the subscriptions; the
// handler's own sends. It takes those that may have something to send in turn, and
// reads each one's next page from the store at its own position. So nothing is kept
// for a client that is slow but one response and, for each subscription, that it
// has to be looked at.
type tailStream struct {
	server *Server
	stream tailServer
	ctx    context.Context
	// wake makes the sender look again, and room the receiver.
	wake, room chan struct{}
	// received gets the end of what the client sends: nil, or why nothing comes.
	received chan error
	// seen is the applied index of the newest page. It belongs to the sender.
	seen uint64

	// mu guards what follows.
	mu            sync.Mutex
	subscriptions map[uint64]*subscription
	queue         readyQueue
	// notes are answers to requests.
	notes []*tidemarkv1.TailEvent
	// unpaid are subscriptions that have something to send, and no credit for it.
	unpaid []*subscription
	// metered says that the client gives credit, and credit how much is left.
	metered bool
	credit  uint64
	// first is set until the first request was taken.
	first bool
}

func newTailStream(s *Server, stream tailServer) *tailStream {
	return &tailStream{
		server: s, stream: stream, ctx: stream.Context(), first: true,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), received: make(chan error, 1),
		subscriptions: make(map[uint64]*subscription),
	}
}

// close ends all subscriptions. The receiver may still be adding some, which it then
// takes back itself.
func (t *tailStream) close() {
	t.mu.Lock()
	left := t.subscriptions
	t.subscriptions = nil
	t.mu.Unlock()
	for _, s := range left {
		t.server.Tails.leave(s)
	}
}

func (t *tailStream) run() error {
	go t.receive()
	heartbeat := time.NewTicker(t.server.Limits.TailHeartbeat)
	defer heartbeat.Stop()
	// A client that is only heard from at the end of its subscriptions has sent all.
	received := t.received
	for {
		response, err := t.gather()
		if err != nil {
			return err
		}
		beat := false
		if response.count == 0 {
			select {
			case <-t.wake:
				continue
			case <-heartbeat.C:
				beat = true
			case err := <-received:
				if err != nil || !t.following() {
					return err
				}
				received = nil
				continue
			case <-t.server.stopping:
				return tidemark.ErrStopping
			case <-t.ctx.Done():
				return t.ctx.Err()
			}
		}
		t.stamp(response, beat)
		if err := t.stream.SendMsg(response); err != nil {
			return errors.Join(context.Canceled, err)
		}
		if t.server.isStopping() {
			return tidemark.ErrStopping
		}
	}
}

// stamp fills in what each response says of the node. A heartbeat shows how far the
// node is; a position never goes back.
func (t *tailStream) stamp(response *tailBatch, heartbeat bool) {
	response.AppliedIndex = t.server.Store.Applied().Index
	if heartbeat && t.idle() {
		t.seen = max(t.seen, response.AppliedIndex)
	}
	if t.seen > 0 {
		response.Position = tidemark.Position(t.seen).Token()
	}
	response.StalenessMillis = staleness(t.server.Node.Staleness()).millis()
}

// receive takes requests until the client has sent all, or the stream ends.
func (t *tailStream) receive() {
	defer func() {
		if fault := recover(); fault != nil {
			t.received <- t.server.recovered("Tail", fault)
		}
	}()
	for {
		request, err := t.stream.Recv()
		switch {
		case err == io.EOF:
			t.received <- nil
			return
		case err != nil:
			t.received <- goneAway(t.ctx, err)
			return
		}
		if err := t.take(request); err != nil {
			t.received <- err
			return
		}
	}
}

// take does what a request asks for. An error ends the stream.
func (t *tailStream) take(request *tidemarkv1.TailRequest) error {
	if err := validateTailRequest(request); err != nil {
		return err
	}
	if !t.waitForRoom() {
		return t.ctx.Err()
	}
	t.mu.Lock()
	if t.first {
		t.metered, t.first = request.GetCredit() > 0, false
	}
	if t.metered && request.GetCredit() > 0 {
		t.credit += min(request.GetCredit(), maxCredit-t.credit)
		for _, s := range t.unpaid {
			t.queue.push(s)
		}
		t.unpaid = nil
	}
	t.mu.Unlock()
	for _, tag := range request.GetUnsubscribe() {
		t.note(t.unsubscribe(tag))
	}
	for _, item := range request.GetSubscribe() {
		if err := t.subscribe(item); err != nil {
			t.note(&tidemarkv1.TailEvent{Tag: item.GetTag(), Event: &tidemarkv1.TailEvent_Error{Error: toItem(err)}})
		}
	}
	signal(t.wake)
	return nil
}

// waitForRoom waits until few answers are unsent: a client that only asks and never
// reads is not read either.
func (t *tailStream) waitForRoom() bool {
	for {
		t.mu.Lock()
		full := len(t.notes) > maxTailNotes
		t.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-t.room:
		case <-t.ctx.Done():
			return false
		}
	}
}

func (t *tailStream) note(event *tidemarkv1.TailEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, event)
}

func (t *tailStream) subscribe(item *tidemarkv1.TailSubscription) error {
	s, timeline, err := parseTailSubscription(item)
	if err != nil {
		return err
	}
	s.stream = t
	t.mu.Lock()
	err = t.canSubscribe(s.tag)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	most := t.server.Limits.MaxTailSubscriptions
	if !t.server.Tails.enter(s, timeline, most) {
		return t.server.counted(&refusal{"tail subscriptions", most})
	}
	// Only the receiver adds, so the tag is still free. The stream may have ended.
	t.mu.Lock()
	closed := t.subscriptions == nil
	if !closed {
		t.subscriptions[s.tag] = s
	}
	t.mu.Unlock()
	if closed {
		t.server.Tails.leave(s)
		return nil
	}
	t.ready(s)
	return nil
}

// canSubscribe is called with mu held.
func (t *tailStream) canSubscribe(tag uint64) error {
	if t.subscriptions[tag] != nil {
		return tidemark.Invalid("tag", "is %d, which another subscription of the stream has", tag)
	}
	if len(t.subscriptions) >= tidemark.MaxTailSubscriptions {
		return tidemark.Invalid("subscribe", "would be more than %d subscriptions on one stream", tidemark.MaxTailSubscriptions)
	}
	return nil
}

// unsubscribe ends a subscription, of which nothing is sent after the event that
// unsubscribe returns.
func (t *tailStream) unsubscribe(tag uint64) *tidemarkv1.TailEvent {
	t.mu.Lock()
	s := t.subscriptions[tag]
	if s != nil {
		delete(t.subscriptions, tag)
		s.ended = true
	}
	t.mu.Unlock()
	if s == nil {
		return &tidemarkv1.TailEvent{Tag: tag, Event: &tidemarkv1.TailEvent_Error{
			Error: toItem(tidemark.Invalid("unsubscribe", "is %d, which no subscription of the stream has", tag)),
		}}
	}
	t.server.Tails.leave(s)
	return &tidemarkv1.TailEvent{Tag: tag, Event: &tidemarkv1.TailEvent_Unsubscribed{Unsubscribed: &tidemarkv1.TailUnsubscribed{}}}
}

// ready puts a subscription in the queue, unless it is there.
func (t *tailStream) ready(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.queued || s.ended {
		return
	}
	s.queued = true
	t.queue.push(s)
	signal(t.wake)
}

// following reports whether there are subscriptions.
func (t *tailStream) following() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subscriptions) > 0
}

// idle reports whether nothing waits to be sent.
func (t *tailStream) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.queue.queues {
		if t.queue.queues[p].len() > 0 {
			return false
		}
	}
	return true
}
