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
