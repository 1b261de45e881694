package rpc

import (
	"context"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// revisionLevel is the feature level that has revisions.
const revisionLevel = 8

// Revise implements tidemarkv1.TimelineServiceServer.
func (s *Server) Revise(ctx context.Context, req *tidemarkv1.ReviseRequest) (*tidemarkv1.ReviseResponse, error) {
	command, err := parseRevise(req)
	if err != nil {
		return nil, err
	}
	if err := s.needLevel(ctx, revisionLevel); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "Revise", req,
		func(ctx context.Context, _ *tidemarkv1.ReviseRequest) (*tidemarkv1.ReviseResponse, error) {
			return s.revise(ctx, &command)
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.ReviseRequest, ...grpc.CallOption) (*tidemarkv1.ReviseResponse, error) {
			return c.timelines.Revise
		})
}

// revise waits for room among the deliveries in flight: the revision reaches all inboxes
// that the message was delivered to.
func (s *Server) revise(ctx context.Context, command *fsm.Revise) (*tidemarkv1.ReviseResponse, error) {
	count, err := s.Store.CountDeliveries(command.Draft.Timeline, command.SeqID)
	if err != nil {
		return nil, err
	}
	weight := min(int64(count), maxInboxesInFlight)
	if err := s.admission.enterInboxes(ctx, weight); err != nil {
		return nil, err
	}
	defer s.admission.inboxes.Release(weight)
	result, position, err := propose[fsm.ReviseResult](ctx, s, command.Encode())
	if err == nil {
		err = result.Err
	}
	if err != nil {
		return nil, err
	}
	return &tidemarkv1.ReviseResponse{
		Revision: result.Revision, SeqId: uint64(result.SeqID), ServerTime: toTimestamp(result.ServerTime), Digest: result.Digest[:],
		Duplicate: result.Duplicate, Inboxes: uint32(result.Inboxes), Position: position,
	}, nil
}

func parseRevise(req *tidemarkv1.ReviseRequest) (c fsm.Revise, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return c, err
	}
	content := req.GetContent()
	c = fsm.Revise{
		Draft: tidemark.Draft{
			Timeline:   tidemark.TimelineID(req.GetTimeline()),
			ID:         tidemark.MessageID(req.GetMessageId()),
			Sender:     req.GetSender(),
			Type:       content.GetType(),
			Payload:    content.GetPayload(),
			Attributes: tidemark.AttributesFromMap(content.GetAttributes()),
			ClientTime: tidemark.NoTime,
		},
		SeqID: tidemark.SeqID(req.GetSeqId()), Expected: req.ExpectedRevision, Redact: req.GetRedact(),
	}
	if err := c.Draft.Validate(""); err != nil {
		return c, err
	}
	if c.SeqID == 0 {
		return c, tidemark.Invalid("seq_id", "must not be 0")
	}
	switch change := req.GetChange().(type) {
	case nil:
		return c, tidemark.Invalid("change", "must be given: content or redact")
	case *tidemarkv1.ReviseRequest_Content:
		if content == nil {
			return c, tidemark.Invalid("content", "must be given")
		}
	case *tidemarkv1.ReviseRequest_Redact:
		if !change.Redact {
			return c, tidemark.Invalid("redact", "must be true if it is given")
		}
	}
	return c, nil
}
