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
	record, err := s.view.record(r.number, r.seq)
	if err != nil {
		return err
	}
	source, err := decodeMessage(id, s.view.key, record)
	if err != nil {
		return err
	}
	inbox := m.Timeline
	m.Draft = source.Draft
	m.Timeline = inbox
	m.Source = &tidemark.Source{Timeline: id, SeqID: source.SeqID, Digest: source.Digest}
	return nil
}

// PutReference writes an entry of an inbox, which refers to a message. The head is the
// caller's to put. The sender is the source's.
func (b *Batch) PutReference(number uint64, seq tidemark.SeqID, serverTime tidemark.Time, digest tidemark.Digest, sourceNumber uint64, source tidemark.SeqID, sender string) {
	if b.err != nil {
		return
	}
	r := reference{sourceNumber, source}
	op := b.out.SetDeferred(messageKeyBytes, referenceRecordSize(r))
	appendMessageKey(op.Key[:0], number, seq)
	appendReference(op.Value[:0], serverTime, digest, r)
	b.finish(op)
	if user := tidemark.UserOf(sender); user != "" && b.err == nil {
		b.countSent(number, user, seq)
	}
}
