package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// appendServer is the server's side of one AppendStream.
type appendServer = grpc.BidiStreamingServer[tidemarkv1.AppendStreamRequest, tidemarkv1.AppendStreamResponse]

// AppendStream implements tidemarkv1.TimelineServiceServer.
func (s *Server) AppendStream(stream appendServer) error {
	if s.Node.IsLeader() {
		return newAppendStream(s, stream).run()
	}
	connection, err := s.toLeader(stream.Context())
	if err != nil {
		return err
	}
	defer s.leader.release(connection)
	s.metrics.forwarded.WithLabelValues("AppendStream").Inc()
	return s.relayAppends(stream, connection)
}

// appendStream runs one AppendStream on the leader. One goroutine receives,
// validates and proposes; the handler's own waits for the outcomes in the order of
// the proposals, which is that of the log, and answers. The queue between them and
// the semaphore bound what is in flight: when they are full the client is not read,
// and HTTP/2 holds it back.
//
// What follows an append that has to be retried must not overtake it: the pipeline
// sees to that, and the stream ends at the first such append.
type appendStream struct {
	server   *Server
	stream   appendServer
	ctx      context.Context
	pipeline Pipeline
	bytes    *semaphore.Weighted
	queue    chan streamItem
}

// streamItem is one request on its way to its answer.
type streamItem struct {
	tag   uint64
	size  int64
	start time.Time
	// pending is the proposed append, or nil if err says why there is none.
	pending Pending
	err     error
	// last says that the stream ends here, with err.
	last bool
}

func newAppendStream(s *Server, stream appendServer) *appendStream {
	return &appendStream{
		server: s, stream: stream, ctx: stream.Context(), pipeline: s.Node.NewPipeline(),
		bytes: semaphore.NewWeighted(s.Limits.StreamBytes),
		queue: make(chan streamItem, s.Limits.StreamItems),
	}
}

func (a *appendStream) run() error {
	go a.receive()
	err := a.answer()
	// The receiver notices the end of the handler, and closes the queue.
	go func() {
		for item := range a.queue {
			a.release(item)
		}
	}()
	return err
}

// receive fills the queue until the client has sent all, or the stream ends.
func (a *appendStream) receive() {
	defer close(a.queue)
	defer func() {
		if fault := recover(); fault != nil {
			a.enqueue(streamItem{last: true, err: a.server.recovered("AppendStream", fault)})
		}
	}()
	for {
		req, err := a.stream.Recv()
		if err == io.EOF {
			return
		}
		item := streamItem{last: true}
		if err != nil {
			item.err = goneAway(a.ctx, err)
		} else {
			item = a.take(req)
		}
		if !a.enqueue(item) || item.last {
			return
		}
	}
}

// goneAway explains why nothing can be received: mostly because nobody is there.
func goneAway(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// enqueue hands the item to the answering goroutine, or drops it if that is gone.
func (a *appendStream) enqueue(item streamItem) bool {
	select {
	case a.queue <- item:
		return true
	case <-a.ctx.Done():
		a.release(item)
		return false
	}
}

// take waits for room, and proposes the append if it is valid.
func (a *appendStream) take(req *tidemarkv1.AppendStreamRequest) streamItem {
	item := streamItem{tag: req.GetTag()}
	size := int64(proto.Size(req))
	if err := a.acquire(size); err != nil {
		item.err, item.last = err, true
		return item
	}
	item.size, item.start = size, time.Now()
	if isUndecodable(req) { // nobody knows for which tag
		item.err, item.last = errUndecodable, true
		return item
	}
	var parsed appendItem
	if raw := req.ProtoReflect().GetUnknown(); len(raw) > 0 {
		item.err = refuseUnknownFields(req)
	} else if parsed, item.err = parseAppend(req.GetAppend()); item.err != nil {
		item.err = within("append", item.err)
	}
	if item.err != nil {
		return item
	}
	inboxes, err := a.server.admitFanOut(a.ctx, parsed)
	if err != nil {
		item.err, item.last = err, !isFinal(err)
		return item
	}
	if a.server.isStopping() {
		a.server.admission.inboxes.Release(inboxes)
		item.err, item.last = tidemark.ErrStopping, true
		return item
	}
	item.pending = a.pipeline.ProposeAsync(parsed.command())
	if inboxes > 0 {
		// Not with the reply, for which a client may not be there.
		go func(pending Pending) {
			<-pending.Done()
			a.server.admission.inboxes.Release(inboxes)
		}(item.pending)
	}
	return item
}

func (a *appendStream) acquire(size int64) error {
	limit := a.server.Limits.StreamBytes
	if err := a.bytes.Acquire(a.ctx, min(size, limit)); err != nil {
		return err
	}
	if err := a.server.counted(a.server.admission.waitBytes(a.ctx, size)); err != nil {
		a.bytes.Release(min(size, limit))
		return err
	}
	return nil
}

func (a *appendStream) release(item streamItem) {
	if item.size > 0 {
		a.server.admission.releaseBytes(item.size)
		a.bytes.Release(min(item.size, a.server.Limits.StreamBytes))
	}
}

// answer replies to each item of the queue until the client has sent all and has
// all answers (nil), or the stream has to end.
func (a *appendStream) answer() error {
	patience := time.NewTimer(a.server.Limits.CallTimeout)
	defer patience.Stop()
	stopping := a.server.stopping
	for {
		select {
		case item, more := <-a.queue:
			if !more {
				return nil
			}
			if err := a.reply(item, patience); err != nil {
				return err
			}
		case <-stopping:
			// What is queued is answered; the receiver, which may be waiting for a
			// client that sends nothing, adds at most an item that says the same.
			for len(a.queue) > 0 {
				if err := a.reply(<-a.queue, patience); err != nil {
					return err
				}
			}
			return tidemark.ErrStopping
		}
	}
}

// reply answers one item; an error ends the stream.
func (a *appendStream) reply(item streamItem, patience *time.Timer) error {
	defer a.release(item)
	reply := &tidemarkv1.AppendStreamResponse{Tag: item.tag}
	response, err := (*tidemarkv1.AppendResponse)(nil), item.err
	if item.pending != nil {
		response, err = a.outcome(item, patience)
	}
	switch {
	case err == nil:
		reply.Outcome = &tidemarkv1.AppendStreamResponse_Response{Response: response}
	case item.last || !isFinal(err):
		return err
	default:
		reply.Outcome = &tidemarkv1.AppendStreamResponse_Error{Error: toItem(err)}
	}
	if err := a.stream.Send(reply); err != nil {
		return errors.Join(context.Canceled, err)
	}
	return nil
}

// outcome waits for a proposed append, at most CallTimeout after it was proposed.
func (a *appendStream) outcome(item streamItem, patience *time.Timer) (*tidemarkv1.AppendResponse, error) {
	select {
	case <-item.pending.Done():
	default:
		patience.Reset(time.Until(item.start.Add(a.server.Limits.CallTimeout)))
		select {
		case <-item.pending.Done():
		case <-patience.C:
			return nil, fmt.Errorf("%w: no answer within %v", tidemark.ErrOutcomeUnknown, a.server.Limits.CallTimeout)
		case <-a.ctx.Done():
			return nil, fmt.Errorf("%w: %w", tidemark.ErrOutcomeUnknown, a.ctx.Err())
		}
	}
	proposal, err := item.pending.Wait(context.Background())
	return a.server.appended(proposal, err, item.start)
}
