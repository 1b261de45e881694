package tidemark

import (
	"crypto/sha256"
	"encoding/binary"
)

// Revision says how a message differs from what was appended: it was edited, or recalled
// (redacted). The message stays at its SeqID, with its sender, id, times and digest; its
// type, attributes and payload are those of the newest revision, or gone.
type Revision struct {
	// Number counts the revisions of the message, from 1.
	Number uint64
	// Time is when the last one was made, and SeqID where its entry stands in the timeline.
	Time  Time
	SeqID SeqID
	// Redacted says that type, attributes and payload were taken away for good.
	Redacted bool
	// Original is the ContentHash of what was appended, which the digest chain goes on with.
	Original ContentHash
}

// Revises says that a message is a revision entry, by which readers at the tail of a
// timeline learn that an older message was revised. Its ID is that of the revision and its
// Sender who revised; type, attributes and payload are those of the revised message as long
// as this is its newest revision.
type Revises struct {
	// SeqID is that of the message, in the timeline of the entry.
	SeqID SeqID
	// Number is that of the revision.
	Number   uint64
	Redacted bool
	// Content is the ContentHash of the message with the revision's content (with the
	// message's own sender and client time); zero of a redaction.
	Content ContentHash
	// Superseded says that the message has a newer revision, and Gone that it was trimmed:
	// the entry has no content then.
	Superseded, Gone bool
}

// NextRevisionDigest is NextDigest for a revision entry: the first 16 bytes of the SHA-256
// of, in this order (u32, u64, i64: big-endian):
//
//	"tidemark revision 1\n"
//	previous (16 bytes)
//	u64 seq_id of the entry
//	i64 server time of the entry, nanoseconds since 1970
//	u32 length of message_id, message_id of the revision
//	u32 length of sender, sender of the revision
//	u64 seq_id of the revised message
//	u64 revision
//	content hash of the revision (32 bytes; zero for a redaction)
func NextRevisionDigest(previous Digest, entry *Message) (digest Digest) {
	state := sha256Pool.Get().(*hashState)
	defer sha256Pool.Put(state)
	r := entry.Revises
	b := append(state.buffer[:0], "tidemark revision 1\n"...)
	b = append(b, previous[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(entry.SeqID))
	b = binary.BigEndian.AppendUint64(b, uint64(entry.ServerTime))
	b = appendSized(b, string(entry.ID))
	b = appendSized(b, entry.Sender)
	b = binary.BigEndian.AppendUint64(b, uint64(r.SeqID))
	b = binary.BigEndian.AppendUint64(b, r.Number)
	state.buffer = append(b, r.Content[:]...)
	state.sum(digest[:])
	return digest
}

// RevisionRequestHash is what makes two requests under one message id the same revision:
// the SHA-256 of, in this order (u64: big-endian):
//
//	"tidemark revise 1\n"
//	u64 seq_id of the message to revise
//	0x01 for a redaction, else 0x00
//	content hash (32 bytes) of the request: its sender, type, attributes and payload
func RevisionRequestHash(target SeqID, redact bool, request *Draft) ContentHash {
	content := request.Hash(HashPayload(request.Payload))
	b := binary.BigEndian.AppendUint64([]byte("tidemark revise 1\n"), uint64(target))
	if redact {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return sha256.Sum256(append(b, content[:]...))
}
