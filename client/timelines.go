package client

import (
	"context"
	"iter"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Timeline returns the head of a timeline, or tidemark.ErrTimelineNotFound. At most
// one level can be given.
func (c *Client) Timeline(ctx context.Context, timeline tidemark.TimelineID, level ...Consistency) (Timeline, error) {
	request := &pb.GetTimelineRequest{Timeline: string(timeline), Consistency: c.levelOf(level)}
	return do(ctx, c, call{name: "GetTimeline"}, func(ctx context.Context, node *endpoint) (Timeline, error) {
		reply, err := node.timelines.GetTimeline(ctx, request)
		if err != nil {
			return Timeline{}, err
		}
		if _, err := c.observeToken(reply.GetPosition()); err != nil {
			return Timeline{}, err
		}
		return timelineOf(reply.GetTimeline()), nil
	})
}

// Timelines lists the timelines whose ids start with prefix ("" for all), in byte
// order of their ids. An error ends the sequence. At most one level can be given.
func (c *Client) Timelines(ctx context.Context, prefix string, level ...Consistency) iter.Seq2[Timeline, error] {
	chosen := c.options.consistency
	if len(level) > 0 {
		chosen = level[len(level)-1]
	}
	return func(yield func(Timeline, error) bool) {
		request := &pb.ListTimelinesRequest{Prefix: prefix, PageSize: tidemark.MaxListItems, Consistency: c.consistency(chosen)}
		for {
			reply, err := c.listTimelines(ctx, request)
			if err != nil {
				yield(Timeline{}, err)
				return
			}
			for _, timeline := range reply.GetTimelines() {
				if !yield(timelineOf(timeline), nil) {
					return
				}
			}
			if request.PageToken = reply.GetNextPageToken(); request.PageToken == "" {
				return
			}
			request.Consistency = following(reply.GetPosition())
		}
	}
}

func (c *Client) listTimelines(ctx context.Context, request *pb.ListTimelinesRequest) (*pb.ListTimelinesResponse, error) {
	return do(ctx, c, call{name: "ListTimelines"}, func(ctx context.Context, node *endpoint) (*pb.ListTimelinesResponse, error) {
		reply, err := node.timelines.ListTimelines(ctx, request)
		if err != nil {
			return nil, err
		}
		_, err = c.observeToken(reply.GetPosition())
		return reply, err
	})
}

// CountTimelines counts what Timelines lists.
func (c *Client) CountTimelines(ctx context.Context, prefix string, level ...Consistency) (uint64, error) {
	request := &pb.ListTimelinesRequest{Prefix: prefix, CountOnly: true, Consistency: c.levelOf(level)}
	reply, err := c.listTimelines(ctx, request)
	return reply.GetCount(), err
}

// UpdateTimeline sets and removes attributes of a timeline, and creates it if it does not
// exist. No key may be in both. It can be repeated at will.
func (c *Client) UpdateTimeline(ctx context.Context, timeline tidemark.TimelineID, set map[string]string, remove ...string) (Timeline, error) {
	request := &pb.UpdateTimelineRequest{Timeline: string(timeline), Set: set, Remove: remove}
	return do(ctx, c, call{name: "UpdateTimeline", write: true, repeatable: true}, func(ctx context.Context, node *endpoint) (Timeline, error) {
		reply, err := node.timelines.UpdateTimeline(ctx, request)
		if err != nil {
			return Timeline{}, err
		}
		_, err = c.observeToken(reply.GetPosition())
		return timelineOf(reply.GetTimeline()), err
	})
}

// Trim takes away the messages of a timeline before first, which is at most one more than
// the last SeqID, in as many calls as it takes. It can be repeated at will.
func (c *Client) Trim(ctx context.Context, timeline tidemark.TimelineID, first tidemark.SeqID) (Timeline, error) {
	request := &pb.TrimRequest{Timeline: string(timeline), FirstSeqId: uint64(first)}
	for {
		trimmed, err := do(ctx, c, call{name: "Trim", write: true, repeatable: true}, func(ctx context.Context, node *endpoint) (Timeline, error) {
			reply, err := node.timelines.Trim(ctx, request)
			if err != nil {
				return Timeline{}, err
			}
			_, err = c.observeToken(reply.GetPosition())
			return timelineOf(reply.GetTimeline()), err
		})
		if err != nil || trimmed.First >= first {
			return trimmed, err
		}
	}
}

// DeleteTimeline takes away all of a timeline, and returns what it was. Whoever appends to
// it later makes it anew, and goes on behind its last SeqID. With an expected last SeqID it
// fails with a tidemark.SequenceConflictError unless that is it. After an unknown outcome a
// retry may find the timeline gone (tidemark.ErrTimelineNotFound), or made anew: give the
// expected SeqID.
func (c *Client) DeleteTimeline(ctx context.Context, timeline tidemark.TimelineID, expected ...tidemark.SeqID) (Timeline, error) {
	request := &pb.DeleteTimelineRequest{Timeline: string(timeline)}
	if len(expected) > 0 {
		request.ExpectedLastSeqId = (*uint64)(&expected[0])
	}
	return do(ctx, c, call{name: "DeleteTimeline", write: true}, func(ctx context.Context, node *endpoint) (Timeline, error) {
		reply, err := node.timelines.DeleteTimeline(ctx, request)
		if err != nil {
			return Timeline{}, err
		}
		_, err = c.observeToken(reply.GetPosition())
		return timelineOf(reply.GetTimeline()), err
	})
}
