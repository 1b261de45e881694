package pebblestore

import (
	"encoding/binary"
	"time"

	"tidemark"
)

func appendPolicyKey(b []byte, prefix string) []byte {
	return append(append(b, tablePolicy), prefix...)
}

const flagAckedByAll byte = 1 << 0

func appendPolicy(b []byte, p *tidemark.Policy) []byte {
	var flags byte
	if p.AckedByAll {
		flags |= flagAckedByAll
	}
	b = append(b, recordVersion, flags)
	b = binary.AppendUvarint(b, uint64(p.MaxAge))
	b = binary.AppendUvarint(b, p.MaxMessages)
	b = binary.AppendUvarint(b, p.MaxBytes)
	b = binary.AppendUvarint(b, p.KeepAtLeast)
	b = binary.AppendUvarint(b, uint64(len(p.AckedBy)))
	for _, reader := range p.AckedBy {
		b = appendText(b, reader)
	}
	return b
}

func decodePolicy(key, record []byte) (tidemark.Policy, error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return tidemark.Policy{}, err
	}
	flags := d.u8()
	p := tidemark.Policy{
		Prefix: string(key[1:]), AckedByAll: flags&flagAckedByAll != 0,
		MaxAge: time.Duration(d.uvarint()), MaxMessages: d.uvarint(), MaxBytes: d.uvarint(), KeepAtLeast: d.uvarint(),
	}
	readers := d.uvarint()
	for i := uint64(0); i < readers && !d.bad; i++ {
		p.AckedBy = append(p.AckedBy, tidemark.ReaderID(d.text()))
	}
	d.bad = d.bad || flags&^flagAckedByAll != 0
	return p, d.finish(key)
}

// SetPolicy replaces the policy of its prefix, or takes it away if it is empty.
func (b *Batch) SetPolicy(p *tidemark.Policy) error {
	if b.err != nil {
		return b.err
	}
	b.policies[p.Prefix] = !p.Empty()
	if p.Empty() {
		b.out.delete(appendPolicyKey(nil, p.Prefix))
		return nil
	}
	b.out.set(appendPolicyKey(nil, p.Prefix), appendPolicy(nil, p))
	return nil
}

// CountPolicies is how many policies there are but that of the prefix, as this batch would
// leave them.
func (b *Batch) CountPolicies(but string) (count int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	key := []byte{tablePolicy}
	err = b.view.scan(key, key, func(key, _ []byte) (bool, error) {
		if _, changed := b.policies[string(key[1:])]; !changed && string(key[1:]) != but {
			count++
		}
		return true, nil
	})
	for prefix, there := range b.policies {
		if there && prefix != but {
			count++
		}
	}
	return count, err
}

// Policies are all policies, in byte order of their prefixes, with an applied index that
// covers them.
func (s *Store) Policies() (policies []tidemark.Policy, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return nil, 0, err
	}
	defer v.close()
	if applied, err = v.appliedIndex(); err != nil {
		return nil, 0, err
	}
	key := []byte{tablePolicy}
	err = v.scan(key, key, func(key, record []byte) (bool, error) {
		p, err := decodePolicy(key, record)
		policies = append(policies, p)
		return true, err
	})
	return policies, applied, err
}

// TrimPoint is the first message of a timeline that the policy keeps, now being the
// leader's clock; it is at most Last+1. Of a policy by bytes it looks at no more than
// tidemark.MaxTrimMessages messages, so that there may be more to trim afterwards. The
// timeline is ErrTimelineNotFound if it is not there any more.
func (s *Store) TrimPoint(id tidemark.TimelineID, p *tidemark.Policy, now tidemark.Time) (first tidemark.SeqID, h tidemark.Head, err error) {
	v, err := s.view()
	if err != nil {
		return 0, h, err
	}
	defer v.close()
	if h, err = v.mustHead(id); err != nil {
		return 0, h, err
	}
	if p.Empty() {
		return h.First, h, nil
	}
	first = h.Last + 1
	for _, newest := range []uint64{p.MaxMessages, p.KeepAtLeast} {
		if newest > 0 {
			first = min(first, h.Last+1-tidemark.SeqID(min(newest, uint64(h.Last))))
		}
	}
	if p.MaxAge > 0 && first > h.First {
		young, err := v.firstAt(&h, func(t tidemark.Time) bool { return t >= now-tidemark.Time(p.MaxAge) })
		if err != nil {
			return 0, h, err
		}
		first = min(first, young)
	}
	if (p.AckedByAll || len(p.AckedBy) > 0) && first > h.First {
		acked, err := v.ackedTo(&h, p)
		if err != nil {
			return 0, h, err
		}
		first = min(first, acked+1)
	}
	if p.MaxBytes > 0 && first > h.First {
		if first, err = v.beyondBytes(&h, first, p.MaxBytes); err != nil {
			return 0, h, err
		}
	}
	return max(first, h.First), h, nil
}

// ackedTo is the last message that all readers have delivered that the policy asks about.
func (v *view) ackedTo(h *tidemark.Head, p *tidemark.Policy) (tidemark.SeqID, error) {
	acked := h.Last
	for _, reader := range p.AckedBy {
		c, err := v.cursorOrNone(h, reader)
		if err != nil {
			return 0, err
		}
		acked = min(acked, c.Delivered)
	}
	if !p.AckedByAll {
		return acked, nil
	}
	cursors := 0
	prefix := appendNumberPrefix(nil, tableCursor, h.Number)
	err := v.scan(prefix, prefix, func(key, record []byte) (bool, error) {
		c, err := decodeCursor(key, record)
		cursors++
		acked = min(acked, c.Delivered)
		return err == nil && acked >= h.First, err
	})
	if cursors == 0 {
		acked = 0
	}
	return acked, err
}

// beyondBytes is the first message, at most first, without which the timeline would have
// less than the bytes.
func (v *view) beyondBytes(h *tidemark.Head, first tidemark.SeqID, bytes uint64) (tidemark.SeqID, error) {
	left := h.Bytes
	for seq := h.First; seq < min(first, h.First+tidemark.MaxTrimMessages); seq++ {
		record, err := v.record(h.Number, seq)
		if err != nil {
			return 0, err
		}
		m, r, err := decodeRecord(h.Timeline, v.key, record)
		if err != nil {
			return 0, err
		}
		size := uint64(0)
		if r.number == 0 {
			size = uint64(m.Size())
		}
		if left-size < bytes {
			return seq, nil
		}
		left -= size
	}
	return min(first, h.First+tidemark.MaxTrimMessages), nil
}
