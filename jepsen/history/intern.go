package history

import (
	"cmp"
	"hash/maphash"
	"sync"
)

// internShards keeps concurrent clients from waiting for each other.
const internShards = 64

// interner keeps one copy of each name, id and digest, however often it was read:
// the same message comes back in many pages, from every node.
type interner struct {
	shards [internShards]struct {
		sync.Mutex
		words map[string]string
	}
}

var internSeed = maphash.MakeSeed()

// word returns the kept copy of s.
func (n *interner) word(s *string) {
	if *s == "" {
		return
	}
	shard := &n.shards[maphash.String(internSeed, *s)%internShards]
	shard.Lock()
	defer shard.Unlock()
	if kept, ok := shard.words[*s]; ok {
		*s = kept
		return
	}
	if shard.words == nil {
		shard.words = make(map[string]string)
	}
	shard.words[*s] = *s
}

// operation replaces all text of an operation that is likely to come again.
func (n *interner) operation(op *Operation) {
	for _, s := range []*string{&op.Client, &op.Node, (*string)(&op.Kind), &op.Via, &op.Level, &op.Timeline,
		(*string)(&op.Outcome), &op.Error, &op.Start, &op.Direction, &op.MessageID, &op.HeadDigest, &op.PreviousDigest, &op.Reader} {
		n.word(s)
	}
	for i := range op.Items {
		item := &op.Items[i]
		for _, s := range []*string{&item.Timeline, &item.MessageID, &item.Sender, &item.Digest, (*string)(&item.Outcome), &item.Error} {
			n.word(s)
		}
	}
	for i := range op.Messages {
		n.word(&op.Messages[i].MessageID)
		n.word(&op.Messages[i].Digest)
	}
	for _, cursors := range [][]CursorSeen{op.Acks, op.Cursors} {
		for i := range cursors {
			n.word(&cursors[i].Timeline)
			n.word(&cursors[i].Reader)
		}
	}
}

// byInvoked is the order of operations in a history.
func byInvoked(a, b *Operation) int {
	return cmp.Or(cmp.Compare(a.Invoked, b.Invoked), cmp.Compare(a.ID, b.ID))
}
