package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"tidemark"
)

const (
	flagClientTime byte = 1 << 0
	flagReference  byte = 1 << 1
	// flagRevised is of a message that was revised; flagRevision is of a revision entry, or
	// of a reference to one.
	flagRevised  byte = 1 << 2
	flagRevision byte = 1 << 4
	knownFlags        = flagClientTime | flagReference | flagRevised | flagRevision

	serverTimeOffset = 2
	digestOffset     = serverTimeOffset + 8
	messageFixed     = digestOffset + 16
)

// messageRecordSize is the exact number of bytes that appendMessage appends.
func messageRecordSize(m *tidemark.Message) int {
	size := messageFixed
	if r := m.Revises; r != nil {
		return size + uvarintSize(uint64(r.SeqID)) + uvarintSize(r.Number) + 1 + len(r.Content) + textSize(len(m.ID)) + textSize(len(m.Sender))
	}
	if r := m.Revision; r != nil {
		size += uvarintSize(r.Number) + 8 + uvarintSize(uint64(r.SeqID)) + 1 + len(r.Original)
	}
	if m.ClientTime != tidemark.NoTime {
		size += 8
	}
	size += textSize(len(m.ID)) + textSize(len(m.Sender)) + textSize(len(m.Type)) + textSize(len(m.Payload))
	size += uvarintSize(uint64(len(m.Attributes)))
	for i := range m.Attributes {
		size += textSize(len(m.Attributes[i].Key)) + textSize(len(m.Attributes[i].Value))
	}
	return size
}

func textSize(n int) int { return uvarintSize(uint64(n)) + n }

func uvarintSize(v uint64) int {
	size := 1
	for v >= 0x80 {
		v >>= 7
		size++
	}
	return size
}

// appendMessage encodes m; see the package comment.
func appendMessage(b []byte, m *tidemark.Message) []byte {
	var flags byte
	switch {
	case m.Revises != nil:
		flags |= flagRevision
	case m.ClientTime != tidemark.NoTime:
		flags |= flagClientTime
	}
	if m.Revision != nil {
		flags |= flagRevised
	}
	b = append(b, recordVersion, flags)
	b = appendTime(b, m.ServerTime)
	b = append(b, m.Digest[:]...)
	if m.Revises != nil {
		return appendRevises(b, m)
	}
	if flags&flagClientTime != 0 {
		b = appendTime(b, m.ClientTime)
	}
	if r := m.Revision; r != nil {
		b = binary.AppendUvarint(b, r.Number)
		b = appendTime(b, r.Time)
		b = binary.AppendUvarint(b, uint64(r.SeqID))
		b = appendBool(b, r.Redacted)
		b = append(b, r.Original[:]...)
	}
	b = appendText(b, m.ID)
	b = appendText(b, m.Sender)
	b = appendText(b, m.Type)
	b = binary.AppendUvarint(b, uint64(len(m.Attributes)))
	for i := range m.Attributes {
		b = appendText(b, m.Attributes[i].Key)
		b = appendText(b, m.Attributes[i].Value)
	}
	return appendText(b, m.Payload)
}

// appendRevises encodes what a revision entry has behind the fixed fields. Its content is
// in the message that it revises.
func appendRevises(b []byte, m *tidemark.Message) []byte {
	r := m.Revises
	b = binary.AppendUvarint(b, uint64(r.SeqID))
	b = binary.AppendUvarint(b, r.Number)
	b = appendBool(b, r.Redacted)
	b = append(b, r.Content[:]...)
	b = appendText(b, m.ID)
	return appendText(b, m.Sender)
}

func appendBool(b []byte, value bool) []byte {
	if value {
		return append(b, 1)
	}
	return append(b, 0)
}

// reference is what an entry of an inbox refers to; the zero value is no reference.
type reference struct {
	number uint64
	seq    tidemark.SeqID
	digest tidemark.Digest
	id     tidemark.MessageID
	user   string
	// revision says that it refers to a revision entry. Its user is "" then.
	revision bool
}

// referenceRecordSize is the exact number of bytes that appendReference appends.
func referenceRecordSize(r *reference) int {
	return messageFixed + uvarintSize(r.number) + uvarintSize(uint64(r.seq)) + len(r.digest) + textSize(len(r.id)) + textSize(len(r.user))
}

// appendReference encodes an entry of an inbox.
func appendReference(b []byte, serverTime tidemark.Time, digest tidemark.Digest, r *reference) []byte {
	flags := flagReference
	if r.revision {
		flags |= flagRevision
	}
	b = append(b, recordVersion, flags)
	b = appendTime(b, serverTime)
	b = append(b, digest[:]...)
	b = binary.AppendUvarint(b, r.number)
	b = binary.AppendUvarint(b, uint64(r.seq))
	b = append(b, r.digest[:]...)
	b = appendText(b, r.id)
	return appendText(b, r.user)
}

// decodeMessage is decodeRecord where no reference can be.
func decodeMessage(timeline tidemark.TimelineID, key, record []byte) (tidemark.Message, error) {
	m, r, err := decodeRecord(timeline, key, record)
	if err == nil && r != (reference{}) {
		err = damaged(key, "it is a reference, where a message is expected")
	}
	return m, err
}

// decodeRecord returns the message of a record, whose texts and payload are in a copy of it.
// A reference, and a revision entry, leave what is another message's empty.
func decodeRecord(timeline tidemark.TimelineID, key, record []byte) (m tidemark.Message, r reference, err error) {
	return decodeOwn(timeline, key, bytes.Clone(record))
}

// decodeOwn is decodeRecord for a record that nobody will write to: texts and payload of the
// message are parts of it.
func decodeOwn(timeline tidemark.TimelineID, key, record []byte) (m tidemark.Message, r reference, err error) {
	_, seq, ok := splitMessageKey(key)
	if !ok {
		return m, r, damaged(key, "key is malformed")
	}
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return m, r, err
	}
	flags := d.u8()
	if flags&^knownFlags != 0 {
		return m, r, fmt.Errorf("%w: %s has flags %#02x; this version of tidemark knows %#02x", tidemark.ErrNewerFormat, describeKey(key), flags, knownFlags)
	}
	m = tidemark.Message{SeqID: seq, ServerTime: d.time(), Digest: d.digest()}
	m.Timeline, m.ClientTime = timeline, tidemark.NoTime
	if flags&flagReference != 0 {
		r = reference{number: d.uvarint(), seq: tidemark.SeqID(d.uvarint()), digest: d.digest()}
		r.id, r.user = tidemark.MessageID(d.ownString()), d.ownString()
		r.revision = flags&flagRevision != 0
		d.bad = d.bad || flags&^flagRevision != flagReference || r.number == 0 || r.seq == 0 || r.revision && r.user != ""
		return m, r, d.finish(key)
	}
	if flags&flagRevision != 0 {
		m.Revises = &tidemark.Revises{SeqID: tidemark.SeqID(d.uvarint()), Number: d.uvarint(), Redacted: d.boolean(), Content: d.content()}
		m.ID, m.Sender = tidemark.MessageID(d.ownString()), d.ownString()
		d.bad = d.bad || flags != flagRevision || m.Revises.SeqID == 0 || m.Revises.SeqID >= seq || m.Revises.Number == 0
		return m, r, d.finish(key)
	}
	if flags&flagClientTime != 0 {
		m.ClientTime = d.time()
		d.bad = d.bad || m.ClientTime == tidemark.NoTime
	}
	if flags&flagRevised != 0 {
		m.Revision = &tidemark.Revision{Number: d.uvarint(), Time: d.time(), SeqID: tidemark.SeqID(d.uvarint()), Redacted: d.boolean(), Original: d.content()}
		d.bad = d.bad || m.Revision.Number == 0 || m.Revision.SeqID <= seq
	}
	m.ID, m.Sender, m.Type = tidemark.MessageID(d.ownString()), d.ownString(), d.ownString()
	m.Attributes = d.attributes()
	if payload := d.text(); len(payload) > 0 {
		m.Payload = payload
	}
	return m, r, d.finish(key)
}

// attributes reads those of a record that nobody will write to.
func (d *decoder) attributes() tidemark.Attributes {
	count := d.uvarint()
	if count == 0 || count > uint64(len(d.rest)) {
		d.bad = d.bad || count > 0
		return nil
	}
	attributes := make(tidemark.Attributes, count)
	for i := range attributes {
		attributes[i] = tidemark.Attribute{Key: d.ownString(), Value: d.ownString()}
	}
	return attributes
}

// messageServerTime reads only the server time of a record.
func messageServerTime(key, record []byte) (tidemark.Time, error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return 0, err
	}
	d.u8()
	t := d.time()
	if d.bad {
		return 0, damaged(key, "record is malformed")
	}
	return t, nil
}

// messageDigest reads only the digest of a record.
func messageDigest(key, record []byte) (tidemark.Digest, error) {
	if _, err := messageServerTime(key, record); err != nil {
		return tidemark.Digest{}, err
	}
	d := decoder{rest: record[digestOffset:]}
	digest := d.digest()
	if d.bad {
		return tidemark.Digest{}, damaged(key, "record is malformed")
	}
	return digest, nil
}

// isReference reads only the flags of a record.
func isReference(record []byte) bool { return len(record) > 1 && record[1]&flagReference != 0 }

// hasOther reads only the flags of a record: whether its content is in that of another message.
func hasOther(record []byte) bool {
	return len(record) > 1 && record[1]&(flagReference|flagRevision) != 0
}
