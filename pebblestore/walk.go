package pebblestore

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"tidemark"
)

// walker is a view of a snapshot, for a check that needs several of one moment.
type walker struct {
	view
	ok bool // whether the iterator stands on a key
}

func newWalker(snapshot *pebble.Snapshot) (*walker, error) {
	iter, err := snapshot.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, wrapPebble(err)
	}
	return &walker{view: view{iter: iter}}, nil
}

func (w *walker) close() { _ = w.iter.Close() }

func (w *walker) seek(key []byte) bool {
	w.ok = w.iter.SeekGE(key)
	return w.ok
}

func (w *walker) next() bool {
	w.ok = w.iter.Next()
	return w.ok
}

// expect moves to the next key, or the first, which must be this one.
func (w *walker) expect(key []byte) error {
	if !w.ok {
		w.seek(nil)
	} else {
		w.next()
	}
	if !w.ok {
		if err := w.err(key); err != nil {
			return err
		}
	}
	if !w.ok || !bytes.Equal(w.iter.Key(), key) {
		return damaged(key, "record is missing, or a stray key lies before it")
	}
	return nil
}

// at reports whether the walker stands on a key of the timeline in table.
func (w *walker) at(table byte, number uint64) bool {
	if !w.ok || w.iter.Key()[0] != table {
		return false
	}
	found, _, ok := splitNumber(w.iter.Key())
	return ok && found == number
}

// endOf reports a key of the table that was not consumed.
func (w *walker) endOf(table byte) error {
	if !w.ok {
		return w.err([]byte{table})
	}
	if w.iter.Key()[0] == table {
		return damaged(w.iter.Key(), "there is no such timeline")
	}
	return nil
}

// checkMessages walks the messages of a timeline, and recomputes the chain.
func (c *checker) checkMessages(h *tidemark.Head) error {
	digest, last, size := tidemark.InitialDigest(h.Timeline), h.CreatedTime, uint64(0)
	seq := h.First
	for ; c.messages.at(tableMessage, h.Number); seq++ {
		key := c.messages.iter.Key()
		record, err := c.messages.value()
		if err != nil {
			return err
		}
		m, err := decodeMessage(h.Timeline, key, record)
		if err != nil {
			return err
		}
		content := m.Hash(tidemark.HashPayload(m.Payload))
		digest = tidemark.NextDigest(digest, seq, m.ServerTime, m.ID, content)
		switch {
		case m.SeqID != seq || seq > h.Last:
			return damaged(key, "message %d of %q is expected here, which holds %d to %d", seq, h.Timeline, h.First, h.Last)
		case m.Digest != digest:
			return damaged(key, "its digest is %s; its content and the digest before make %s", m.Digest, digest)
		case m.ServerTime < last:
			return damaged(key, "its server time is before that of the message before")
		}
		if err := c.checkDedupe(h, &m, content); err != nil {
			return err
		}
		last, size = m.ServerTime, size+uint64(m.Size())
		c.messages.next()
	}
	if err := c.messages.err(keyNextNumber); !c.messages.ok && err != nil {
		return err
	}
	key := appendHeadKey(nil, h.Timeline)
	switch {
	case seq != h.Last+1:
		return damaged(key, "last is %d, and message %d is missing", h.Last, seq)
	case digest != h.Digest:
		return damaged(key, "its digest is %s; that of its last message is %s", h.Digest, digest)
	case size != h.Bytes || last != h.LastTime:
		return damaged(key, "it has %d bytes and last time %d; its messages have %d and %d", h.Bytes, h.LastTime, size, last)
	}
	c.report.Messages += h.Count()
	c.report.Bytes += size
	return nil
}

func (c *checker) checkDedupe(h *tidemark.Head, m *tidemark.Message, content tidemark.ContentHash) error {
	e, found, err := c.look.dedupe(h.Number, m.ID)
	if err != nil {
		return err
	}
	if !found || e.SeqID != m.SeqID || !e.Matches(content) {
		return damaged(appendDedupeKey(nil, h.Number, m.ID), "entry of message %d is missing, or not that of the message", m.SeqID)
	}
	return nil
}

// countDedupe counts the entries of a timeline: each message has one of its own,
// so there are no others if there are as many.
func (c *checker) countDedupe(h *tidemark.Head) error {
	count := uint64(0)
	for ; c.dedupe.at(tableDedupe, h.Number); c.dedupe.next() {
		count++
	}
	if err := c.dedupe.err(keyNextNumber); !c.dedupe.ok && err != nil {
		return err
	}
	if count != h.Count() {
		return damaged(appendHeadKey(nil, h.Timeline), "it has %d messages and %d dedupe entries", h.Count(), count)
	}
	return nil
}

func (c *checker) checkCursors(h *tidemark.Head) error {
	for ; c.cursors.at(tableCursor, h.Number); c.cursors.next() {
		key := c.cursors.iter.Key()
		record, err := c.cursors.value()
		if err != nil {
			return err
		}
		cursor, err := decodeCursor(key, record)
		if err != nil {
			return err
		}
		if cursor.Delivered > h.Last {
			return damaged(key, "delivered %d is past the last message %d", cursor.Delivered, h.Last)
		}
		_, found, err := c.look.find(appendReaderKey(nil, cursor.Reader, h.Number))
		if err != nil {
			return err
		}
		if !found {
			return damaged(appendReaderKey(nil, cursor.Reader, h.Number), "entry is missing")
		}
		c.report.Cursors++
	}
	if err := c.cursors.err(keyNextNumber); !c.cursors.ok && err != nil {
		return err
	}
	return nil
}
