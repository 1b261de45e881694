package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// changeLevel is the feature level that has trims, deletions and attributes.
const changeLevel = 4

// UpdateTimeline implements tidemarkv1.TimelineServiceServer.
func (s *Server) UpdateTimeline(ctx context.Context, req *tidemarkv1.UpdateTimelineRequest) (*tidemarkv1.UpdateTimelineResponse, error) {
	command, err := parseUpdate(req)
	if err != nil {
		return nil, err
	}
	if err := s.needLevel(ctx, changeLevel); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "UpdateTimeline", req,
		func(ctx context.Context, _ *tidemarkv1.UpdateTimelineRequest) (*tidemarkv1.UpdateTimelineResponse, error) {
			result, position, err := propose[fsm.UpdateTimelineResult](ctx, s, command.Encode())
			if err == nil {
				err = result.Err
			}
			if err != nil {
				return nil, err
			}
			timeline := toTimeline(&result.Head)
			timeline.Attributes = result.Attributes.Map()
			return &tidemarkv1.UpdateTimelineResponse{Timeline: timeline, Position: position}, nil
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.UpdateTimelineRequest, ...grpc.CallOption) (*tidemarkv1.UpdateTimelineResponse, error) {
			return c.timelines.UpdateTimeline
		})
}

// parseUpdate refuses what could never be; whether all attributes together fit is known
// where they are.
func parseUpdate(req *tidemarkv1.UpdateTimelineRequest) (c fsm.UpdateTimeline, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return c, err
	}
	c.Timeline = tidemark.TimelineID(req.GetTimeline())
	if err := c.Timeline.Validate("timeline"); err != nil {
		return c, err
	}
	c.Set = tidemark.AttributesFromMap(req.GetSet())
	if err := c.Set.Validate("set"); err != nil {
		return c, err
	}
	c.Remove = slices.Sorted(slices.Values(req.GetRemove()))
	size := 0
	for i, key := range c.Remove {
		_, set := req.GetSet()[key]
		switch {
		case key == "":
			return c, tidemark.Invalid("remove", "must not have an empty key")
		case i > 0 && key == c.Remove[i-1]:
			return c, tidemark.Invalid("remove", "has %q twice", key)
		case set:
			return c, tidemark.Invalid("remove", "has %q, which is in set too", key)
		}
		size += len(key)
	}
	if size > tidemark.MaxAttributesBytes {
		return c, tidemark.Invalid("remove", "has %d bytes; limit is %d bytes", size, tidemark.MaxAttributesBytes)
	}
	return c, nil
}

// Trim implements tidemarkv1.TimelineServiceServer.
func (s *Server) Trim(ctx context.Context, req *tidemarkv1.TrimRequest) (*tidemarkv1.TrimResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	command := fsm.Trim{Timeline: tidemark.TimelineID(req.GetTimeline())}
	if err := command.Timeline.Validate("timeline"); err != nil {
		return nil, err
	}
	var err error
	if command.First, err = parseSeq("first_seq_id", req.GetFirstSeqId()); err != nil {
		return nil, err
	}
	if err := s.needLevel(ctx, changeLevel); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "Trim", req,
		func(ctx context.Context, _ *tidemarkv1.TrimRequest) (*tidemarkv1.TrimResponse, error) {
			if err := s.admission.enterInboxes(ctx, tidemark.MaxTrimMessages); err != nil {
				return nil, err
			}
			defer s.admission.inboxes.Release(tidemark.MaxTrimMessages)
			result, position, err := propose[fsm.TrimResult](ctx, s, command.Encode())
			if err == nil {
				err = result.Err
			}
			if err != nil {
				return nil, err
			}
			return &tidemarkv1.TrimResponse{Timeline: toTimeline(&result.Head), Trimmed: result.Trimmed, Position: position}, nil
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.TrimRequest, ...grpc.CallOption) (*tidemarkv1.TrimResponse, error) {
			return c.timelines.Trim
		})
}

// DeleteTimeline implements tidemarkv1.TimelineServiceServer.
func (s *Server) DeleteTimeline(ctx context.Context, req *tidemarkv1.DeleteTimelineRequest) (*tidemarkv1.DeleteTimelineResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	command := fsm.DeleteTimeline{Timeline: tidemark.TimelineID(req.GetTimeline()), Expected: (*tidemark.SeqID)(req.ExpectedLastSeqId)}
	if err := command.Timeline.Validate("timeline"); err != nil {
		return nil, err
	}
	if err := s.needLevel(ctx, changeLevel); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "DeleteTimeline", req,
		func(ctx context.Context, _ *tidemarkv1.DeleteTimelineRequest) (*tidemarkv1.DeleteTimelineResponse, error) {
			if err := s.admission.enterInboxes(ctx, tidemark.MaxTrimMessages); err != nil {
				return nil, err
			}
			defer s.admission.inboxes.Release(tidemark.MaxTrimMessages)
			result, position, err := propose[fsm.DeleteTimelineResult](ctx, s, command.Encode())
			if err == nil {
				err = result.Err
			}
			if err != nil {
				return nil, err
			}
			return &tidemarkv1.DeleteTimelineResponse{Timeline: toTimeline(&result.Head), Position: position}, nil
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.DeleteTimelineRequest, ...grpc.CallOption) (*tidemarkv1.DeleteTimelineResponse, error) {
			return c.timelines.DeleteTimeline
		})
}
