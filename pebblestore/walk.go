package pebblestore

import (
	"bytes"

	"tidemark"
)

// walker is a view of a snapshot, for a check that needs several of one moment.
type walker struct {
	view
	ok bool // whether the iterator stands on a key
}

func newWalker(state *frozen) (*walker, error) {
	iter, err := state.iterate()
	if err != nil {
		return nil, err
	}
	return &walker{view: view{iter: iter}}, nil
}

func (w *walker) close() {
	_ = w.iter.close()
	if w.sources != nil {
		_ = w.sources.view.iter.close()
	}
}

func (w *walker) seek(key []byte) bool {
	w.ok = w.iter.seekGE(key)
	return w.ok
}

func (w *walker) next() bool {
	w.ok = w.iter.next()
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
	if !w.ok || !bytes.Equal(w.iter.key(), key) {
		return damaged(key, "record is missing, or a stray key lies before it")
	}
	return nil
}

// at reports whether the walker stands on a key of the timeline in table.
func (w *walker) at(table byte, number uint64) bool {
	if !w.ok || w.iter.key()[0] != table {
		return false
	}
	found, _, ok := splitNumber(w.iter.key())
	return ok && found == number
}

// endOf reports a key of the table that was not consumed.
func (w *walker) endOf(table byte) error {
	if !w.ok {
		return w.err([]byte{table})
	}
	if w.iter.key()[0] == table {
		return damaged(w.iter.key(), "there is no such timeline")
	}
	return nil
}

// ended is what stopped a walk that ran out of keys, if anything did.
func (w *walker) ended() error {
	if w.ok {
		return nil
	}
	return w.err(keyNextNumber)
}

// checkMessages walks the messages of a timeline, and recomputes the chain.
func (c *checker) checkMessages(h *tidemark.Head) error {
	digest, last, size := h.FirstDigest(), h.CreatedTime, uint64(0)
	seq := h.First
	c.sent, c.own = 0, 0
	for ; c.messages.at(tableMessage, h.Number); seq++ {
		key := c.messages.iter.key()
		record, err := c.messages.value()
		if err != nil {
			return err
		}
		stored, r, err := decodeRecord(h.Timeline, key, record)
		if err != nil {
			return err
		}
		m, err := c.messages.decode(h.Timeline, key, record)
		if err != nil {
			return err
		}
		digest = m.ChainDigest(digest)
		switch {
		case m.SeqID != seq || seq > h.Last:
			return damaged(key, "message %d of %q is expected here, which holds %d to %d", seq, h.Timeline, h.First, h.Last)
		case m.Digest != digest:
			return damaged(key, "its digest is %s; its content and the digest before make %s", m.Digest, digest)
		case m.ServerTime < last:
			return damaged(key, "its server time is before that of the message before")
		}
		user, counted := sentBy(&stored, r)
		if sender := tidemark.UserOf(m.Sender); m.Source != nil && !m.Source.Gone && !r.revision && sender != user {
			return damaged(key, "it says that %q has sent it; its source was sent by %q", user, sender)
		}
		if counted {
			if err := c.checkSender(h, seq, user); err != nil {
				return err
			}
		}
		last = m.ServerTime
		if m.Source == nil {
			size += uint64(stored.Size())
			c.own++
			if err := c.checkDedupe(h, &stored); err != nil {
				return err
			}
			if stored.Revision != nil {
				if err := c.checkRevision(h, &stored); err != nil {
					return err
				}
			}
		}
		c.messages.next()
	}
	if err := c.messages.ended(); err != nil {
		return err
	}
	key := appendHeadKey(nil, h.Timeline)
	switch {
	case seq != h.Last+1:
		return damaged(key, "last is %d, and message %d is missing", h.Last, seq)
	case digest != h.Digest:
		return damaged(key, "its digest is %s; that of its last message is %s", h.Digest, digest)
	case size != h.Bytes || h.Count() > 0 && last != h.LastTime:
		return damaged(key, "it has %d bytes and last time %d; its messages have %d and %d", h.Bytes, h.LastTime, size, last)
	}
	c.report.Messages += h.Count()
	c.report.Bytes += size
	return nil
}

// checkDedupe looks for the entry of a message, with the hash of what was appended. That of
// a revision entry has the hash of a request that is not kept.
func (c *checker) checkDedupe(h *tidemark.Head, m *tidemark.Message) error {
	e, found, err := c.look.dedupe(h.Number, m.ID)
	if err != nil {
		return err
	}
	if !found || e.SeqID != m.SeqID || m.Revises == nil && !e.Matches(appended(m)) {
		return damaged(appendDedupeKey(nil, h.Number, m.ID), "entry of message %d is missing, or not that of the message", m.SeqID)
	}
	return nil
}

// appended is the content hash that a message had before any revision.
func appended(m *tidemark.Message) tidemark.ContentHash {
	if m.Revision != nil {
		return m.Revision.Original
	}
	return m.Hash(tidemark.HashPayload(m.Payload))
}

func (c *checker) checkSender(h *tidemark.Head, seq tidemark.SeqID, user string) error {
	c.sent++
	key := appendSenderKey(nil, h.Number, user, seq)
	_, found, err := c.look.find(key)
	if err == nil && !found {
		err = damaged(key, "entry is missing")
	}
	return err
}

// countSenders counts the entries of a timeline, of which each message with a sender has
// one of its own, and follows the ordinals of each user.
func (c *checker) countSenders(h *tidemark.Head) error {
	count, before, user := uint64(0), uint64(0), ""
	for ; c.senders.at(tableSender, h.Number); c.senders.next() {
		key := c.senders.iter.key()
		_, name, seq, ok := splitSenderKey(key)
		if !ok {
			return damaged(key, "key is malformed")
		}
		value, err := c.senders.value()
		if err != nil {
			return err
		}
		ordinal, err := decodeOrdinal(key, value)
		if err != nil {
			return err
		}
		same := before > 0 && name == user
		if same && ordinal != before+1 || !same && h.First == 1 && ordinal != 1 {
			return damaged(key, "ordinal is %d, after %d", ordinal, before)
		}
		if seq >= h.First {
			count++
		} else if same {
			return damaged(key, "it is of a message that is gone, and not the first of its user")
		}
		user, before = name, ordinal
	}
	if err := c.senders.ended(); err != nil {
		return err
	}
	if count != c.sent {
		return damaged(appendNumberPrefix(nil, tableSender, h.Number), "there are %d entries of senders for %d messages", count, c.sent)
	}
	return nil
}

// checkRecipients counts the inboxes of a timeline's recipient set.
func (c *checker) checkRecipients(h *tidemark.Head) error {
	count := uint64(0)
	for ; c.recipients.at(tableRecipient, h.Number); c.recipients.next() {
		count++
	}
	if err := c.recipients.ended(); err != nil {
		return err
	}
	version, expected, err := c.look.recipientSet(h.Number)
	if err == nil && (count != expected || version == 0 && count > 0) {
		err = damaged(appendRecipientSetKey(nil, h.Number), "it has version %d and %d inboxes, and there are %d", version, expected, count)
	}
	return err
}

// countDedupe counts the entries of a timeline: each message but references has one of
// its own, so there are no others if there are as many.
func (c *checker) countDedupe(h *tidemark.Head) error {
	count := uint64(0)
	for ; c.dedupe.at(tableDedupe, h.Number); c.dedupe.next() {
		count++
	}
	if err := c.dedupe.ended(); err != nil {
		return err
	}
	if count != c.own {
		return damaged(appendHeadKey(nil, h.Timeline), "it has %d messages of its own and %d dedupe entries", c.own, count)
	}
	return nil
}

func (c *checker) checkCursors(h *tidemark.Head) error {
	for ; c.cursors.at(tableCursor, h.Number); c.cursors.next() {
		key := c.cursors.iter.key()
		record, err := c.cursors.value()
		if err != nil {
			return err
		}
		cursor, err := decodeCursor(key, record)
		if err != nil {
			return err
		}
		if cursor.Delivered > h.Last || cursor.Floor > h.Last+1 {
			return damaged(key, "delivered %d or floor %d is past the last message %d", cursor.Delivered, cursor.Floor, h.Last)
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
	return c.cursors.ended()
}
