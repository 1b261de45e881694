package rpc

import (
	"context"
	"fmt"
	"time"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Read implements tidemarkv1.TimelineServiceServer. An acknowledgement of the page
// before comes first, and its failure is that of the read.
func (s *Server) Read(ctx context.Context, req *tidemarkv1.ReadRequest) (*tidemarkv1.ReadResponse, error) {
	query, err := parseRead(req)
	if err != nil {
		return nil, err
	}
	if query.ack == nil {
		return s.page(ctx, query)
	}
	if _, err := s.ack(ctx, acknowledgement{reader: query.Reader, items: []ackItem{*query.ack}}); err != nil {
		return nil, err
	}
	reply, err := s.page(ctx, query)
	if err != nil {
		return nil, behindAck(err)
	}
	return reply, nil
}

// behindAck is the error of a call whose acknowledgement was applied before it failed: it
// must not say that nothing was changed. To repeat the call is harmless.
func behindAck(err error) error {
	return fmt.Errorf("%w: the acknowledgement was applied, and reading failed: %w", tidemark.ErrOutcomeUnknown, err)
}

// page reads one page at the level that was asked for.
func (s *Server) page(ctx context.Context, query pageQuery) (*tidemarkv1.ReadResponse, error) {
	age, err := s.await(ctx, query.level)
	if err != nil {
		return nil, err
	}
	release, err := s.admission.waitPage(ctx, int64(query.MaxBytes))
	if err != nil {
		return nil, err
	}
	defer release()
	memory := takePageMemory()
	defer givePageMemory(memory)
	query.Memory = memory
	page, err := s.Store.Read(query.Range)
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ReadResponse{
		HasMore:         page.More,
		PreviousDigest:  page.PreviousDigest[:],
		Timeline:        toTimeline(&page.Head),
		Position:        query.level.seen(page.Applied),
		AppliedIndex:    page.Applied,
		StalenessMillis: age.millis(),
		FloorSeqId:      uint64(page.Floor),
	}
	setMessages(reply, page.Messages, sentRoom)
	if n := len(page.Messages); n > 0 {
		reply.FirstSeqId = uint64(page.Messages[0].SeqID)
		reply.LastSeqId = uint64(page.Messages[n-1].SeqID)
	}
	return reply, nil
}

// Get implements tidemarkv1.TimelineServiceServer.
func (s *Server) Get(ctx context.Context, req *tidemarkv1.GetRequest) (*tidemarkv1.GetResponse, error) {
	query, err := parseGet(req)
	if err != nil {
		return nil, err
	}
	age, err := s.await(ctx, query.level)
	if err != nil {
		return nil, err
	}
	var message tidemark.Message
	var applied uint64
	if query.id != "" {
		message, applied, err = s.Store.GetByID(query.timeline, query.id)
	} else {
		message, applied, err = s.Store.Get(query.timeline, query.seq)
	}
	if err != nil {
		return nil, err
	}
	return &tidemarkv1.GetResponse{
		Message: toMessage(&message), Position: query.level.seen(applied), AppliedIndex: applied, StalenessMillis: age.millis(),
	}, nil
}

// staleness is how old what a read shows may be.
type staleness time.Duration

// millis rounds up, so that it never says less than there is.
func (s staleness) millis() uint64 {
	if s <= 0 {
		return 0
	}
	return (uint64(s) + uint64(time.Millisecond) - 1) / uint64(time.Millisecond)
}

// await returns when this node may answer a read of the level, and how old the
// answer may be.
func (s *Server) await(ctx context.Context, l level) (staleness, error) {
	switch l.kind {
	case session:
		age := staleness(s.Node.Staleness())
		return age, s.awaitPosition(ctx, l.position)
	case local:
		age := s.Node.Staleness()
		if l.bounded && age > l.maxStaleness {
			return 0, fmt.Errorf("%w: last heard from a leader %v ago; the bound is %v", tidemark.ErrStale, age.Round(time.Millisecond), l.maxStaleness)
		}
		return staleness(age), nil
	default:
		index, err := s.Node.ReadIndex(ctx)
		if err != nil {
			return 0, err
		}
		return 0, s.Node.WaitApplied(ctx, index)
	}
}

// awaitPosition waits until this node has applied the position: up to SessionWait, and
// never for the last tenth of the caller's time, so that the answer still reaches it.
func (s *Server) awaitPosition(ctx context.Context, position tidemark.Position) error {
	wait := s.Limits.SessionWait
	if deadline, bounded := ctx.Deadline(); bounded {
		wait = min(wait, time.Until(deadline)*9/10)
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := s.Node.WaitApplied(waiting, uint64(position))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() != nil:
		return fmt.Errorf("%w: waited %v", tidemark.ErrNotCaughtUp, wait.Round(time.Millisecond))
	default:
		return err
	}
}

// seen is the token of what the caller has seen after a read: never less than before.
func (l level) seen(applied uint64) []byte {
	return max(l.position, tidemark.Position(applied)).Token()
}
