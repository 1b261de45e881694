package pebblestore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"tidemark"
)

// The delivery list of a message says which inboxes its fan-out reached, so that a revision
// reaches the same ones, whatever became of the recipient set since.

// Delivery is one entry that a fan-out put into an inbox.
type Delivery struct {
	// Inbox is the number of the inbox.
	Inbox uint64
	// SeqID is that of the entry in it.
	SeqID tidemark.SeqID
}

func appendDeliveryKey(b []byte, number uint64, seq tidemark.SeqID) []byte {
	return binary.BigEndian.AppendUint64(appendNumberPrefix(b, tableDelivery, number), uint64(seq))
}

func appendDeliveries(b []byte, list []Delivery) []byte {
	b = append(b, recordVersion)
	for _, d := range list {
		b = binary.AppendUvarint(b, d.Inbox)
		b = binary.AppendUvarint(b, uint64(d.SeqID))
	}
	return b
}

func decodeDeliveries(key, record []byte) (list []Delivery, err error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return nil, err
	}
	d.bad = d.bad || len(d.rest) == 0
	for len(d.rest) > 0 && !d.bad {
		delivery := Delivery{Inbox: d.uvarint(), SeqID: tidemark.SeqID(d.uvarint())}
		d.bad = d.bad || delivery.Inbox == 0 || delivery.SeqID == 0
		list = append(list, delivery)
	}
	return list, d.finish(key)
}

// PutDeliveries writes the delivery list of a message, which is not empty. The batch keeps it.
func (b *Batch) PutDeliveries(number uint64, seq tidemark.SeqID, list []Delivery) {
	if b.err != nil {
		return
	}
	b.out.set(appendDeliveryKey(nil, number, seq), appendDeliveries(nil, list))
	b.deliveries[recordKey{number, seq}] = list
}

// Deliveries is the delivery list of a message as this batch would leave it; nil if it has none.
func (b *Batch) Deliveries(number uint64, seq tidemark.SeqID) ([]Delivery, error) {
	if list, ok := b.deliveries[recordKey{number, seq}]; ok || b.cleared[number] {
		return slices.Clone(list), nil
	}
	if b.err != nil {
		return nil, b.err
	}
	return b.view.deliveries(number, seq)
}

func (v *view) deliveries(number uint64, seq tidemark.SeqID) ([]Delivery, error) {
	v.key = appendDeliveryKey(v.key[:0], number, seq)
	record, found, err := v.find(v.key)
	if err != nil || !found {
		return nil, err
	}
	return decodeDeliveries(v.key, record)
}

// TimelineID is the id of the timeline with a number, which must exist.
func (b *Batch) TimelineID(number uint64) (tidemark.TimelineID, error) {
	if id, ok := b.created[number]; ok {
		return id, nil
	}
	if b.err != nil {
		return "", b.err
	}
	return b.view.timelineID(number)
}

// CountDeliveries says how many inboxes a revision of a message would reach: 0 if there is
// no such message, or it was not fanned out.
func (s *Store) CountDeliveries(id tidemark.TimelineID, seq tidemark.SeqID) (int, error) {
	v, err := s.view()
	if err != nil {
		return 0, err
	}
	defer v.close()
	h, found, err := v.head(id)
	if err != nil || !found {
		return 0, err
	}
	list, err := v.deliveries(h.Number, seq)
	return len(list), err
}

// trimDeliveries takes away the lists of the messages from a SeqID up to before another one.
func (b *Batch) trimDeliveries(number uint64, from, to tidemark.SeqID) error {
	some := false
	for key := range b.deliveries {
		if key.number == number && key.seq >= from && key.seq < to {
			some = true
			delete(b.deliveries, key)
		}
	}
	first, end := appendDeliveryKey(nil, number, from), appendDeliveryKey(nil, number, to)
	if !some && !b.cleared[number] {
		prefix := appendNumberPrefix(nil, tableDelivery, number)
		err := b.view.scan(prefix, first, func(key, _ []byte) (bool, error) {
			some = string(key) < string(end)
			return false, nil
		})
		if err != nil {
			return err
		}
	}
	if !some {
		return nil
	}
	b.out.deleteRange(first, end)
	return nil
}

// describeRevisionKey renders a key of the tables of deliveries and redactions, or any other.
func describeRevisionKey(key []byte) string {
	switch key[0] {
	case tableDelivery:
		if number, seq, ok := splitMessageKey(key); ok {
			return fmt.Sprintf("delivery list of message %d of timeline number %d", seq, number)
		}
	case tableRedacted:
		if number, user, kind, at, ok := splitRedactedKey(key); ok && kind == redactedBlocks {
			return fmt.Sprintf("count of redacted messages of %q in block %d of timeline number %d", user, at, number)
		} else if ok {
			return fmt.Sprintf("redaction of message %d by %q of timeline number %d", at, user, number)
		}
	}
	return fmt.Sprintf("key %x", key)
}
