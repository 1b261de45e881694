package rpc

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// This file turns the words of the root package, and results of commands, into the API's.

// toTimestamp leaves out NoTime.
func toTimestamp(t tidemark.Time) *timestamppb.Timestamp {
	if t == tidemark.NoTime {
		return nil
	}
	return timestamppb.New(t.Go())
}

func toMessage(m *tidemark.Message) *tidemarkv1.Message {
	return &tidemarkv1.Message{
		Timeline:   string(m.Timeline),
		SeqId:      uint64(m.SeqID),
		MessageId:  string(m.ID),
		Sender:     m.Sender,
		Type:       m.Type,
		Payload:    m.Payload,
		Attributes: m.Attributes.Map(),
		ClientTime: toTimestamp(m.ClientTime),
		ServerTime: toTimestamp(m.ServerTime),
		Digest:     m.Digest[:],
		Source:     toSource(m.Source),
		Revision:   toRevision(m.Revision),
		Revises:    toRevises(m.Revises),
	}
}

func toRevision(r *tidemark.Revision) *tidemarkv1.Revision {
	if r == nil {
		return nil
	}
	return &tidemarkv1.Revision{
		Revision: r.Number, Time: toTimestamp(r.Time), SeqId: uint64(r.SeqID), Redacted: r.Redacted, OriginalContentHash: r.Original[:],
	}
}

func toRevises(r *tidemark.Revises) *tidemarkv1.Revises {
	if r == nil {
		return nil
	}
	return &tidemarkv1.Revises{
		SeqId: uint64(r.SeqID), Revision: r.Number, Redacted: r.Redacted, ContentHash: r.Content[:], Superseded: r.Superseded, Gone: r.Gone,
	}
}

func toSource(s *tidemark.Source) *tidemarkv1.Source {
	if s == nil {
		return nil
	}
	return &tidemarkv1.Source{Timeline: string(s.Timeline), SeqId: uint64(s.SeqID), Digest: s.Digest[:], Gone: s.Gone}
}

func toTimeline(h *tidemark.Head) *tidemarkv1.Timeline {
	timeline := &tidemarkv1.Timeline{
		Timeline:       string(h.Timeline),
		FirstSeqId:     uint64(h.First),
		LastSeqId:      uint64(h.Last),
		Count:          h.Count(),
		Bytes:          h.Bytes,
		CreatedAt:      toTimestamp(h.CreatedTime),
		LastServerTime: toTimestamp(h.LastTime),
		Digest:         h.Digest[:],
	}
	if h.First > 1 {
		timeline.TrimmedDigest = h.TrimmedDigest[:]
	}
	return timeline
}

// toCursors takes heads, and unread unless it is nil, in parallel with cursors.
func toCursors(cursors []tidemark.Cursor, heads []tidemark.Head, unread []uint64) []*tidemarkv1.Cursor {
	converted := make([]*tidemarkv1.Cursor, len(cursors))
	for i := range cursors {
		converted[i] = toCursor(&cursors[i], &heads[i])
		if unread != nil {
			converted[i].Unread = &unread[i]
		}
	}
	return converted
}

func toCursor(c *tidemark.Cursor, h *tidemark.Head) *tidemarkv1.Cursor {
	return &tidemarkv1.Cursor{
		Timeline:       string(c.Timeline),
		Reader:         string(c.Reader),
		DeliveredSeqId: uint64(c.Delivered),
		ReadSeqId:      uint64(c.Read),
		FloorSeqId:     uint64(c.Floor),
		UpdatedAt:      toTimestamp(c.UpdatedTime),
		LastSeqId:      uint64(h.Last),
		LastServerTime: toTimestamp(h.LastTime),
	}
}

func toAppendResponse(result *fsm.AppendResult, position []byte) *tidemarkv1.AppendResponse {
	return &tidemarkv1.AppendResponse{
		SeqId:      uint64(result.SeqID),
		ServerTime: toTimestamp(result.ServerTime),
		Digest:     result.Digest[:],
		Duplicate:  result.Duplicate,
		Position:   position,

		Inboxes:           uint32(result.Inboxes),
		RecipientsVersion: result.RecipientsVersion,
	}
}
