package pebblestore

import (
	"bytes"
	"encoding/binary"
	"strings"

	"tidemark"
	"tidemark/internal/planted"
)

// The index of senders has an entry for each message with a sender: under the
// timeline's number, the sender's user and the SeqID, how many messages that user has
// sent in the timeline so far, with this one. So the messages of a user in any range are
// counted by two look-ups: the ordinals are consecutive, and their difference stays
// right when messages before the range are gone. The last entry of a user stays also when
// its message is gone, so that every replica goes on behind it.

// Revision entries have theirs under the name that no user has, so that they are counted
// the same way.
const revisions = ""

// appendSenderPrefix is what the entries of one user in one timeline start with. The
// length comes first, as in appendReaderPrefix.
func appendSenderPrefix(b []byte, number uint64, user string) []byte {
	return append(append(appendNumberPrefix(b, tableSender, number), byte(len(user))), user...)
}

func appendSenderKey(b []byte, number uint64, user string, seq tidemark.SeqID) []byte {
	return binary.BigEndian.AppendUint64(appendSenderPrefix(b, number, user), uint64(seq))
}

func splitSenderKey(key []byte) (number uint64, user string, seq tidemark.SeqID, ok bool) {
	number, rest, ok := splitNumber(key)
	if !ok || len(rest) < 1 || len(rest) != 1+int(rest[0])+8 {
		return 0, "", 0, false
	}
	at := 1 + int(rest[0])
	return number, string(rest[1:at]), tidemark.SeqID(binary.BigEndian.Uint64(rest[at:])), true
}

// decodeOrdinal decodes the value of an entry.
func decodeOrdinal(key, value []byte) (uint64, error) {
	d := decoder{rest: value}
	ordinal := d.uvarint()
	if err := d.finish(key); err != nil {
		return 0, err
	}
	if ordinal == 0 {
		return 0, damaged(key, "ordinal is 0")
	}
	return ordinal, nil
}

// countSent gives a message its entry.
func (b *Batch) countSent(number uint64, user string, seq tidemark.SeqID) {
	at := placeKey{number, user}
	before, known := b.sent[at]
	if !known && !b.cleared[number] {
		before, known = b.store.sent.get(at)
	}
	if !known {
		if before, b.err = b.lastSent(at); b.err != nil {
			return
		}
	}
	ordinal := before + 1
	keyBytes := numberPrefixBytes + 1 + len(user) + 8
	data := appendSenderKey(b.out.reserve(keyBytes + uvarintSize(ordinal))[:0], number, user, seq)
	b.out.add(binary.AppendUvarint(data, ordinal), keyBytes)
	b.sent[at], b.sentAt[at] = ordinal, seq
}

// lastSent is the ordinal of the user's last message, as it stands in the store.
func (b *Batch) lastSent(at placeKey) (uint64, error) {
	if b.cleared[at.number] {
		return 0, nil
	}
	return b.view.lastSent(at.number, at.name)
}

// rememberSent keeps the ordinals of the batch for the next one.
func (b *Batch) rememberSent() {
	if len(b.cleared) > 0 {
		b.store.sent.drop(func(at placeKey) bool { return b.cleared[at.number] })
	}
	for at, ordinal := range b.sent {
		b.store.sent.put(placeKey{at.number, strings.Clone(at.name)}, ordinal)
	}
}

// lastSent is the ordinal of the user's last message in the timeline, or 0.
func (v *view) lastSent(number uint64, user string) (uint64, error) {
	v.key = appendSenderKey(v.key[:0], number, user, ^tidemark.SeqID(0))
	return v.ordinalHere(v.iter.seekLT(v.key), number, user)
}

// ordinalHere is the ordinal at the iterator's position, or 0 if another user's, or no
// entry is there.
func (v *view) ordinalHere(positioned bool, number uint64, user string) (uint64, error) {
	if !positioned {
		return 0, v.err(v.key)
	}
	v.key = appendSenderPrefix(v.key[:0], number, user)
	if !bytes.HasPrefix(v.iter.key(), v.key) {
		return 0, nil
	}
	value, err := v.value()
	if err != nil {
		return 0, err
	}
	return decodeOrdinal(v.iter.key(), value)
}

// sentFrom counts the messages of a user from a SeqID on.
func (v *view) sentFrom(number uint64, user string, seq tidemark.SeqID) (uint64, error) {
	v.key = appendSenderKey(v.key[:0], number, user, seq)
	first, err := v.ordinalHere(v.iter.seekGE(v.key), number, user)
	if err != nil || first == 0 {
		return 0, err
	}
	last, err := v.lastSent(number, user)
	if err != nil {
		return 0, err
	}
	if last < first {
		return 0, damaged(appendSenderPrefix(nil, number, user), "ordinals go from %d to %d", first, last)
	}
	return last - first + 1, nil
}

// unread counts what the reader of the cursor has not read; see tidemark.CursorPage.
func (v *view) unread(h *tidemark.Head, c *tidemark.Cursor) (uint64, error) {
	from := max(c.Read+1, c.Floor, h.First)
	if from > h.Last {
		return 0, nil
	}
	user := c.Reader.User()
	if planted.Is(planted.UnreadByDevice) {
		user = string(c.Reader)
	}
	not, err := v.revisionsAndRedacted(h.Number, user, from)
	if err != nil {
		return 0, err
	}
	if user != "" {
		own, err := v.sentFrom(h.Number, user, from)
		if err != nil {
			return 0, err
		}
		not += own
	}
	all := uint64(h.Last-from) + 1
	if not > all {
		return 0, damaged(appendSenderPrefix(nil, h.Number, c.Reader.User()), "%d entries for %d messages", not, all)
	}
	return all - not, nil
}

// revisionsAndRedacted counts, from a SeqID on, what is unread to nobody: revision entries,
// and redacted messages that are not the user's own. A redaction has a revision entry, or a
// reference to it, behind the message that it redacts, in the same timeline: without one
// there is no redaction.
func (v *view) revisionsAndRedacted(number uint64, user string, from tidemark.SeqID) (uint64, error) {
	entries, err := v.sentFrom(number, revisions, from)
	if err != nil || entries == 0 || planted.Is(planted.UnreadRedacted) {
		return entries, err
	}
	all, err := v.redactedFrom(number, everyone, from)
	if err != nil || all == 0 || user == "" {
		return entries + all, err
	}
	own, err := v.redactedFrom(number, user, from)
	return entries + all - own, err
}
