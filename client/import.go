package client

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Imported is the outcome of an Import.
type Imported struct {
	// Timeline is as it is after it.
	Timeline Timeline
	// Duplicates is how many messages were there before; some may be trimmed by now.
	Duplicates int
}

// Import puts messages of an older history into a timeline, with the SeqIDs and server
// times that they had: all or none, up to 1,024 in an entry of 512 KiB. They are
// contiguous, and follow the last message of the timeline, or are there already, or were and
// are trimmed; a timeline that never had a message starts with the first of them, and then
// with previous as the digest before it, unless its SeqID is 1. It can be repeated at will.
// Entries of inboxes, revised messages and revision entries cannot be imported.
//
// A message's Digest, if it has one, must be that which it gets here: then the whole
// history up to it is that which it was taken from. Errors beside the usual ones are
// tidemark.ErrInvalid, also for a digest, ErrSequenceConflict and ErrMessageIDConflict;
// nothing was changed then.
func (c *Client) Import(ctx context.Context, timeline tidemark.TimelineID, previous tidemark.Digest, messages []Message) (Imported, error) {
	request := &pb.ImportRequest{Timeline: string(timeline), Items: make([]*pb.Message, len(messages))}
	if previous != (tidemark.Digest{}) {
		request.PreviousDigest = previous[:]
	}
	for i := range messages {
		m := &messages[i]
		if m.Source != nil {
			return Imported{}, tidemark.Invalid(fmt.Sprintf("items[%d].source", i), "must not be given: inboxes are not imported")
		}
		if m.Revision != nil || m.Revises != nil {
			return Imported{}, tidemark.Invalid(fmt.Sprintf("items[%d].revision", i), "must not be given: a history with revisions is not imported")
		}
		request.Items[i] = &pb.Message{
			SeqId: uint64(m.SeqID), MessageId: string(m.ID), Sender: m.Sender, Type: m.Type, Payload: m.Payload, Attributes: m.Attributes,
			ServerTime: timestamppb.New(m.ServerTime),
		}
		if m.Digest != (tidemark.Digest{}) {
			request.Items[i].Digest = m.Digest[:]
		}
		if !m.ClientTime.IsZero() {
			request.Items[i].ClientTime = timestamppb.New(m.ClientTime)
		}
	}
	return do(ctx, c, call{name: "Import", write: true, repeatable: true}, func(ctx context.Context, node *endpoint) (Imported, error) {
		reply, err := node.timelines.Import(ctx, request)
		if err != nil {
			return Imported{}, err
		}
		_, err = c.observeToken(reply.GetPosition())
		return Imported{Timeline: timelineOf(reply.GetTimeline()), Duplicates: int(reply.GetDuplicates())}, err
	})
}
