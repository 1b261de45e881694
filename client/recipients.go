package client

import (
	"context"
	"iter"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// RecipientSet says how a recipient set is after a change.
type RecipientSet struct {
	// Version counts the changes. One that changes nothing leaves it.
	Version uint64
	// Count is the number of inboxes.
	Count    uint64
	Position tidemark.Position
}

// SetRecipients changes the inboxes that an append with FanOut reaches, and creates the
// timeline if it does not exist. A set has at most 10,000 inboxes, and one call changes at
// most 1,000. It can be repeated at will unless ExpectedVersion is given; then a retry
// after an unknown outcome may meet its own change, as a tidemark.VersionConflictError.
func (c *Client) SetRecipients(ctx context.Context, timeline tidemark.TimelineID, change tidemark.RecipientChange) (RecipientSet, error) {
	if err := change.Validate(timeline); err != nil {
		return RecipientSet{}, err
	}
	request := &pb.SetRecipientsRequest{
		Timeline: string(timeline), Replace: change.Replace, Add: names(change.Add), Remove: names(change.Remove), ExpectedVersion: change.ExpectedVersion,
	}
	kind := call{name: "SetRecipients", write: true, repeatable: change.ExpectedVersion == nil}
	return do(ctx, c, kind, func(ctx context.Context, node *endpoint) (RecipientSet, error) {
		reply, err := node.timelines.SetRecipients(ctx, request)
		if err != nil {
			return RecipientSet{}, err
		}
		position, err := c.observeToken(reply.GetPosition())
		return RecipientSet{Version: reply.GetVersion(), Count: reply.GetCount(), Position: position}, err
	})
}

// Recipients lists the inboxes of a timeline's recipient set, in byte order. If the set
// changes meanwhile, what is listed is of both. An error ends the sequence.
func (c *Client) Recipients(ctx context.Context, timeline tidemark.TimelineID, level ...Consistency) iter.Seq2[tidemark.TimelineID, error] {
	return func(yield func(tidemark.TimelineID, error) bool) {
		request := &pb.ListRecipientsRequest{Timeline: string(timeline), PageSize: tidemark.MaxListItems, Consistency: c.levelOf(level)}
		for {
			reply, err := do(ctx, c, call{name: "ListRecipients"}, func(ctx context.Context, node *endpoint) (*pb.ListRecipientsResponse, error) {
				reply, err := node.timelines.ListRecipients(ctx, request)
				if err != nil {
					return nil, err
				}
				_, err = c.observeToken(reply.GetPosition())
				return reply, err
			})
			if err != nil {
				yield("", err)
				return
			}
			for _, inbox := range reply.GetInboxes() {
				if !yield(tidemark.TimelineID(inbox), nil) {
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
