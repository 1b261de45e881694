package pebblestore

import (
	"fmt"
	"maps"
	"slices"

	"tidemark"
)

// Trim takes away the messages of a timeline before first, with their dedupe entries, those
// of their senders, and what is known of their redactions and deliveries. The head is as the batch would leave it, and Last+1 is the most
// that first may be; it is changed, and the caller's to put. It reads each message that it
// takes away.
func (b *Batch) Trim(h *tidemark.Head, first tidemark.SeqID) error {
	if b.err != nil {
		return b.err
	}
	if first <= h.First || first > h.Last+1 {
		return fmt.Errorf("trim %q to %d, which holds %d to %d", h.Timeline, first, h.First, h.Last)
	}
	var key []byte
	senders := make(map[string]tidemark.SeqID) // the last message of each user that is taken away
	from := h.First
	for seq := h.First; seq < first; seq++ {
		record, err := b.record(h.Number, seq)
		if err != nil {
			return err
		}
		key = appendMessageKey(key[:0], h.Number, seq)
		m, r, err := decodeRecord(h.Timeline, key, record)
		if err != nil {
			return err
		}
		user, revision := r.user, r.revision || m.Revises != nil
		if r.number == 0 {
			if user = tidemark.UserOf(m.Sender); revision {
				user = revisions
			}
			h.Bytes -= uint64(m.Size())
			key = appendDedupeKey(key[:0], h.Number, m.ID)
			b.out.delete(key)
			b.places[placeKey{h.Number, string(m.ID)}] = DedupeEntry{}
		}
		if user != "" || revision {
			senders[user] = seq
		}
		h.TrimmedDigest = m.Digest
		delete(b.records, recordKey{h.Number, seq})
	}
	for _, user := range slices.Sorted(maps.Keys(senders)) {
		if err := b.trimSent(placeKey{h.Number, user}, senders[user]); err != nil {
			return err
		}
	}
	if err := b.trimRedacted(h.Number, from, first); err != nil {
		return err
	}
	if err := b.trimDeliveries(h.Number, from, first); err != nil {
		return err
	}
	h.First = first
	b.changed(tidemark.ChangeTrimmed, h.Number, first)
	b.out.deleteRange(appendMessageKey(nil, h.Number, from), appendMessageKey(nil, h.Number, first))
	return nil
}

// record is that of a message as this batch would leave it.
func (b *Batch) record(number uint64, seq tidemark.SeqID) ([]byte, error) {
	if record, ok := b.records[recordKey{number, seq}]; ok {
		return record, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	return b.view.record(number, seq)
}

// trimSent takes away the entries of a user up to a message, but for the user's last one,
// however old it is: the ordinals go on behind it.
func (b *Batch) trimSent(at placeKey, upTo tidemark.SeqID) error {
	later := b.sentAt[at] > upTo
	if !later && !b.cleared[at.number] {
		b.view.key = appendSenderKey(b.view.key[:0], at.number, at.name, upTo+1)
		ordinal, err := b.view.ordinalHere(b.view.iter.seekGE(b.view.key), at.number, at.name)
		if err != nil {
			return err
		}
		later = ordinal > 0
	}
	end := upTo
	if later {
		end++
	}
	b.out.deleteRange(appendSenderKey(nil, at.number, at.name, 0), appendSenderKey(nil, at.number, at.name, end))
	return nil
}

// DeleteTimeline takes away everything of a timeline but its head, which it changes, and
// which is the caller's to put. It returns how many writes that took.
func (b *Batch) DeleteTimeline(h *tidemark.Head) (writes int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	readers, err := b.readersOf(h.Number)
	if err != nil {
		return 0, err
	}
	for _, reader := range readers {
		b.out.delete(appendReaderKey(nil, reader, h.Number))
	}
	for _, table := range []byte{tableMessage, tableDedupe, tableCursor, tableSender, tableRecipient, tableDelivery, tableRedacted} {
		b.out.deleteRange(appendNumberPrefix(nil, table, h.Number), appendNumberPrefix(nil, table, h.Number+1))
	}
	for _, key := range [][]byte{appendRecipientSetKey(nil, h.Number), appendAttributesKey(nil, h.Number)} {
		b.out.delete(key)
	}
	writes = deleteWrites + len(readers)
	b.forget(h.Number)
	b.changed(tidemark.ChangeDeleted, h.Number, h.Last)
	h.First, h.TrimmedDigest, h.Bytes, h.Deleted = h.Last+1, h.Digest, 0, true
	return writes, nil
}

// deleteWrites is about what a deletion costs beside its cursors: range deletions are
// dearer than others.
const deleteWrites = 64

// readersOf are the readers with a cursor in the timeline, in the store.
func (b *Batch) readersOf(number uint64) (readers []tidemark.ReaderID, err error) {
	if b.cleared[number] {
		return nil, nil
	}
	prefix := appendNumberPrefix(nil, tableCursor, number)
	err = b.view.scan(prefix, prefix, func(key, _ []byte) (bool, error) {
		readers = append(readers, tidemark.ReaderID(key[len(prefix):]))
		return true, nil
	})
	return readers, err
}

// forget drops what the batch knows of a timeline, and has it look into the store no more.
func (b *Batch) forget(number uint64) {
	b.cleared[number] = true
	deleteOf(b.places, number)
	deleteOf(b.cursors, number)
	deleteOf(b.sent, number)
	deleteOf(b.sentAt, number)
	ofTimeline := func(key recordKey) bool { return key.number == number }
	maps.DeleteFunc(b.records, func(key recordKey, _ []byte) bool { return ofTimeline(key) })
	maps.DeleteFunc(b.redacted, func(key recordKey, _ string) bool { return ofTimeline(key) })
	maps.DeleteFunc(b.deliveries, func(key recordKey, _ []Delivery) bool { return ofTimeline(key) })
	maps.DeleteFunc(b.blocks, func(key redactedBlock, _ uint64) bool { return key.number == number })
	delete(b.recipients, number)
	delete(b.attributes, number)
	kept := b.cursorOrder[:0]
	for _, at := range b.cursorOrder {
		if at.number != number {
			kept = append(kept, at)
		}
	}
	b.cursorOrder = kept
}

func deleteOf[V any](m map[placeKey]V, number uint64) {
	for key := range m {
		if key.number == number {
			delete(m, key)
		}
	}
}
