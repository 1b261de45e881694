package pebblestore

import (
	"encoding/binary"
	"slices"

	"tidemark"
)

// RecipientSet is the recipient set of a timeline.
type RecipientSet struct {
	// Version counts its changes; 0 for one that was never set.
	Version uint64
	// Inboxes are in byte order.
	Inboxes []tidemark.TimelineID
}

func appendRecipientKey(b []byte, number uint64, inbox tidemark.TimelineID) []byte {
	return append(appendNumberPrefix(b, tableRecipient, number), inbox...)
}

func appendRecipientSetKey(b []byte, number uint64) []byte {
	return appendNumberPrefix(b, tableRecipientSet, number)
}

func appendRecipientSet(b []byte, version, count uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(b, recordVersion), version), count)
}

func decodeRecipientSet(key, record []byte) (version, count uint64, err error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return 0, 0, err
	}
	version, count = d.uvarint(), d.uvarint()
	d.bad = d.bad || version == 0
	return version, count, d.finish(key)
}

// recipientSet reads the version and the number of inboxes of a set; 0 if there is none.
func (v *view) recipientSet(number uint64) (version, count uint64, err error) {
	v.key = appendRecipientSetKey(v.key[:0], number)
	record, found, err := v.find(v.key)
	if err != nil || !found {
		return 0, 0, err
	}
	return decodeRecipientSet(v.key, record)
}

// recipients reads a set from after an inbox on ("" for the start), and at most limit inboxes.
func (v *view) recipients(number uint64, after tidemark.TimelineID, limit int) (inboxes []tidemark.TimelineID, err error) {
	prefix := appendNumberPrefix(nil, tableRecipient, number)
	from := appendRecipientKey(nil, number, after)
	if after != "" {
		from = append(from, 0)
	}
	err = v.scan(prefix, from, func(key, _ []byte) (bool, error) {
		inboxes = append(inboxes, tidemark.TimelineID(key[len(prefix):]))
		return len(inboxes) < limit, nil
	})
	return inboxes, err
}

// Recipients returns the set of a timeline as this batch would leave it. It is not to be
// changed, and is valid until the next SetRecipients.
func (b *Batch) Recipients(number uint64) (*RecipientSet, error) {
	if set, ok := b.recipients[number]; ok {
		return set, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	if b.cleared[number] {
		return &RecipientSet{}, nil
	}
	version, count, err := b.view.recipientSet(number)
	if err != nil {
		return nil, err
	}
	set := &RecipientSet{Version: version}
	if count > 0 {
		if set.Inboxes, err = b.view.recipients(number, "", int(count)+1); err != nil {
			return nil, err
		}
	}
	if uint64(len(set.Inboxes)) != count {
		return nil, damaged(appendRecipientSetKey(nil, number), "it has %d inboxes, and there are %d", count, len(set.Inboxes))
	}
	b.recipients[number] = set
	return set, nil
}

// SetRecipients replaces the set of a timeline, whose inboxes must be in byte order.
func (b *Batch) SetRecipients(number uint64, set *RecipientSet) error {
	before, err := b.Recipients(number)
	if err != nil {
		return err
	}
	var key []byte
	for _, inbox := range before.Inboxes {
		if _, stays := slices.BinarySearch(set.Inboxes, inbox); !stays {
			key = appendRecipientKey(key[:0], number, inbox)
			b.out.delete(key)
		}
	}
	for _, inbox := range set.Inboxes {
		if _, there := slices.BinarySearch(before.Inboxes, inbox); !there {
			key = appendRecipientKey(key[:0], number, inbox)
			b.out.set(key, nil)
		}
	}
	key = appendRecipientSetKey(key[:0], number)
	b.out.set(key, appendRecipientSet(nil, set.Version, uint64(len(set.Inboxes))))
	b.recipients[number] = set
	return nil
}

// Recipients pages the recipient set of a timeline, after one of its inboxes ("" for the
// start), or returns ErrTimelineNotFound.
func (s *Store) Recipients(id tidemark.TimelineID, after tidemark.TimelineID, limit int) (page tidemark.RecipientPage, err error) {
	if err := validateLimit(limit); err != nil {
		return page, err
	}
	v, err := s.view()
	if err != nil {
		return page, err
	}
	defer v.close()
	h, err := v.mustHead(id)
	if err != nil {
		return page, err
	}
	if page.Applied, err = v.appliedIndex(); err != nil {
		return page, err
	}
	if page.Version, page.Count, err = v.recipientSet(h.Number); err != nil {
		return page, err
	}
	if page.Inboxes, err = v.recipients(h.Number, after, limit+1); err != nil {
		return page, err
	}
	if page.More = len(page.Inboxes) > limit; page.More {
		page.Inboxes = page.Inboxes[:limit]
	}
	return page, nil
}

// CountRecipients is how many inboxes the recipient set of a timeline has; 0 for a
// timeline that does not exist.
func (s *Store) CountRecipients(id tidemark.TimelineID) (uint64, error) {
	v, err := s.view()
	if err != nil {
		return 0, err
	}
	defer v.close()
	h, found, err := v.head(id)
	if err != nil || !found {
		return 0, err
	}
	_, count, err := v.recipientSet(h.Number)
	return count, err
}
