package client

import (
	"context"
	"time"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Content is what an edit gives to a message, as a whole.
type Content struct {
	// Type is at most 64 bytes of UTF-8.
	Type string
	// Payload is at most 256 KiB of any value.
	Payload []byte
	// Attributes are at most 4 KiB, all keys and values together.
	Attributes map[string]string
}

// ReviseResult says what a revision came to.
type ReviseResult struct {
	// Revision is the one that was made, from 1.
	Revision uint64
	// ID, SeqID, ServerTime and Digest are those of its entry in the timeline.
	ID         tidemark.MessageID
	SeqID      tidemark.SeqID
	ServerTime time.Time
	Digest     tidemark.Digest
	// Duplicate says that the same revision was made before, by an earlier call or attempt.
	// The fields above are those of the first time.
	Duplicate bool
	// Inboxes is how many inboxes got a reference to the entry; 0 for a duplicate.
	Inboxes int
	// Position is where a read with SessionAt sees the revision.
	Position tidemark.Position
}

// ReviseOption changes one Revise or Redact.
type ReviseOption func(*pb.ReviseRequest)

// RevisionID names the revision, so that it can be repeated by another process: at most one
// message or revision of the timeline has the id. Without it a UUIDv7 is made.
func RevisionID(id tidemark.MessageID) ReviseOption {
	return func(r *pb.ReviseRequest) { r.MessageId = string(id) }
}

// RevisedBy says who revises. The message keeps its own sender.
func RevisedBy(sender string) ReviseOption { return func(r *pb.ReviseRequest) { r.Sender = sender } }

// ExpectRevision lets the call fail with a tidemark.RevisionConflictError unless number is
// the message's revision; 0 is one that was never revised.
func ExpectRevision(number uint64) ReviseOption {
	return func(r *pb.ReviseRequest) { r.ExpectedRevision = &number }
}

// Revise edits a message: it keeps its SeqID, sender, id, times and digest, and gets the
// content. A revision entry at the end of the timeline, and of each inbox that the message
// was delivered to, tells readers of it. It is exactly-once, also through failovers: the
// error after ctx has ended is tidemark.ErrOutcomeUnknown if the revision may have been
// made. Other errors are tidemark.ErrMessageNotFound, ErrRevisionConflict, ErrRedacted,
// ErrMessageIDConflict and ErrInvalid, also for an entry of an inbox or a revision entry.
func (c *Client) Revise(ctx context.Context, timeline tidemark.TimelineID, seq tidemark.SeqID, content Content, opts ...ReviseOption) (ReviseResult, error) {
	return c.revise(ctx, &pb.ReviseRequest{Timeline: string(timeline), SeqId: uint64(seq), Change: &pb.ReviseRequest_Content{
		Content: &pb.RevisedContent{Type: content.Type, Payload: content.Payload, Attributes: content.Attributes},
	}}, opts)
}

// Redact is Revise that takes the content away, for good: type, payload and attributes of
// all its revisions. The message does not count as unread any more.
func (c *Client) Redact(ctx context.Context, timeline tidemark.TimelineID, seq tidemark.SeqID, opts ...ReviseOption) (ReviseResult, error) {
	return c.revise(ctx, &pb.ReviseRequest{Timeline: string(timeline), SeqId: uint64(seq), Change: &pb.ReviseRequest_Redact{Redact: true}}, opts)
}

func (c *Client) revise(ctx context.Context, request *pb.ReviseRequest, opts []ReviseOption) (ReviseResult, error) {
	for _, option := range opts {
		option(request)
	}
	if request.MessageId == "" {
		id, err := newMessageID()
		if err != nil {
			return ReviseResult{}, err
		}
		request.MessageId = string(id)
	}
	kind := call{name: "Revise", write: true, repeatable: true}
	return do(ctx, c, kind, func(ctx context.Context, node *endpoint) (ReviseResult, error) {
		reply, err := node.timelines.Revise(ctx, request)
		if err != nil {
			return ReviseResult{}, err
		}
		position, err := c.observeToken(reply.GetPosition())
		return ReviseResult{
			Revision: reply.GetRevision(), ID: tidemark.MessageID(request.MessageId), SeqID: tidemark.SeqID(reply.GetSeqId()),
			ServerTime: timeOf(reply.GetServerTime()), Digest: digestOf(reply.GetDigest()),
			Duplicate: reply.GetDuplicate(), Inboxes: int(reply.GetInboxes()), Position: position,
		}, err
	})
}
