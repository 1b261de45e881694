package pebblestore

import (
	"slices"

	"tidemark"
)

// checkRevision checks a message that was revised: the newest of its revision entries is
// there, and says what the message has become. A redacted one is counted as redacted.
func (c *checker) checkRevision(h *tidemark.Head, m *tidemark.Message) error {
	at := m.Revision.SeqID
	key := appendMessageKey(nil, h.Number, at)
	record, found, err := c.look.find(key)
	if err != nil {
		return err
	}
	if !found {
		return damaged(key, "message %d says that its revision %d is there", m.SeqID, m.Revision.Number)
	}
	entry, err := decodeMessage(h.Timeline, key, record)
	if err != nil {
		return err
	}
	want := tidemark.Revises{SeqID: m.SeqID, Number: m.Revision.Number, Redacted: m.Revision.Redacted}
	if !m.Revision.Redacted {
		want.Content = m.Hash(tidemark.HashPayload(m.Payload))
	}
	if entry.Revises == nil || *entry.Revises != want || entry.ServerTime != m.Revision.Time {
		return damaged(key, "it is not revision %d of message %d, or not of its content", m.Revision.Number, m.SeqID)
	}
	if !m.Revision.Redacted {
		return nil
	}
	return c.expectRedacted(h.Number, m.SeqID)
}

func (c *checker) expectRedacted(number uint64, seq tidemark.SeqID) error {
	key := appendRedactedKey(nil, number, everyone, redactedMessages, uint64(seq))
	_, found, err := c.look.find(key)
	if err == nil && !found {
		err = damaged(key, "entry is missing")
	}
	return err
}

// checkDeliveries checks that each delivery list is that of a message, and that what it
// names refers to the message as long as the inbox keeps it, and is counted as redacted
// if the message is.
func (c *checker) checkDeliveries(h *tidemark.Head) error {
	for ; c.deliveries.at(tableDelivery, h.Number); c.deliveries.next() {
		key := slices.Clone(c.deliveries.iter.key())
		_, seq, ok := splitMessageKey(key)
		if !ok || seq < h.First || seq > h.Last {
			return damaged(key, "there is no such message")
		}
		record, err := c.deliveries.value()
		if err != nil {
			return err
		}
		list, err := decodeDeliveries(key, record)
		if err != nil {
			return err
		}
		source, err := c.look.message(h.Timeline, h.Number, seq)
		if err != nil {
			return err
		}
		for _, delivery := range list {
			if err := c.checkDelivery(key, delivery, h.Number, &source); err != nil {
				return err
			}
		}
	}
	return c.deliveries.ended()
}

func (c *checker) checkDelivery(key []byte, delivery Delivery, number uint64, source *tidemark.Message) error {
	if delivery.Inbox >= c.next {
		return damaged(key, "there is no timeline number %d", delivery.Inbox)
	}
	id, err := c.look.timelineID(delivery.Inbox)
	if err != nil {
		return err
	}
	inbox, found, err := c.look.anyHead(id)
	if err != nil {
		return err
	}
	if !found || delivery.SeqID > inbox.Last {
		return damaged(key, "inbox %q has no message %d", id, delivery.SeqID)
	}
	if delivery.SeqID < inbox.First {
		return nil
	}
	at := appendMessageKey(nil, delivery.Inbox, delivery.SeqID)
	record, found, err := c.look.find(at)
	if err != nil {
		return err
	}
	if !found {
		return damaged(at, "record is missing")
	}
	_, r, err := decodeRecord(id, at, record)
	if err != nil {
		return err
	}
	if r.number != number || r.seq != source.SeqID {
		return damaged(key, "message %d of inbox %q does not refer to it", delivery.SeqID, id)
	}
	if source.Revision != nil && source.Revision.Redacted {
		return c.expectRedacted(delivery.Inbox, delivery.SeqID)
	}
	return nil
}

// redactedOf is what the index of redactions has of one user, or of everyone.
type redactedOf struct {
	user string
	// messages counts the entries, and inBlock those of each block.
	messages uint64
	inBlock  map[uint64]uint64
}

// checkRedactions checks the index of redactions: an entry for everyone is that of a
// message that is redacted, there is one more under the name of its user and no other, and
// blocks have the right counts. Blocks with trimmed messages in them may count those too.
func (c *checker) checkRedactions(h *tidemark.Head) error {
	want := make(map[string]uint64) // entries by user, from those of everyone
	got := redactedOf{inBlock: make(map[uint64]uint64)}
	finish := func() error {
		if got.user != everyone && got.messages != want[got.user] {
			return damaged(appendRedactedPrefix(nil, h.Number, got.user, redactedMessages), "there are %d entries; %d messages are redacted", got.messages, want[got.user])
		}
		delete(want, got.user)
		for block, count := range got.inBlock {
			if block > uint64(h.First)>>redactedBlockBits {
				return damaged(appendRedactedKey(nil, h.Number, got.user, redactedBlocks, block), "count of %d is missing", count)
			}
		}
		return nil
	}
	for ; c.redacted.at(tableRedacted, h.Number); c.redacted.next() {
		key := slices.Clone(c.redacted.iter.key())
		_, user, kind, at, ok := splitRedactedKey(key)
		if !ok {
			return damaged(key, "key is malformed")
		}
		value, err := c.redacted.value()
		if err != nil {
			return err
		}
		if user != got.user {
			if err := finish(); err != nil {
				return err
			}
			got = redactedOf{user: user, inBlock: make(map[uint64]uint64)}
		}
		if kind == redactedBlocks {
			count, err := decodeOrdinal(key, value)
			if err != nil {
				return err
			}
			whole := at > uint64(h.First)>>redactedBlockBits
			if have := got.inBlock[at]; whole && count != have || count < have {
				return damaged(key, "it is %d, and the block has %d redacted messages", count, have)
			}
			delete(got.inBlock, at)
			continue
		}
		got.messages++
		got.inBlock[at>>redactedBlockBits]++
		if user == everyone {
			want[string(value)]++
		}
		if err := c.checkRedacted(h, key, user, tidemark.SeqID(at), value); err != nil {
			return err
		}
	}
	if err := c.redacted.ended(); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	delete(want, everyone)
	for user, count := range want {
		return damaged(appendRedactedPrefix(nil, h.Number, user, redactedMessages), "%d entries are missing", count)
	}
	return nil
}

// checkRedacted checks one entry of the index.
func (c *checker) checkRedacted(h *tidemark.Head, key []byte, user string, seq tidemark.SeqID, value []byte) error {
	if user != everyone {
		if len(value) != 0 {
			return damaged(key, "entry is malformed")
		}
		return nil
	}
	if seq < h.First || seq > h.Last {
		return damaged(key, "there is no such message")
	}
	at := appendMessageKey(nil, h.Number, seq)
	record, found, err := c.look.find(at)
	if err != nil {
		return err
	}
	if !found {
		return damaged(at, "record is missing")
	}
	stored, r, err := decodeRecord(h.Timeline, at, record)
	if err != nil {
		return err
	}
	sender, _ := sentBy(&stored, r)
	m, err := c.look.decode(h.Timeline, at, record)
	if err != nil {
		return err
	}
	redacted := m.Revision != nil && m.Revision.Redacted || m.Source != nil && m.Source.Gone
	if !redacted || m.Revises != nil || string(value) != sender {
		return damaged(key, "message %d was not redacted, or not sent by %q", seq, value)
	}
	return nil
}

// sentBy is the name under which the index of senders counts a record, if it does.
func sentBy(stored *tidemark.Message, r reference) (user string, counted bool) {
	switch {
	case r != (reference{}):
		return r.user, r.user != "" || r.revision
	case stored.Revises != nil:
		return revisions, true
	}
	user = tidemark.UserOf(stored.Sender)
	return user, user != ""
}
