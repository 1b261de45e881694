package tidemark

import "encoding/binary"

// FanOut says which inboxes get a reference to a message, in the same log entry as the
// message itself. The zero value is none. An inbox that is in both gets one reference.
type FanOut struct {
	// Recipients takes the recipient set of the message's timeline.
	Recipients bool
	// Inboxes are at most MaxListedInboxes timelines, each once, and not the message's own.
	Inboxes []TimelineID
}

// None says that no inbox gets anything.
func (f *FanOut) None() bool { return !f.Recipients && len(f.Inboxes) == 0 }

// Validate reports an *InvalidError unless the inboxes are valid. Field names are those
// of the API, after prefix.
func (f *FanOut) Validate(prefix string, timeline TimelineID) error {
	return validateInboxes(prefix+"fan_out.inboxes", f.Inboxes, timeline)
}

// RecipientChange changes the recipient set of a timeline.
type RecipientChange struct {
	// Replace empties the set before Add.
	Replace bool
	// Add and Remove are together at most MaxRecipientChanges timelines, each once, and not
	// the one whose set it is. What is there already, or not, is no error.
	Add, Remove []TimelineID
	// ExpectedVersion, if not nil, is what the set's version must be; 0 for one that was
	// never set.
	ExpectedVersion *uint64
}

// Validate reports an *InvalidError unless the change can be made to the set of the timeline.
func (c *RecipientChange) Validate(timeline TimelineID) error {
	if n := len(c.Add) + len(c.Remove); n > MaxRecipientChanges {
		return Invalid("add", "and remove have %d inboxes; limit is %d inboxes in one call: make several", n, MaxRecipientChanges)
	}
	if c.Replace && len(c.Remove) > 0 {
		return Invalid("remove", "does not go with replace, which empties the set")
	}
	if err := validateInboxes("add", c.Add, timeline); err != nil {
		return err
	}
	if err := validateInboxes("remove", c.Remove, timeline); err != nil {
		return err
	}
	removed := make(map[TimelineID]bool, len(c.Remove))
	for _, inbox := range c.Remove {
		removed[inbox] = true
	}
	for _, inbox := range c.Add {
		if removed[inbox] {
			return Invalid("remove", "has %q, which is in add too", inbox)
		}
	}
	return nil
}

func validateInboxes(field string, inboxes []TimelineID, timeline TimelineID) error {
	if len(inboxes) > MaxListedInboxes {
		return Invalid(field, "has %d inboxes; limit is %d inboxes: keep a recipient set, or use fan-out on read (Sync)", len(inboxes), MaxListedInboxes)
	}
	seen := make(map[TimelineID]bool, len(inboxes))
	for _, inbox := range inboxes {
		if err := inbox.Validate(field); err != nil {
			return err
		}
		if inbox == timeline {
			return Invalid(field, "must not have the timeline itself")
		}
		if seen[inbox] {
			return Invalid(field, "has %q twice", inbox)
		}
		seen[inbox] = true
	}
	return nil
}

// RecipientPage is one page of a recipient set, in byte order.
type RecipientPage struct {
	// Version counts the changes of the set, and Count its inboxes; both are 0 for a set
	// that was never set.
	Version, Count uint64
	Inboxes        []TimelineID
	// More says that inboxes follow the last one.
	More bool
	// Applied is an index that covers all that the page shows.
	Applied uint64
}

// Source is the message that an entry of an inbox refers to.
type Source struct {
	Timeline TimelineID
	SeqID    SeqID
	// Digest is that of the message, which its content cannot be changed under.
	Digest Digest
	// Gone says that the message was trimmed or deleted, so that its content is not there.
	Gone bool
}

// NextReferenceDigest is NextDigest for an entry that refers to a source: the first 16
// bytes of the SHA-256 of, in this order (u32, u64, i64: big-endian):
//
//	"tidemark reference 1\n"
//	previous (16 bytes)
//	u64 seq_id of the entry
//	i64 server time of the entry, nanoseconds since 1970
//	u32 length of message_id, message_id of the source
//	u32 length of the source's timeline, the source's timeline
//	u64 seq_id of the source
//	digest of the source (16 bytes)
func NextReferenceDigest(previous Digest, seq SeqID, serverTime Time, id MessageID, source *Source) (digest Digest) {
	state := sha256Pool.Get().(*hashState)
	defer sha256Pool.Put(state)
	b := append(state.buffer[:0], "tidemark reference 1\n"...)
	b = append(b, previous[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = binary.BigEndian.AppendUint64(b, uint64(serverTime))
	b = appendSized(b, string(id))
	b = appendSized(b, string(source.Timeline))
	b = binary.BigEndian.AppendUint64(b, uint64(source.SeqID))
	state.buffer = append(b, source.Digest[:]...)
	state.sum(digest[:])
	return digest
}

// ChainDigest is the digest of the message after one with the digest previous, whether
// it is a message of its timeline, was revised, is a revision entry, or refers to one of
// another timeline.
func (m *Message) ChainDigest(previous Digest) Digest {
	if m.Source != nil {
		return NextReferenceDigest(previous, m.SeqID, m.ServerTime, m.ID, m.Source)
	}
	if m.Revises != nil {
		return NextRevisionDigest(previous, m)
	}
	content := ContentHash{}
	if m.Revision != nil {
		content = m.Revision.Original
	} else {
		content = m.Hash(HashPayload(m.Payload))
	}
	return NextDigest(previous, m.SeqID, m.ServerTime, m.ID, content)
}
