package rpc

import (
	"context"
	"fmt"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// importLevel is the feature level that has imports of history.
const importLevel = 6

// Import implements tidemarkv1.TimelineServiceServer.
func (s *Server) Import(ctx context.Context, req *tidemarkv1.ImportRequest) (*tidemarkv1.ImportResponse, error) {
	command, err := s.parseImport(req)
	if err != nil {
		return nil, err
	}
	encoded := command.Encode()
	if limit := tidemark.MaxEntryBytes - entryOverhead; len(encoded) > limit {
		return nil, tidemark.Invalid("items", "take %d bytes when encoded; limit is %d bytes", len(encoded), limit)
	}
	if err := s.needLevel(ctx, importLevel); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "Import", req,
		func(ctx context.Context, _ *tidemarkv1.ImportRequest) (*tidemarkv1.ImportResponse, error) {
			result, position, err := propose[fsm.ImportResult](ctx, s, encoded)
			if err == nil {
				err = result.Err
			}
			if err != nil {
				return nil, err
			}
			return &tidemarkv1.ImportResponse{Timeline: toTimeline(&result.Head), Duplicates: uint32(result.Duplicates), Position: position}, nil
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.ImportRequest, ...grpc.CallOption) (*tidemarkv1.ImportResponse, error) {
			return c.timelines.Import
		})
}

func (s *Server) parseImport(req *tidemarkv1.ImportRequest) (c fsm.Import, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return c, err
	}
	c.Timeline = tidemark.TimelineID(req.GetTimeline())
	if err := c.Timeline.Validate("timeline"); err != nil {
		return c, err
	}
	items := req.GetItems()
	if len(items) == 0 || len(items) > tidemark.MaxBatchMessages {
		return c, tidemark.Invalid("items", "has %d messages; limit is 1 to %d messages", len(items), tidemark.MaxBatchMessages)
	}
	if c.First, err = parseSeq("seq_id", items[0].GetSeqId()); err != nil {
		return c, within("items[0]", err)
	}
	if last := uint64(tidemark.MaxImportSeqID) - uint64(len(items)); uint64(c.First) > last {
		return c, tidemark.Invalid("items[0].seq_id", "is %d; limit is %d for so many items", uint64(c.First), last)
	}
	if c.Previous, err = parseDigest("previous_digest", req.GetPreviousDigest()); err != nil {
		return c, err
	}
	if c.First == 1 && c.Previous != (tidemark.Digest{}) {
		return c, tidemark.Invalid("previous_digest", "must not be given when the first item is the first message")
	}
	latest := timeOf(s.Clock().Add(tidemark.MaxClockSkew))
	for i, m := range items {
		item, err := parseImportItem(c.Timeline, m, latest)
		if err == nil && m.GetSeqId() != items[0].GetSeqId()+uint64(i) {
			err = tidemark.Invalid("seq_id", "is %d, not the next one after that before it", m.GetSeqId())
		}
		if err != nil {
			return c, within(fmt.Sprintf("items[%d]", i), err)
		}
		c.Items = append(c.Items, item)
	}
	return c, nil
}

func parseImportItem(timeline tidemark.TimelineID, m *tidemarkv1.Message, latest tidemark.Time) (item fsm.ImportItem, err error) {
	switch {
	case m.GetTimeline() != "" && m.GetTimeline() != string(timeline):
		return item, tidemark.Invalid("timeline", "is another one than that of the request")
	case m.GetSource() != nil:
		return item, tidemark.Invalid("source", "must not be given: inboxes are not imported")
	case m.GetRevision() != nil:
		return item, tidemark.Invalid("revision", "must not be given: a history with revisions is not imported")
	case m.GetRevises() != nil:
		return item, tidemark.Invalid("revises", "must not be given: a history with revisions is not imported")
	case m.GetServerTime() == nil:
		return item, tidemark.Invalid("server_time", "must be given")
	}
	parsed, err := parseAppend(&tidemarkv1.AppendRequest{
		Timeline: string(timeline), MessageId: m.GetMessageId(), Sender: m.GetSender(), Type: m.GetType(), Payload: m.GetPayload(),
		Attributes: m.GetAttributes(), ClientTime: m.GetClientTime(),
	})
	if err != nil {
		return item, err
	}
	item.Draft = parsed.draft
	item.Draft.Timeline = ""
	if item.Digest, err = parseDigest("digest", m.GetDigest()); err != nil {
		return item, err
	}
	if item.ServerTime, err = parseTime("server_time", m.GetServerTime()); err == nil && item.ServerTime > latest {
		err = tidemark.Invalid("server_time", "lies in the future")
	}
	return item, err
}

// parseDigest parses a digest that may be left out.
func parseDigest(field string, text []byte) (digest tidemark.Digest, err error) {
	if len(text) != 0 && len(text) != len(digest) {
		return digest, tidemark.Invalid(field, "has %d bytes; it must have %d", len(text), len(digest))
	}
	copy(digest[:], text)
	return digest, nil
}
