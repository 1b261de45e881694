package rpc

import (
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// Ack implements tidemarkv1.TimelineServiceServer.
func (s *Server) Ack(ctx context.Context, req *tidemarkv1.AckRequest) (*tidemarkv1.AckResponse, error) {
	reader, items, err := parseAck(req)
	if err != nil {
		return nil, err
	}
	return s.ack(ctx, reader, items)
}

// ack moves cursors, here or on the leader.
func (s *Server) ack(ctx context.Context, reader tidemark.ReaderID, items []ackItem) (*tidemarkv1.AckResponse, error) {
	req := &tidemarkv1.AckRequest{Reader: string(reader), Items: make([]*tidemarkv1.AckItem, len(items))}
	command := fsm.Ack{Reader: reader, Items: make([]fsm.AckItem, len(items))}
	for i, item := range items {
		command.Items[i] = fsm.AckItem{Timeline: item.timeline, Delivered: item.delivered, Read: item.read}
		req.Items[i] = &tidemarkv1.AckItem{
			Timeline: string(item.timeline), DeliveredSeqId: (*uint64)(item.delivered), ReadSeqId: (*uint64)(item.read),
		}
	}
	return onLeader(ctx, s, "Ack", req,
		func(ctx context.Context, _ *tidemarkv1.AckRequest) (*tidemarkv1.AckResponse, error) {
			return s.proposeAck(ctx, command.Encode())
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.AckRequest, ...grpc.CallOption) (*tidemarkv1.AckResponse, error) {
			return c.timelines.Ack
		})
}

func (s *Server) proposeAck(ctx context.Context, command []byte) (*tidemarkv1.AckResponse, error) {
	if err := beforeProposing(ctx); err != nil {
		return nil, err
	}
	proposal, err := s.Node.Propose(ctx, command)
	if err != nil {
		return nil, err
	}
	result, ok := proposal.Result.(fsm.AckResult)
	if !ok {
		return nil, unexpected(proposal.Result)
	}
	if result.Err != nil {
		return nil, result.Err
	}
	return &tidemarkv1.AckResponse{Cursors: toCursors(result.Cursors, result.Heads), Position: proposal.Position.Token()}, nil
}

// ListCursors implements tidemarkv1.TimelineServiceServer.
func (s *Server) ListCursors(ctx context.Context, req *tidemarkv1.ListCursorsRequest) (*tidemarkv1.ListCursorsResponse, error) {
	query, err := parseListCursors(req)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, query.level); err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ListCursorsResponse{}
	var page tidemark.CursorPage
	switch {
	case query.countOnly:
		reply.Count, page.Applied, err = s.Store.CountCursors(query.timeline, query.readAtLeast)
	case query.reader != "":
		page, err = s.Store.CursorsByReader(query.reader, query.afterNumber, query.limit)
	default:
		page, err = s.Store.CursorsByTimeline(query.timeline, query.readAtLeast, query.afterReader, query.limit)
	}
	if err != nil {
		return nil, err
	}
	reply.Cursors = toCursors(page.Cursors, page.Heads)
	if n := len(page.Cursors); page.More && n > 0 {
		after := []byte(page.Cursors[n-1].Reader)
		if query.reader != "" {
			after = binary.BigEndian.AppendUint64(nil, page.Heads[n-1].Number)
		}
		reply.NextPageToken = pageToken(query.name(), after)
	}
	reply.AppliedIndex, reply.Position = page.Applied, query.level.seen(page.Applied)
	return reply, nil
}

// cursorQuery is a validated ListCursors: of a reader, or else of a timeline.
type cursorQuery struct {
	timeline    tidemark.TimelineID
	readAtLeast tidemark.SeqID
	countOnly   bool
	afterReader tidemark.ReaderID

	reader      tidemark.ReaderID
	afterNumber uint64

	limit int
	level level
}

// name is what page tokens of the listing are bound to.
func (q *cursorQuery) name() string {
	if q.reader != "" {
		return "cursors of reader " + string(q.reader)
	}
	return fmt.Sprintf("cursors of timeline %s from %d", q.timeline, q.readAtLeast)
}

func parseListCursors(req *tidemarkv1.ListCursorsRequest) (q cursorQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	switch by := req.GetBy().(type) {
	case *tidemarkv1.ListCursorsRequest_Timeline:
		q.timeline = tidemark.TimelineID(by.Timeline)
		err = q.timeline.Validate("timeline")
	case *tidemarkv1.ListCursorsRequest_Reader:
		q.reader = tidemark.ReaderID(by.Reader)
		err = q.reader.Validate("reader")
	default:
		err = tidemark.Invalid("by", "must be given: timeline or reader")
	}
	if err != nil {
		return q, err
	}
	q.readAtLeast, q.countOnly = tidemark.SeqID(req.GetReadAtLeast()), req.GetCountOnly()
	switch {
	case q.reader != "" && q.readAtLeast != 0:
		return q, tidemark.Invalid("read_at_least", "goes with timeline only")
	case q.reader != "" && q.countOnly:
		return q, tidemark.Invalid("count_only", "goes with timeline only")
	case q.countOnly && req.GetPageToken() != "":
		return q, tidemark.Invalid("page_token", "must be empty with count_only, which has one page")
	}
	if q.limit, err = parseLimit("page_size", req.GetPageSize(), tidemark.DefaultListItems, tidemark.MaxListItems, "cursors"); err != nil {
		return q, err
	}
	if q.level, err = parseLevel(req.GetConsistency()); err != nil {
		return q, err
	}
	return q, q.parseAfter(req.GetPageToken())
}

func (q *cursorQuery) parseAfter(token string) error {
	after, err := parsePageToken(token, q.name())
	if err != nil || after == nil {
		return err
	}
	if q.reader == "" {
		q.afterReader = tidemark.ReaderID(after)
		return q.afterReader.Validate("page_token")
	}
	if len(after) != 8 {
		return tidemark.Invalid("page_token", "is not a next_page_token of this API")
	}
	q.afterNumber = binary.BigEndian.Uint64(after)
	return nil
}
