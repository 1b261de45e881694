package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// Append implements tidemarkv1.TimelineServiceServer.
func (s *Server) Append(ctx context.Context, req *tidemarkv1.AppendRequest) (*tidemarkv1.AppendResponse, error) {
	item, err := parseAppend(req)
	if err != nil {
		return nil, err
	}
	if item.needsFanOut() {
		if err := s.needLevel(ctx, fanOutLevel); err != nil {
			return nil, err
		}
	}
	return onLeader(ctx, s, "Append", req,
		func(ctx context.Context, _ *tidemarkv1.AppendRequest) (*tidemarkv1.AppendResponse, error) {
			return s.append(ctx, &item)
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.AppendRequest, ...grpc.CallOption) (*tidemarkv1.AppendResponse, error) {
			return c.timelines.Append
		})
}

func (s *Server) append(ctx context.Context, item *appendItem) (*tidemarkv1.AppendResponse, error) {
	if err := beforeProposing(ctx); err != nil {
		return nil, err
	}
	inboxes, err := s.admitFanOut(ctx, *item)
	if err != nil {
		return nil, err
	}
	defer s.admission.inboxes.Release(inboxes)
	start := time.Now()
	proposal, err := s.Node.Propose(ctx, item.command())
	return s.appended(proposal, err, start)
}

// command encodes the item. It is the one copy that is made of the payload here.
func (item *appendItem) command() []byte {
	return item.append().Encode()
}

func (item *appendItem) append() fsm.Append {
	return fsm.Append{Draft: item.draft, Expected: item.expected, FanOut: item.fanOut, AdvanceSender: item.advanceSender}
}

// appended is the reply to an append that was proposed at start.
func (s *Server) appended(proposal tidemark.Proposal, err error, start time.Time) (*tidemarkv1.AppendResponse, error) {
	if err != nil {
		return nil, err
	}
	result, err := resultOf[fsm.AppendResult](proposal)
	if err == nil {
		err = result.Err
	}
	if err != nil {
		return nil, err
	}
	s.metrics.outcome(result.Duplicate, start)
	return toAppendResponse(&result, proposal.Position.Token()), nil
}
