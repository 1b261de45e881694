package pebblestore

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"tidemark"
)

// The index of redactions counts the redacted messages of a timeline from any SeqID on, of
// all users and of each one, without reading messages. It has an entry for each redacted
// message (and for each redacted entry of an inbox), and for each block of 1,024 SeqIDs how
// many there are in it. Both are there once for everyone, and once for the user who sent
// the message, if it has one.
//
// A count from a SeqID on is the entries of its own block from there, and the counts of the
// blocks behind it. So the count of a block is only ever used as a whole, and need not be
// right any more once its first messages are trimmed.

// everyone is the name under which all redactions are counted; no user has it.
const everyone = ""

// redactedBlockBits makes a block 1,024 SeqIDs.
const redactedBlockBits = 10

// Kinds of keys in the index.
const (
	redactedMessages byte = iota
	redactedBlocks
)

type redactedBlock struct {
	number uint64
	user   string
	block  uint64
}

func appendRedactedPrefix(b []byte, number uint64, user string, kind byte) []byte {
	b = append(appendNumberPrefix(b, tableRedacted, number), byte(len(user)))
	return append(append(b, user...), kind)
}

// appendRedactedKey is the key of a message's entry, or of a block's count.
func appendRedactedKey(b []byte, number uint64, user string, kind byte, at uint64) []byte {
	return binary.BigEndian.AppendUint64(appendRedactedPrefix(b, number, user, kind), at)
}

func splitRedactedKey(key []byte) (number uint64, user string, kind byte, at uint64, ok bool) {
	number, rest, ok := splitNumber(key)
	if !ok || len(rest) < 1 || len(rest) != 1+int(rest[0])+1+8 {
		return 0, "", 0, 0, false
	}
	end := 1 + int(rest[0])
	return number, string(rest[1:end]), rest[end], binary.BigEndian.Uint64(rest[end+1:]), rest[end] <= redactedBlocks
}

// PutRedacted counts a message, which was sent by a user ("" for none), as redacted. It must
// not be counted yet.
func (b *Batch) PutRedacted(number uint64, seq tidemark.SeqID, user string) error {
	b.redacted[recordKey{number, seq}] = user
	names := []string{everyone}
	if user != "" {
		names = append(names, user)
	}
	for i, name := range names {
		at := redactedBlock{number, name, uint64(seq) >> redactedBlockBits}
		count, err := b.redactedIn(at)
		if err != nil {
			return err
		}
		b.blocks[at] = count + 1
		value := []byte(nil)
		if i == 0 {
			value = []byte(user) // whose entries a trim is to take away with it
		}
		b.out.set(appendRedactedKey(nil, number, name, redactedMessages, uint64(seq)), value)
		b.out.set(appendRedactedKey(nil, number, name, redactedBlocks, at.block), binary.AppendUvarint(nil, count+1))
	}
	return nil
}

func (b *Batch) redactedIn(at redactedBlock) (uint64, error) {
	if count, ok := b.blocks[at]; ok || b.cleared[at.number] {
		return count, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	v := b.view
	v.key = appendRedactedKey(v.key[:0], at.number, at.user, redactedBlocks, at.block)
	value, found, err := v.find(v.key)
	if err != nil || !found {
		return 0, err
	}
	return decodeOrdinal(v.key, value)
}

// redactedFrom counts the redacted messages of a user, or of everyone, from a SeqID on.
func (v *view) redactedFrom(number uint64, user string, seq tidemark.SeqID) (count uint64, err error) {
	block := uint64(seq) >> redactedBlockBits
	prefix := appendRedactedPrefix(nil, number, user, redactedMessages)
	end := appendRedactedKey(nil, number, user, redactedMessages, (block+1)<<redactedBlockBits)
	from := appendRedactedKey(nil, number, user, redactedMessages, uint64(seq))
	err = v.scan(prefix, from, func(key, _ []byte) (bool, error) {
		if bytes.Compare(key, end) >= 0 {
			return false, nil
		}
		count++
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	prefix = appendRedactedPrefix(nil, number, user, redactedBlocks)
	from = appendRedactedKey(nil, number, user, redactedBlocks, block+1)
	err = v.scan(prefix, from, func(key, value []byte) (bool, error) {
		inBlock, err := decodeOrdinal(key, value)
		count += inBlock
		return true, err
	})
	return count, err
}

// trimRedacted takes away the entries of the messages from a SeqID up to before another
// one, which will be the timeline's first, and the counts of the blocks that end before it.
func (b *Batch) trimRedacted(number uint64, from, to tidemark.SeqID) error {
	users := make(map[string]bool)
	for key, user := range b.redacted {
		if key.number == number && key.seq >= from && key.seq < to {
			users[user] = true
			delete(b.redacted, key)
		}
	}
	if !b.cleared[number] {
		prefix := appendRedactedPrefix(nil, number, everyone, redactedMessages)
		end := appendRedactedKey(nil, number, everyone, redactedMessages, uint64(to))
		first := appendRedactedKey(nil, number, everyone, redactedMessages, uint64(from))
		err := b.view.scan(prefix, first, func(key, value []byte) (bool, error) {
			if bytes.Compare(key, end) >= 0 {
				return false, nil
			}
			users[string(value)] = true
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	if len(users) == 0 {
		return nil
	}
	users[everyone] = true
	for _, user := range slices.Sorted(maps.Keys(users)) {
		b.out.deleteRange(appendRedactedKey(nil, number, user, redactedMessages, uint64(from)), appendRedactedKey(nil, number, user, redactedMessages, uint64(to)))
		b.out.deleteRange(appendRedactedKey(nil, number, user, redactedBlocks, 0), appendRedactedKey(nil, number, user, redactedBlocks, uint64(to)>>redactedBlockBits))
	}
	return nil
}
