package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// fanOutLevel is the feature level that has recipients and fan-out.
const fanOutLevel = 3

// admitFanOut refuses appends that a member could not understand, or that deliver to too
// many inboxes in one call, and waits for room among the deliveries in flight. What it
// returns is to be released when the appends have their outcome.
func (s *Server) admitFanOut(ctx context.Context, items ...appendItem) (inboxes int64, err error) {
	if !slices.ContainsFunc(items, func(item appendItem) bool { return item.needsFanOut() }) {
		return 0, nil
	}
	if err := s.needLevel(ctx, fanOutLevel); err != nil {
		return 0, err
	}
	for i := range items {
		item := &items[i]
		inboxes += int64(len(item.fanOut.Inboxes))
		if !item.fanOut.Recipients {
			continue
		}
		count, err := s.Store.CountRecipients(item.draft.Timeline)
		if err != nil {
			return 0, err
		}
		inboxes += int64(count)
	}
	if inboxes > maxInboxesInFlight {
		return 0, tidemark.Invalid("fan_out", "of all items reaches %d inboxes; limit is %d inboxes in one call", inboxes, maxInboxesInFlight)
	}
	if err := s.admission.enterInboxes(ctx, inboxes); err != nil {
		return 0, err
	}
	return inboxes, nil
}

// SetRecipients implements tidemarkv1.TimelineServiceServer.
func (s *Server) SetRecipients(ctx context.Context, req *tidemarkv1.SetRecipientsRequest) (*tidemarkv1.SetRecipientsResponse, error) {
	command, err := parseSetRecipients(req)
	if err != nil {
		return nil, err
	}
	if err := s.needLevel(ctx, fanOutLevel); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "SetRecipients", req,
		func(ctx context.Context, _ *tidemarkv1.SetRecipientsRequest) (*tidemarkv1.SetRecipientsResponse, error) {
			return s.setRecipients(ctx, &command)
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.SetRecipientsRequest, ...grpc.CallOption) (*tidemarkv1.SetRecipientsResponse, error) {
			return c.timelines.SetRecipients
		})
}

func (s *Server) setRecipients(ctx context.Context, command *fsm.SetRecipients) (*tidemarkv1.SetRecipientsResponse, error) {
	count, err := s.Store.CountRecipients(command.Timeline)
	if err != nil {
		return nil, err
	}
	// The whole set is read and compared when the change is applied.
	weight := int64(count) + int64(len(command.Change.Add)+len(command.Change.Remove))
	if err := s.admission.enterInboxes(ctx, weight); err != nil {
		return nil, err
	}
	defer s.admission.inboxes.Release(weight)
	result, position, err := propose[fsm.SetRecipientsResult](ctx, s, command.Encode())
	if err == nil {
		err = result.Err
	}
	if err != nil {
		return nil, err
	}
	return &tidemarkv1.SetRecipientsResponse{Version: result.Version, Count: result.Count, Position: position}, nil
}

func parseSetRecipients(req *tidemarkv1.SetRecipientsRequest) (c fsm.SetRecipients, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return c, err
	}
	c.Timeline = tidemark.TimelineID(req.GetTimeline())
	if err := c.Timeline.Validate("timeline"); err != nil {
		return c, err
	}
	c.Change = tidemark.RecipientChange{
		Replace: req.GetReplace(), Add: timelineIDs(req.GetAdd()), Remove: timelineIDs(req.GetRemove()), ExpectedVersion: req.ExpectedVersion,
	}
	return c, c.Change.Validate(c.Timeline)
}

func timelineIDs(names []string) []tidemark.TimelineID {
	if len(names) == 0 {
		return nil
	}
	ids := make([]tidemark.TimelineID, len(names))
	for i, name := range names {
		ids[i] = tidemark.TimelineID(name)
	}
	return ids
}

// ListRecipients implements tidemarkv1.TimelineServiceServer.
func (s *Server) ListRecipients(ctx context.Context, req *tidemarkv1.ListRecipientsRequest) (*tidemarkv1.ListRecipientsResponse, error) {
	query, err := parseListRecipients(req)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, query.level); err != nil {
		return nil, err
	}
	page, err := s.Store.Recipients(query.timeline, query.after, query.limit)
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ListRecipientsResponse{
		Inboxes: make([]string, len(page.Inboxes)), Version: page.Version, Count: page.Count,
		Position: query.level.seen(page.Applied), AppliedIndex: page.Applied,
	}
	for i, inbox := range page.Inboxes {
		reply.Inboxes[i] = string(inbox)
	}
	if n := len(page.Inboxes); page.More && n > 0 {
		reply.NextPageToken = pageToken(query.name(), []byte(page.Inboxes[n-1]))
	}
	return reply, nil
}

// recipientQuery is a validated ListRecipients.
type recipientQuery struct {
	timeline, after tidemark.TimelineID
	listing
}

// name is what page tokens of the listing are bound to.
func (q *recipientQuery) name() string { return "recipients of " + string(q.timeline) }

func parseListRecipients(req *tidemarkv1.ListRecipientsRequest) (q recipientQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	q.timeline = tidemark.TimelineID(req.GetTimeline())
	if err := q.timeline.Validate("timeline"); err != nil {
		return q, err
	}
	var after []byte
	if q.listing, after, err = parseListing(req, q.name(), "inboxes"); err != nil || after == nil {
		return q, err
	}
	q.after = tidemark.TimelineID(after)
	return q, q.after.Validate("page_token")
}
