package client

import (
	"context"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Explanation says what became of one message.
type Explanation struct {
	// Message has its Source, if it is an entry of an inbox, and its Revision.
	Message Message
	// LogIndex is that of the log entry that appended it, or 0 if it is not known: the change
	// feed does not go back to it, or it is an entry of an inbox.
	LogIndex uint64
	// InboxCount counts the inboxes that it was delivered to, and Inboxes are the first of
	// them. They are known of messages that were appended at feature level 8 or later.
	InboxCount uint64
	Inboxes    []tidemark.InboxEntry
	// CursorCount counts the cursors of the timeline, DeliveredCount and ReadCount those
	// whose marks are at the message or past it, and Cursors are the first of DeliveredCount.
	CursorCount, DeliveredCount, ReadCount uint64
	Cursors                                []Cursor
	// Replicas are the members of the cluster.
	Replicas []Replica
	Position tidemark.Position
	// AppliedIndex is the log index that the answering node had applied.
	AppliedIndex uint64
}

// Replica says whether a member has a message.
type Replica struct {
	NodeID, ClientAddress string
	// Reachable says that the member answered; what follows is unset otherwise.
	Reachable    bool
	AppliedIndex uint64
	// HasMessage says that it has applied the log up to the message for certain.
	HasMessage bool
}

// Explain says what became of the message with a SeqID, for a person who looks for it. It
// is linearizable, reads all cursors of the timeline, and asks every member. Errors beside
// the usual ones are tidemark.ErrTimelineNotFound and ErrMessageNotFound.
func (c *Client) Explain(ctx context.Context, timeline tidemark.TimelineID, seq tidemark.SeqID) (Explanation, error) {
	return c.explain(ctx, &pb.ExplainRequest{Timeline: string(timeline), SeqId: uint64(seq)})
}

// ExplainByID is Explain by message id.
func (c *Client) ExplainByID(ctx context.Context, timeline tidemark.TimelineID, id tidemark.MessageID) (Explanation, error) {
	return c.explain(ctx, &pb.ExplainRequest{Timeline: string(timeline), MessageId: string(id)})
}

func (c *Client) explain(ctx context.Context, request *pb.ExplainRequest) (Explanation, error) {
	return do(ctx, c, call{name: "Explain"}, func(ctx context.Context, node *endpoint) (e Explanation, err error) {
		reply, err := node.timelines.Explain(ctx, request)
		if err != nil {
			return e, err
		}
		e = Explanation{
			Message: messageOf(reply.GetMessage()), LogIndex: reply.GetLogIndex(), InboxCount: reply.GetInboxCount(),
			CursorCount: reply.GetCursorCount(), DeliveredCount: reply.GetDeliveredCount(), ReadCount: reply.GetReadCount(),
			AppliedIndex: reply.GetAppliedIndex(),
		}
		for _, entry := range reply.GetInboxes() {
			e.Inboxes = append(e.Inboxes, tidemark.InboxEntry{Inbox: tidemark.TimelineID(entry.GetInbox()), SeqID: tidemark.SeqID(entry.GetSeqId()), Gone: entry.GetGone()})
		}
		for _, cursor := range reply.GetCursors() {
			e.Cursors = append(e.Cursors, cursorOf(cursor))
		}
		for _, replica := range reply.GetReplicas() {
			e.Replicas = append(e.Replicas, Replica{
				NodeID: replica.GetNodeId(), ClientAddress: replica.GetClientAddress(), Reachable: replica.GetReachable(),
				AppliedIndex: replica.GetAppliedIndex(), HasMessage: replica.GetHasMessage(),
			})
		}
		e.Position, err = c.observeToken(reply.GetPosition())
		return e, err
	})
}
