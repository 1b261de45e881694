package rpc

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// relay passes one AppendStream on to the leader, message by message; it holds one
// in each direction. The leader validates, orders and bounds.
type relay struct {
	server     *Server
	downstream appendServer
	upstream   grpc.BidiStreamingClient[tidemarkv1.AppendStreamRequest, tidemarkv1.AppendStreamResponse]

	// mu guards what follows, and keeps Send and CloseSend of upstream apart.
	mu sync.Mutex
	// sent says that an append may have reached the leader.
	sent bool
	// closed says that nothing more is sent; the stream then ends with end once the
	// leader has answered what it has.
	closed bool
	end    error
}

func (s *Server) relayAppends(stream appendServer, to *leaderConnection) error {
	ctx, cancel := context.WithCancel(s.marked(stream.Context()))
	defer cancel()
	upstream, err := to.timelines.AppendStream(ctx)
	if err != nil {
		return relayError(ctx, err, false)
	}
	r := &relay{server: s, downstream: stream, upstream: upstream}
	go r.up()
	go func() {
		select {
		case <-s.stopping:
			r.finish(tidemark.ErrStopping)
		case <-ctx.Done():
		}
	}()
	return r.down(ctx)
}

// up carries requests until the client has sent all or something fails. It outlives
// the handler only until that has returned, which ends Recv.
func (r *relay) up() {
	defer func() {
		if fault := recover(); fault != nil {
			r.finish(r.server.recovered("AppendStream", fault))
		}
	}()
	for {
		req, err := r.downstream.Recv()
		switch {
		case err == io.EOF:
			r.finish(nil)
			return
		case err != nil:
			r.finish(goneAway(r.downstream.Context(), err))
			return
		case !r.send(req):
			return
		}
	}
}

// send reports whether the next request can follow. Why not, down learns from the leader.
func (r *relay) send(req *tidemarkv1.AppendStreamRequest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.sent = true
	return r.upstream.Send(req) == nil
}

// finish ends the upward direction; the first call counts.
func (r *relay) finish(end error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed, r.end = true, end
	r.upstream.CloseSend() // its error is seen by down
}

// down carries replies, and returns how the stream ends.
func (r *relay) down(ctx context.Context) error {
	for {
		reply, err := r.upstream.Recv()
		if err != nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			if err == io.EOF {
				return r.end
			}
			return relayError(ctx, err, r.sent)
		}
		if err := r.downstream.Send(reply); err != nil {
			return context.Canceled // nobody is there to be told
		}
	}
}
