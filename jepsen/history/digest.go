package history

import (
	"encoding/binary"

	"tidemark"
)

// ContentOf stands for all that a sender decided about a message: the first 8
// bytes, big-endian, of its tidemark.ContentHash. It is equal for a draft that was
// sent and for the message that is read.
func ContentOf(draft *tidemark.Draft) uint64 {
	content := draft.Hash(tidemark.HashPayload(draft.Payload))
	return binary.BigEndian.Uint64(content[:8])
}

// FirstBadDigest computes the digest chain over a contiguous page of messages, from
// the digest before it. It returns the SeqID of the first message that shows
// another digest, or 0. Before SeqID 1 the chain starts from the timeline's
// InitialDigest, whatever previous says.
func FirstBadDigest(previous tidemark.Digest, messages []tidemark.Message) uint64 {
	for i := range messages {
		m := &messages[i]
		if m.SeqID == 1 {
			previous = tidemark.InitialDigest(m.Timeline)
		}
		if m.ChainDigest(previous) != m.Digest {
			return uint64(m.SeqID)
		}
		previous = m.Digest
	}
	return 0
}
