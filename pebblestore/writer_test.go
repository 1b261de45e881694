package pebblestore_test

import (
	"testing"

	"tidemark"
	"tidemark/pebblestore"
)

// appendDraft does to a batch what a state machine does for one append: it
// allocates the next SeqID, or finds that the message is there.
func appendDraft(b *pebblestore.Batch, d tidemark.Draft, now tidemark.Time) (seq tidemark.SeqID, duplicate bool, err error) {
	h, found, err := b.Head(d.Timeline)
	if err != nil {
		return 0, false, err
	}
	content := d.Hash(tidemark.HashPayload(d.Payload))
	if found {
		e, known, err := b.Lookup(h.Number, d.ID)
		if err != nil {
			return 0, false, err
		}
		if known && !e.Matches(content) {
			return 0, false, tidemark.ErrMessageIDConflict
		}
		if known {
			return e.SeqID, true, nil
		}
	} else {
		h = b.CreateTimeline(d.Timeline, now)
	}
	m := tidemark.Message{Draft: d, SeqID: h.Last + 1, ServerTime: max(now, h.LastTime)}
	m.Digest = tidemark.NextDigest(h.Digest, m.SeqID, m.ServerTime, m.ID, content)
	b.PutMessage(h.Number, &m, content)
	h.Last, h.LastTime, h.Digest, h.Bytes = m.SeqID, m.ServerTime, m.Digest, h.Bytes+uint64(d.Size())
	b.PutHead(h)
	return m.SeqID, false, nil
}

// acknowledge moves a cursor forward.
func acknowledge(b *pebblestore.Batch, id tidemark.TimelineID, reader tidemark.ReaderID, delivered, read tidemark.SeqID, now tidemark.Time) (tidemark.Cursor, error) {
	h, found, err := b.Head(id)
	if err != nil {
		return tidemark.Cursor{}, err
	}
	if !found {
		return tidemark.Cursor{}, tidemark.ErrTimelineNotFound
	}
	c, _, err := b.Cursor(h.Number, reader)
	if err != nil {
		return tidemark.Cursor{}, err
	}
	c.Timeline, c.Reader, c.UpdatedTime = id, reader, now
	c.Read = min(max(c.Read, read), h.Last)
	c.Delivered = min(max(c.Delivered, delivered, c.Read), h.Last)
	b.PutCursor(h.Number, c)
	return c, nil
}

func draft(id tidemark.TimelineID, message, payload string) tidemark.Draft {
	return tidemark.Draft{Timeline: id, ID: tidemark.MessageID(message), Payload: []byte(payload), ClientTime: tidemark.NoTime}
}

// commit appends the drafts in one batch at the index, each a nanosecond after the other.
func commit(tb testing.TB, s *pebblestore.Store, index uint64, drafts ...tidemark.Draft) {
	tb.Helper()
	b := s.NewBatch()
	defer b.Discard()
	for i, d := range drafts {
		if _, _, err := appendDraft(b, d, tidemark.Time(index*1000)+tidemark.Time(i)); err != nil {
			tb.Fatal(err)
		}
	}
	b.SetApplied(tidemark.Applied{Index: index, Term: 1})
	if err := b.Commit(); err != nil {
		tb.Fatal(err)
	}
}

func mustClose(tb testing.TB, s *pebblestore.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}
