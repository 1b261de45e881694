package rpc

import (
	"context"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// GetTimeline implements tidemarkv1.TimelineServiceServer.
func (s *Server) GetTimeline(ctx context.Context, req *tidemarkv1.GetTimelineRequest) (*tidemarkv1.GetTimelineResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	timeline := tidemark.TimelineID(req.GetTimeline())
	if err := timeline.Validate("timeline"); err != nil {
		return nil, err
	}
	level, err := parseLevel(req.GetConsistency())
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, level); err != nil {
		return nil, err
	}
	described, applied, err := s.Store.Describe(timeline)
	if err != nil {
		return nil, err
	}
	return &tidemarkv1.GetTimelineResponse{Timeline: toDescribed(&described), Position: level.seen(applied), AppliedIndex: applied}, nil
}

// ListTimelines implements tidemarkv1.TimelineServiceServer.
func (s *Server) ListTimelines(ctx context.Context, req *tidemarkv1.ListTimelinesRequest) (*tidemarkv1.ListTimelinesResponse, error) {
	query, err := parseListTimelines(req)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, query.level); err != nil {
		return nil, err
	}
	if query.countOnly {
		count, applied, err := s.Store.CountTimelines(string(query.prefix))
		return &tidemarkv1.ListTimelinesResponse{Count: count, Position: query.level.seen(applied), AppliedIndex: applied}, err
	}
	page, err := s.Store.Timelines(string(query.prefix), query.after, query.limit)
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ListTimelinesResponse{
		Timelines: make([]*tidemarkv1.Timeline, len(page.Timelines)), Position: query.level.seen(page.Applied), AppliedIndex: page.Applied,
	}
	for i := range page.Timelines {
		reply.Timelines[i] = toDescribed(&page.Timelines[i])
	}
	if n := len(page.Timelines); page.More && n > 0 {
		reply.NextPageToken = pageToken(query.name(), []byte(page.Timelines[n-1].Head.Timeline))
	}
	return reply, nil
}

func toDescribed(d *tidemark.Described) *tidemarkv1.Timeline {
	timeline := toTimeline(&d.Head)
	timeline.Attributes = d.Attributes.Map()
	return timeline
}

// timelineQuery is a validated ListTimelines.
type timelineQuery struct {
	prefix, after tidemark.TimelineID
	countOnly     bool
	listing
}

// name is what page tokens of the listing are bound to.
func (q *timelineQuery) name() string { return "timelines " + string(q.prefix) }

func parseListTimelines(req *tidemarkv1.ListTimelinesRequest) (q timelineQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	q.prefix = tidemark.TimelineID(req.GetPrefix())
	if q.prefix != "" {
		if err := q.prefix.Validate("prefix"); err != nil {
			return q, err
		}
	}
	if q.countOnly = req.GetCountOnly(); q.countOnly && req.GetPageToken() != "" {
		return q, tidemark.Invalid("page_token", "must be empty with count_only, which has one page")
	}
	var after []byte
	if q.listing, after, err = parseListing(req, q.name(), "timelines"); err != nil || after == nil {
		return q, err
	}
	q.after = tidemark.TimelineID(after)
	return q, q.after.Validate("page_token")
}
