package pebblestore

import "tidemark"

// sources looks up what references refer to, with an iterator of its own, so that the
// one that walks the inbox stays where it is.
type sources struct {
	view view
	// ids are the timelines of the sources by number.
	ids map[uint64]tidemark.TimelineID
}

// decode returns the message of a record; that of a reference is the source's, under the
// place and time that the inbox gave to it, and that of a revision entry has the content
// of the message that it revises.
func (v *view) decode(timeline tidemark.TimelineID, key, record []byte) (tidemark.Message, error) {
	m, r, err := decodeOwn(timeline, key, v.copyOf(record))
	if err != nil || r == (reference{}) && m.Revises == nil {
		return m, err
	}
	if v.sources == nil {
		iter, err := v.iter.clone()
		if err != nil {
			return m, err
		}
		v.sources = &sources{view: view{iter: iter}, ids: make(map[uint64]tidemark.TimelineID)}
	}
	if m.Revises != nil {
		number, _, _ := splitMessageKey(key)
		return m, v.sources.revised(&m, number)
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
	if source.Digest != r.digest || source.ID != r.id || r.revision != (source.Revises != nil) {
		return damaged(key, "it is not the message that %q refers to", m.Timeline)
	}
	if source.Revises != nil {
		if err := s.revised(&source, r.number); err != nil {
			return err
		}
	}
	inbox := m.Timeline
	m.Draft, m.Revision, m.Revises = source.Draft, source.Revision, source.Revises
	m.Timeline = inbox
	return nil
}

// revised gives a revision entry of the timeline with the number the content of the
// message that it revises, if it is the newest of its revisions.
func (s *sources) revised(m *tidemark.Message, number uint64) error {
	r := m.Revises
	key := appendMessageKey(nil, number, r.SeqID)
	record, found, err := s.view.find(key)
	if err != nil {
		return err
	}
	if !found {
		r.Gone = true
		return s.trimmed(m.Timeline, r.SeqID, key)
	}
	target, err := decodeMessage(m.Timeline, key, record)
	if err != nil {
		return err
	}
	if target.Revision == nil || target.Revision.Number < r.Number {
		return damaged(key, "it does not have revision %d, which message %d made", r.Number, m.SeqID)
	}
	if r.Superseded = target.Revision.Number > r.Number; !r.Superseded {
		m.Type, m.Attributes, m.Payload = target.Type, target.Attributes, target.Payload
	}
	return nil
}

// gone leaves an entry without the content of its source, if that was trimmed or deleted.
func (s *sources) gone(m *tidemark.Message, key []byte) error {
	m.Source.Gone = true
	return s.trimmed(m.Source.Timeline, m.Source.SeqID, key)
}

// trimmed reports a message that is missing without having been trimmed.
func (s *sources) trimmed(id tidemark.TimelineID, seq tidemark.SeqID, key []byte) error {
	h, found, err := s.view.anyHead(id)
	if err == nil && (!found || seq >= h.First) {
		err = damaged(key, "record is missing")
	}
	return err
}

// PutReference writes the last entry of an inbox, which refers to a message: the head is
// that of the inbox with the entry, and is the caller's to put.
func (b *Batch) PutReference(h *tidemark.Head, source *tidemark.Message, sourceNumber uint64) {
	if b.err != nil {
		return
	}
	number, seq, user := h.Number, h.Last, tidemark.UserOf(source.Sender)
	r := &reference{number: sourceNumber, seq: source.SeqID, digest: source.Digest, id: source.ID, user: user}
	if source.Revises != nil {
		r.user, r.revision = revisions, true
	}
	data := b.reserveMessage(number, seq, referenceRecordSize(r))
	b.putAt(number, seq, appendReference(data, h.LastTime, h.Digest, r))
	if (r.user != "" || r.revision) && b.err == nil {
		b.countSent(number, r.user, seq)
	}
}
