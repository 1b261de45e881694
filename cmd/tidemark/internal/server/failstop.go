package server

import (
	"context"
	"errors"

	"tidemark"
	"tidemark/rpc"
)

// failStopStore ends the process when a read meets damage: a node that cannot
// trust a file of its store must neither lead nor count for a majority with it.
// Damage that applying or background work meets ends the process by itself.
type failStopStore struct {
	store rpc.Store
	fatal func(error)
}

var _ rpc.Store = failStopStore{}

func (s failStopStore) check(err error) error {
	if errors.Is(err, tidemark.ErrCorrupt) {
		s.fatal(err)
	}
	return err
}

func (s failStopStore) GetHead(timeline tidemark.TimelineID) (tidemark.Head, uint64, error) {
	head, applied, err := s.store.GetHead(timeline)
	return head, applied, s.check(err)
}

func (s failStopStore) Read(r tidemark.Range) (tidemark.Page, error) {
	page, err := s.store.Read(r)
	return page, s.check(err)
}

func (s failStopStore) Pull(p tidemark.Pull) (tidemark.PullPage, error) {
	page, err := s.store.Pull(p)
	return page, s.check(err)
}

func (s failStopStore) Digests(timeline tidemark.TimelineID, seqs []tidemark.SeqID) ([]tidemark.Digest, tidemark.Head, uint64, error) {
	digests, head, applied, err := s.store.Digests(timeline, seqs)
	return digests, head, applied, s.check(err)
}

func (s failStopStore) Get(timeline tidemark.TimelineID, seq tidemark.SeqID) (tidemark.Message, uint64, error) {
	message, applied, err := s.store.Get(timeline, seq)
	return message, applied, s.check(err)
}

func (s failStopStore) GetByID(timeline tidemark.TimelineID, id tidemark.MessageID) (tidemark.Message, uint64, error) {
	message, applied, err := s.store.GetByID(timeline, id)
	return message, applied, s.check(err)
}

func (s failStopStore) CursorsByTimeline(timeline tidemark.TimelineID, readAtLeast tidemark.SeqID, after tidemark.ReaderID, limit int) (tidemark.CursorPage, error) {
	page, err := s.store.CursorsByTimeline(timeline, readAtLeast, after, limit)
	return page, s.check(err)
}

func (s failStopStore) CountCursors(timeline tidemark.TimelineID, readAtLeast tidemark.SeqID) (count, applied uint64, err error) {
	count, applied, err = s.store.CountCursors(timeline, readAtLeast)
	return count, applied, s.check(err)
}

func (s failStopStore) CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (tidemark.CursorPage, error) {
	page, err := s.store.CursorsByReader(reader, after, limit)
	return page, s.check(err)
}

func (s failStopStore) Timelines(prefix string, after tidemark.TimelineID, limit int) (tidemark.TimelinePage, error) {
	page, err := s.store.Timelines(prefix, after, limit)
	return page, s.check(err)
}

func (s failStopStore) Conversations(reader tidemark.ReaderID, after *tidemark.Activity, limit int) (tidemark.CursorPage, error) {
	page, err := s.store.Conversations(reader, after, limit)
	return page, s.check(err)
}

func (s failStopStore) Recipients(timeline, after tidemark.TimelineID, limit int) (tidemark.RecipientPage, error) {
	page, err := s.store.Recipients(timeline, after, limit)
	return page, s.check(err)
}

func (s failStopStore) ArmPin(id string, at uint64) error { return s.check(s.store.ArmPin(id, at)) }

func (s failStopStore) PinnedPart(ctx context.Context, id string, after []byte, max int) (tidemark.StatePart, error) {
	part, err := s.store.PinnedPart(ctx, id, after, max)
	return part, s.check(err)
}

func (s failStopStore) Unpin(id string) { s.store.Unpin(id) }

func (s failStopStore) Explain(timeline tidemark.TimelineID, seq tidemark.SeqID, id tidemark.MessageID, limit int) (tidemark.Explained, error) {
	explained, err := s.store.Explain(timeline, seq, id, limit)
	return explained, s.check(err)
}

func (s failStopStore) CountDeliveries(timeline tidemark.TimelineID, seq tidemark.SeqID) (int, error) {
	count, err := s.store.CountDeliveries(timeline, seq)
	return count, s.check(err)
}

func (s failStopStore) CountRecipients(timeline tidemark.TimelineID) (uint64, error) {
	count, err := s.store.CountRecipients(timeline)
	return count, s.check(err)
}

func (s failStopStore) CountTimelines(prefix string) (count, applied uint64, err error) {
	count, applied, err = s.store.CountTimelines(prefix)
	return count, applied, s.check(err)
}

func (s failStopStore) Describe(timeline tidemark.TimelineID) (tidemark.Described, uint64, error) {
	described, applied, err := s.store.Describe(timeline)
	return described, applied, s.check(err)
}

func (s failStopStore) Policies() (policies []tidemark.Policy, applied uint64, err error) {
	policies, applied, err = s.store.Policies()
	return policies, applied, s.check(err)
}

func (s failStopStore) TrimPoint(timeline tidemark.TimelineID, p *tidemark.Policy, now tidemark.Time) (tidemark.SeqID, tidemark.Head, error) {
	first, head, err := s.store.TrimPoint(timeline, p, now)
	return first, head, s.check(err)
}

func (s failStopStore) Changes(q tidemark.ChangesQuery) (tidemark.ChangesPage, error) {
	page, err := s.store.Changes(q)
	return page, s.check(err)
}

func (s failStopStore) ChangesEnd() (tidemark.ChangePosition, error) {
	end, err := s.store.ChangesEnd()
	return end, s.check(err)
}

func (s failStopStore) ChangesTrimPoint(maxEntries uint64, oldest tidemark.Time) (keep uint64, more bool, err error) {
	keep, more, err = s.store.ChangesTrimPoint(maxEntries, oldest)
	return keep, more, s.check(err)
}

func (s failStopStore) Level() uint32 { return s.store.Level() }

func (s failStopStore) Applied() tidemark.Applied { return s.store.Applied() }
