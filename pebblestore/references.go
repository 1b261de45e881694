package pebblestore

import (
	"github.com/cockroachdb/pebble/v2"

	"tidemark"
)

// sources looks up what references refer to, with an iterator of its own, so that the
// one that walks the inbox stays where it is.
type sources struct {
	view view
	// ids are the timelines of the sources by number.
	ids map[uint64]tidemark.TimelineID
}

// decode returns the message of a record; that of a reference is the source's, under the
// place and time that the inbox gave to it.
func (v *view) decode(timeline tidemark.TimelineID, key, record []byte) (tidemark.Message, error) {
	m, r, err := decodeRecord(timeline, key, record)
	if err != nil || r == (reference{}) {
		return m, err
	}
	if v.sources == nil {
		iter, err := v.iter.Clone(pebble.CloneOptions{})
		if err != nil {
			return m, wrapPebble(err)
		}
		v.sources = &sources{view: view{iter: iter}, ids: make(map[uint64]tidemark.TimelineID)}
	}
	return m, v.sources.resolve(&m, r)
}

// resolve fills in what the source of a reference has.
func (s *sources) resolve(m *tidemark.Message, r reference) error {
	id, known := s.ids[r.number]
	if !known {
		var err error
		if id, err = s.view.timelineID(r.number); err != nil {
			return err
		}
		s.ids[r.number] = id
	}
	m.Source = &tidemark.Source{Timeline: id, SeqID: r.seq, Digest: r.digest}
	m.ID = r.id
	key := appendMessageKey(nil, r.number, r.seq)
	record, found, err := s.view.find(key)
	if err != nil {
		return err
	}
	if !found {
		return s.gone(m, key)
	}
	source, err := decodeMessage(id, key, record)
	if err != nil {
		return err
	}
	if source.Digest != r.digest || source.ID != r.id {
		return damaged(key, "it is not the message that %q refers to", m.Timeline)
	}
	inbox := m.Timeline
	m.Draft = source.Draft
	m.Timeline = inbox
	return nil
}

// gone leaves an entry without the content of its source, if that was trimmed or deleted.
func (s *sources) gone(m *tidemark.Message, key []byte) error {
	h, found, err := s.view.anyHead(m.Source.Timeline)
	if err == nil && (!found || m.Source.SeqID >= h.First) {
		err = damaged(key, "record is missing")
	}
	m.Source.Gone = true
	return err
}

// PutReference writes the last entry of an inbox, which refers to a message: the head is
// that of the inbox with the entry, and is the caller's to put.
func (b *Batch) PutReference(h *tidemark.Head, source *tidemark.Message, sourceNumber uint64) {
	if b.err != nil {
		return
	}
	number, seq, user := h.Number, h.Last, tidemark.UserOf(source.Sender)
	r := &reference{sourceNumber, source.SeqID, source.Digest, source.ID, user}
	op := b.out.SetDeferred(messageKeyBytes, referenceRecordSize(r))
	appendMessageKey(op.Key[:0], number, seq)
	record := appendReference(op.Value[:0], h.LastTime, h.Digest, r)
	b.finish(op)
	b.records[recordKey{number, seq}] = record
	if user != "" && b.err == nil {
		b.countSent(number, user, seq)
	}
}
