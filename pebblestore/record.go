package pebblestore

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"tidemark"
)

const (
	storeFormat   = 2
	recordVersion = 1
	// cursorVersion is that of a cursor with a floor. One without has recordVersion, so
	// that it can be read by those that know no floors.
	cursorVersion = 2
	// headVersion is that of a head of a timeline that was trimmed or deleted.
	headVersion = 2

	flagDeleted byte = 1 << 0

	dedupeEntryBytes = 8 + 16
)

// decoder takes a record apart. Every read checks what is left; after the first
// that does not fit, all return zero values and finish tells.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || len(d.rest) < n {
		d.bad = true
		return nil
	}
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) u8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// uvarint accepts only the shortest encoding, so that equal records have equal bytes.
func (d *decoder) uvarint() uint64 {
	value, n := binary.Uvarint(d.rest)
	if d.bad || n <= 0 || (n > 1 && d.rest[n-1] == 0) {
		d.bad = true
		return 0
	}
	d.rest = d.rest[n:]
	return value
}

// text returns a slice of the record, not a copy.
func (d *decoder) text() []byte {
	size := d.uvarint()
	if size > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	return d.take(int(size))
}

// ownString is text of a record that nobody will write to: it is a part of the record.
func (d *decoder) ownString() string {
	text := d.text()
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// boolean accepts only 0 and 1, so that equal records have equal bytes.
func (d *decoder) boolean() bool {
	b := d.u8()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) content() (hash tidemark.ContentHash) {
	copy(hash[:], d.take(len(hash)))
	return hash
}

func (d *decoder) time() tidemark.Time { return tidemark.Time(d.u64()) }

func (d *decoder) digest() (digest tidemark.Digest) {
	copy(digest[:], d.take(len(digest)))
	return digest
}

// version checks the version byte that every record starts with.
func (d *decoder) version(key []byte) error {
	_, err := d.versionUpTo(recordVersion, key)
	return err
}

// versionUpTo is version for a kind of record that has several.
func (d *decoder) versionUpTo(most byte, key []byte) (byte, error) {
	version := d.u8()
	if version > most {
		return version, fmt.Errorf("%w: %s has record version %d; this version of tidemark knows %d", tidemark.ErrNewerFormat, describeKey(key), version, most)
	}
	if version == 0 {
		d.bad = true
	}
	return version, nil
}

// finish reports damage unless the record was consumed exactly.
func (d *decoder) finish(key []byte) error {
	if d.bad || len(d.rest) != 0 {
		return damaged(key, "record is malformed")
	}
	return nil
}

// damaged is ErrCorrupt with the name of the key.
func damaged(key []byte, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", tidemark.ErrCorrupt, describeKey(key), fmt.Sprintf(format, args...))
}

func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTime(b []byte, t tidemark.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t))
}

func appendApplied(b []byte, a *tidemark.Applied) []byte {
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, a.Index)
	b = binary.BigEndian.AppendUint64(b, a.Term)
	b = binary.BigEndian.AppendUint64(b, a.MembershipIndex)
	b = binary.BigEndian.AppendUint64(b, a.InstalledIndex)
	return appendText(b, a.Membership)
}

func decodeApplied(record []byte) (tidemark.Applied, error) {
	d := decoder{rest: record}
	if err := d.version(keyApplied); err != nil {
		return tidemark.Applied{}, err
	}
	a := tidemark.Applied{Index: d.u64(), Term: d.u64(), MembershipIndex: d.u64(), InstalledIndex: d.u64()}
	if membership := d.text(); len(membership) > 0 {
		a.Membership = append([]byte(nil), membership...)
	}
	return a, d.finish(keyApplied)
}

func appendHead(b []byte, h *tidemark.Head) []byte {
	trimmed := h.First > 1 || h.Deleted
	version := byte(recordVersion)
	if trimmed {
		version = headVersion
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, h.Number)
	b = binary.AppendUvarint(b, uint64(h.First))
	b = binary.AppendUvarint(b, uint64(h.Last))
	b = binary.AppendUvarint(b, h.Bytes)
	b = appendTime(b, h.CreatedTime)
	b = appendTime(b, h.LastTime)
	b = append(b, h.Digest[:]...)
	if !trimmed {
		return b
	}
	var flags byte
	if h.Deleted {
		flags = flagDeleted
	}
	return append(append(b, flags), h.TrimmedDigest[:]...)
}

func decodeHead(key, record []byte) (tidemark.Head, error) {
	d := decoder{rest: record}
	version, err := d.versionUpTo(headVersion, key)
	if err != nil {
		return tidemark.Head{}, err
	}
	h := tidemark.Head{
		Timeline: tidemark.TimelineID(key[1:]),
		Number:   d.uvarint(), First: tidemark.SeqID(d.uvarint()), Last: tidemark.SeqID(d.uvarint()), Bytes: d.uvarint(),
		CreatedTime: d.time(), LastTime: d.time(), Digest: d.digest(),
	}
	if version == headVersion {
		flags := d.u8()
		h.Deleted, h.TrimmedDigest = flags == flagDeleted, d.digest()
		d.bad = d.bad || flags&^flagDeleted != 0
	}
	if err := d.finish(key); err != nil {
		return tidemark.Head{}, err
	}
	if h.Number == 0 || h.First == 0 || h.First-1 > h.Last || version == recordVersion && h.First > 1 {
		return tidemark.Head{}, damaged(key, "number %d, first %d and last %d cannot be", h.Number, h.First, h.Last)
	}
	return h, nil
}

func appendCursor(b []byte, c *tidemark.Cursor) []byte {
	version := byte(recordVersion)
	if c.Floor > 0 {
		version = cursorVersion
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(c.Delivered))
	b = binary.AppendUvarint(b, uint64(c.Read))
	b = appendTime(b, c.UpdatedTime)
	if c.Floor > 0 {
		b = binary.AppendUvarint(b, uint64(c.Floor))
	}
	return b
}

// decodeCursor leaves Timeline empty: the key holds its number only.
func decodeCursor(key, record []byte) (tidemark.Cursor, error) {
	_, reader, ok := splitNumber(key)
	if !ok {
		return tidemark.Cursor{}, damaged(key, "key is malformed")
	}
	d := decoder{rest: record}
	version, err := d.versionUpTo(cursorVersion, key)
	if err != nil {
		return tidemark.Cursor{}, err
	}
	c := tidemark.Cursor{
		Reader:    tidemark.ReaderID(reader),
		Delivered: tidemark.SeqID(d.uvarint()), Read: tidemark.SeqID(d.uvarint()), UpdatedTime: d.time(),
	}
	if version == cursorVersion {
		c.Floor = tidemark.SeqID(d.uvarint())
		d.bad = d.bad || c.Floor == 0
	}
	if err := d.finish(key); err != nil {
		return tidemark.Cursor{}, err
	}
	if c.Read > c.Delivered {
		return tidemark.Cursor{}, damaged(key, "read %d is past delivered %d", c.Read, c.Delivered)
	}
	return c, nil
}

// DedupeEntry is what the store remembers of a message id.
type DedupeEntry struct {
	// SeqID is the place that the first append under the id got.
	SeqID tidemark.SeqID
	// Content is the prefix of the message's ContentHash. 16 bytes of SHA-256
	// keep two contents apart as well as the digest chain does.
	Content [16]byte
}

// Matches reports whether the message under the id has this content.
func (e DedupeEntry) Matches(content tidemark.ContentHash) bool {
	return e.Content == [16]byte(content[:16])
}

func decodeDedupe(key, record []byte) (DedupeEntry, error) {
	if len(record) != dedupeEntryBytes {
		return DedupeEntry{}, damaged(key, "entry has %d bytes, not %d", len(record), dedupeEntryBytes)
	}
	e := DedupeEntry{SeqID: tidemark.SeqID(binary.BigEndian.Uint64(record)), Content: [16]byte(record[8:])}
	if e.SeqID == 0 {
		return DedupeEntry{}, damaged(key, "entry points to no message")
	}
	return e, nil
}
