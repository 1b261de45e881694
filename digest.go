package tidemark

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"sync"
)

// Digest closes a chain over the messages of a timeline, up to and with one of
// them. Two replicas whose digests at a SeqID are equal hold the same messages up
// to it. The chain starts at InitialDigest and goes on by NextDigest.
type Digest [16]byte

// String renders the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ContentHash is what makes two drafts under one message id the same message. It
// covers all that the sender decided: sender, type, attributes, client time and
// payload. It covers the payload by the payload's own SHA-256, so that it can be
// recomputed for a message whose payload is gone.
//
// It is the SHA-256 of, in this order (u32, i64: big-endian):
//
//	"tidemark content 1\n"
//	u32 length of sender, sender
//	u32 length of type, type
//	u32 number of attributes, then for each in key order:
//	    u32 length of key, key, u32 length of value, value
//	0x00 if no client time was given, or 0x01 and i64 nanoseconds since 1970
//	SHA-256 of payload (32 bytes)
type ContentHash [sha256.Size]byte

// PayloadHash is the SHA-256 of a payload.
type PayloadHash [sha256.Size]byte

// HashPayload hashes a payload.
func HashPayload(payload []byte) PayloadHash { return sha256.Sum256(payload) }

var sha256Pool = sync.Pool{New: func() any { return &hashState{Hash: sha256.New()} }}

// hashState is a reusable SHA-256 with a buffer that gathers its input, because a
// hash is fastest when it is fed once.
type hashState struct {
	hash.Hash
	buffer []byte
}

func (s *hashState) sum(out []byte) {
	s.Reset()
	s.Write(s.buffer)
	s.buffer = s.Sum(s.buffer[:0])
	copy(out, s.buffer)
}

// Hash returns the ContentHash of the draft, given the hash of its payload.
func (d *Draft) Hash(payload PayloadHash) (content ContentHash) {
	state := sha256Pool.Get().(*hashState)
	defer sha256Pool.Put(state)
	b := append(state.buffer[:0], "tidemark content 1\n"...)
	b = appendSized(b, d.Sender)
	b = appendSized(b, d.Type)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Attributes)))
	for _, attribute := range d.Attributes {
		b = appendSized(b, attribute.Key)
		b = appendSized(b, attribute.Value)
	}
	if d.ClientTime == NoTime {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		b = binary.BigEndian.AppendUint64(b, uint64(d.ClientTime))
	}
	state.buffer = append(b, payload[:]...)
	state.sum(content[:])
	return content
}

// InitialDigest is the digest before the first message: the first 16 bytes of the
// SHA-256 of "tidemark timeline 1\n" and the timeline's id.
func InitialDigest(timeline TimelineID) (digest Digest) {
	state := sha256Pool.Get().(*hashState)
	defer sha256Pool.Put(state)
	state.buffer = append(append(state.buffer[:0], "tidemark timeline 1\n"...), timeline...)
	state.sum(digest[:])
	return digest
}

// NextDigest is the digest of a message after a message with digest previous: the
// first 16 bytes of the SHA-256 of, in this order (u32, u64, i64: big-endian):
//
//	"tidemark message 1\n"
//	previous (16 bytes)
//	u64 seq_id
//	i64 server time, nanoseconds since 1970
//	u32 length of message_id, message_id
//	content hash (32 bytes)
//	0x00
func NextDigest(previous Digest, seq SeqID, serverTime Time, id MessageID, content ContentHash) (digest Digest) {
	state := sha256Pool.Get().(*hashState)
	defer sha256Pool.Put(state)
	b := append(state.buffer[:0], "tidemark message 1\n"...)
	b = append(b, previous[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = binary.BigEndian.AppendUint64(b, uint64(serverTime))
	b = appendSized(b, string(id))
	b = append(b, content[:]...)
	state.buffer = append(b, 0)
	state.sum(digest[:])
	return digest
}

func appendSized(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}
