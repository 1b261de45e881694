package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// feedLevel is the feature level that has the change feed.
const feedLevel = 7

// feedQuery is a validated ChangesRequest.
type feedQuery struct {
	from   tidemark.ChangePosition
	now    bool
	prefix string
	// level is what the node must have applied first, if waits is set.
	level level
	waits bool
}

func parseChanges(req *tidemarkv1.ChangesRequest) (q feedQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	if q.prefix = req.GetPrefix(); q.prefix != "" {
		if err := tidemark.TimelineID(q.prefix).Validate("prefix"); err != nil {
			return q, err
		}
	}
	switch start := req.GetStart().(type) {
	case *tidemarkv1.ChangesRequest_Position:
		if q.from, err = tidemark.ParseChangePosition("position", start.Position); err != nil {
			return q, err
		}
	case *tidemarkv1.ChangesRequest_Now:
		if !start.Now {
			return q, tidemark.Invalid("now", "must be true if it is given; choose another start instead")
		}
		q.now = true
	}
	q.waits = q.now || req.GetConsistency() != nil
	q.level, err = parseLevel(req.GetConsistency())
	return q, err
}

// Changes implements tidemarkv1.TimelineServiceServer.
func (s *Server) Changes(req *tidemarkv1.ChangesRequest, stream grpc.ServerStreamingServer[tidemarkv1.ChangesResponse]) error {
	query, err := parseChanges(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	go func() {
		select {
		case <-s.stopping:
			cancel(tidemark.ErrStopping)
		case <-ctx.Done():
		}
	}()
	if err := s.beginChanges(ctx, &query); err != nil {
		return orCause(ctx, err)
	}
	f := changesStream{server: s, stream: stream, query: tidemark.ChangesQuery{
		From: query.from, Prefix: query.prefix, MaxChanges: tailResponseEvents, MaxBytes: tailResponseBytes,
	}}
	return orCause(ctx, f.run(ctx))
}

// orCause is why ctx has ended, if it has, and err otherwise.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// beginChanges waits for what the stream needs to begin, and finds where now is.
func (s *Server) beginChanges(ctx context.Context, q *feedQuery) error {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.CallTimeout)
	defer cancel()
	if err := s.needLevel(ctx, feedLevel); err != nil {
		return err
	}
	if q.waits {
		if _, err := s.await(ctx, q.level); err != nil {
			return err
		}
	}
	if !q.now {
		return nil
	}
	var err error
	q.from, err = s.Store.ChangesEnd()
	return err
}

// changesStream runs one Changes. It reads the next page of the feed from this node's own
// store when the one before is sent. So nothing is kept for a client that is slow but one
// page, and appending and applying do not know of it.
type changesStream struct {
	server *Server
	stream grpc.ServerStreamingServer[tidemarkv1.ChangesResponse]
	// query asks for the next page.
	query tidemark.ChangesQuery
	// sent is when the last response was, and caughtUp whether it said so.
	sent     time.Time
	caughtUp bool
}

// run sends until ctx ends.
func (f *changesStream) run(ctx context.Context) error {
	for ctx.Err() == nil {
		page, err := f.read(ctx)
		if err != nil {
			return err
		}
		if err := f.send(&page); err != nil {
			return err
		}
		if page.More {
			continue
		}
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *changesStream) read(ctx context.Context) (tidemark.ChangesPage, error) {
	release, err := f.server.admission.waitPage(ctx, int64(f.query.MaxBytes))
	if err != nil {
		return tidemark.ChangesPage{}, err
	}
	defer release()
	page, err := f.server.Store.Changes(f.query)
	f.query.From = page.Next
	return page, err
}

// send sends a page, or, of one without changes, a heartbeat if there is something to say:
// the place where the stream has begun, that it has caught up, or that it is alive.
func (f *changesStream) send(page *tidemark.ChangesPage) error {
	// A node that is behind the position has not caught up with anybody.
	caughtUp := !page.More && page.Next.Index == page.Applied+1
	if len(page.Changes) == 0 && caughtUp == f.caughtUp && time.Since(f.sent) < f.server.Limits.TailHeartbeat {
		return nil
	}
	response := &tidemarkv1.ChangesResponse{
		Position: page.Next.Token(), CaughtUp: caughtUp, AppliedIndex: page.Applied,
		StalenessMillis: staleness(f.server.Node.Staleness()).millis(),
	}
	for i := range page.Changes {
		response.Changes = append(response.Changes, toChange(&page.Changes[i]))
	}
	if err := f.stream.Send(response); err != nil {
		return errors.Join(context.Canceled, err)
	}
	f.sent, f.caughtUp = time.Now(), caughtUp
	return nil
}

// wait returns nil when there may be something new, or when a heartbeat is due.
func (f *changesStream) wait(ctx context.Context) error {
	waiting, cancel := context.WithDeadline(ctx, f.sent.Add(f.server.Limits.TailHeartbeat))
	defer cancel()
	err := f.server.Node.WaitApplied(waiting, f.query.From.Index)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

func toChange(c *tidemark.Change) *tidemarkv1.Change {
	out := &tidemarkv1.Change{Position: c.Position.Token(), Timeline: string(c.Timeline)}
	switch {
	case c.Message != nil:
		out.Change = &tidemarkv1.Change_Appended{Appended: toMessage(c.Message)}
	case c.Kind == tidemark.ChangeAppended:
		out.Change = &tidemarkv1.Change_GoneSeqId{GoneSeqId: uint64(c.Seq)}
	case c.Kind == tidemark.ChangeTrimmed:
		out.Change = &tidemarkv1.Change_TrimmedFirstSeqId{TrimmedFirstSeqId: uint64(c.Seq)}
	case c.Kind == tidemark.ChangeDeleted:
		out.Change = &tidemarkv1.Change_DeletedLastSeqId{DeletedLastSeqId: uint64(c.Seq)}
	}
	return out
}

// retainChanges has the leader trim the change feed by its bounds.
func (s *Server) retainChanges(ctx context.Context) error {
	if s.ChangesMaxAge == 0 && s.ChangesMaxEntries == 0 || s.Store.Level() < feedLevel {
		return nil
	}
	for ctx.Err() == nil {
		oldest := tidemark.Time(tidemark.MinTime.UnixNano())
		if s.ChangesMaxAge > 0 {
			oldest = timeOf(s.Clock().Add(-s.ChangesMaxAge))
		}
		keep, more, err := s.Store.ChangesTrimPoint(s.ChangesMaxEntries, oldest)
		if err != nil || keep == 0 {
			return err
		}
		if err := s.trimChangesOnce(ctx, keep); err != nil || !more {
			return err
		}
		pause(ctx, trimPause)
	}
	return ctx.Err()
}

func (s *Server) trimChangesOnce(ctx context.Context, first uint64) error {
	ctx, cancel := context.WithTimeout(ctx, trimTimeout)
	defer cancel()
	result, _, err := propose[fsm.TrimChangesResult](ctx, s, fsm.TrimChanges{First: first}.Encode())
	if err == nil {
		err = result.Err
	}
	return err
}
