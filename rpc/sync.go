package rpc

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Sync implements tidemarkv1.TimelineServiceServer. As with Read, the acknowledgement
// comes first, and its failure is that of the call.
func (s *Server) Sync(ctx context.Context, req *tidemarkv1.SyncRequest) (*tidemarkv1.SyncResponse, error) {
	query, err := parseSync(req)
	if err != nil {
		return nil, err
	}
	if len(query.acks) == 0 {
		return s.pull(ctx, &query)
	}
	acknowledged, err := s.ack(ctx, acknowledgement{reader: query.Reader, items: query.acks})
	if err != nil {
		return nil, err
	}
	var reply *tidemarkv1.SyncResponse
	if err = query.level.sees(acknowledged.GetPosition()); err == nil {
		reply, err = s.pull(ctx, &query)
	}
	if err != nil {
		return nil, behindAck(err)
	}
	return reply, nil
}

// sees makes a session read show at least what is at the position.
func (l *level) sees(token []byte) error {
	position, err := tidemark.ParsePosition("position", token)
	l.position = max(l.position, position)
	return err
}

// syncPositionBytes is about what a position takes while it is looked up: a head, a
// cursor, and their names, some of them twice.
const syncPositionBytes = 1 << 10

// pull reads what is new.
func (s *Server) pull(ctx context.Context, query *syncQuery) (*tidemarkv1.SyncResponse, error) {
	age, err := s.await(ctx, query.level)
	if err != nil {
		return nil, err
	}
	positions := len(query.Positions)
	if query.ofReader {
		positions = tidemark.MaxSyncPositions
	}
	release, err := s.admission.waitPage(ctx, int64(query.MaxBytes)+int64(positions)*syncPositionBytes)
	if err != nil {
		return nil, err
	}
	defer release()
	reply := &tidemarkv1.SyncResponse{StalenessMillis: age.millis()}
	if query.ofReader {
		if reply.NextPageToken, err = s.takePositions(query); err != nil {
			return nil, err
		}
	}
	query.Turn = rand.Uint64()
	page, err := s.Store.Pull(query.Pull)
	if err != nil {
		return nil, err
	}
	reply.Timelines = make([]*tidemarkv1.SyncTimeline, len(page.Timelines))
	for i := range page.Timelines {
		reply.Timelines[i] = toSyncTimeline(&page.Timelines[i], query.Reader != "")
	}
	reply.HasMore = page.More
	reply.Position, reply.AppliedIndex = query.level.seen(page.Applied), page.Applied
	return reply, nil
}

// takePositions fills in the timelines in which the reader has a cursor, and returns
// the token of those that are left.
func (s *Server) takePositions(query *syncQuery) (next string, err error) {
	page, err := s.Store.CursorsByReader(query.Reader, query.afterNumber, tidemark.MaxSyncPositions)
	if err != nil {
		return "", err
	}
	query.Positions = make([]tidemark.PullPosition, len(page.Cursors))
	for i := range page.Cursors {
		query.Positions[i] = tidemark.PullPosition{Timeline: page.Cursors[i].Timeline, FromCursor: true}
	}
	if n := len(page.Heads); page.More && n > 0 {
		next = pageToken(query.name(), binary.BigEndian.AppendUint64(nil, page.Heads[n-1].Number))
	}
	return next, nil
}

func toSyncTimeline(t *tidemark.Pulled, withCursor bool) *tidemarkv1.SyncTimeline {
	converted := &tidemarkv1.SyncTimeline{
		Timeline:   toTimeline(&t.Head),
		AfterSeqId: uint64(t.After),
		HasMore:    t.More,
	}
	setMessages(converted, t.Messages, ownRoom)
	if len(t.Messages) > 0 {
		converted.PreviousDigest = t.PreviousDigest[:]
	}
	if t.After < t.Head.First-1 { // First is at least 1
		converted.TrimmedToSeqId = uint64(t.Head.First)
	}
	if withCursor {
		converted.Cursor = toCursor(&t.Cursor, &t.Head)
		converted.Cursor.Unread = &t.Unread
	}
	return converted
}
