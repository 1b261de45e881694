package logstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// The stable store holds the current term and the vote. hashicorp/raft writes a
// vote as two values, one after the other; a crash between them leaves the new
// term with the old candidate, and the node votes a second time in that term.
// Here they are one value under one key, written when the second one comes.
//
// Each value carries a trailer, so that a value that was altered, lost or taken
// back by damage is noticed:
//
//	bytes from the end  field
//	20-13               write number: 1 for the first write of the store, and so on
//	12-9                number of keys in the store after this write
//	8-5                 checksums of all other keys' values then, combined by xor
//	4-1                 CRC-32C of key length (u32), key, value and the above
//
// All numbers are little-endian. The mark file remembers the last write number.
const stableTrailer = 20

const (
	keyVoteTerm = "LastVoteTerm" // as hashicorp/raft names them
	keyVoteCand = "LastVoteCand"
	// keyVote is the key of a vote: the term as big-endian u64, then the candidate.
	keyVote = "tidemark.Vote"
)

type stableValue struct {
	value []byte
	seq   uint64
	keys  uint32
	other uint32
	sum   uint32
}

func (v stableValue) encode(key string) ([]byte, uint32) {
	le := binary.LittleEndian
	b := append([]byte(nil), v.value...)
	b = le.AppendUint64(b, v.seq)
	b = le.AppendUint32(b, v.keys)
	b = le.AppendUint32(b, v.other)
	sum := stableSum(key, b)
	return le.AppendUint32(b, sum), sum
}

func stableSum(key string, b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, binary.LittleEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc32.Update(sum, castagnoli, []byte(key))
	return crc32.Update(sum, castagnoli, b)
}

func decodeStable(key string, b []byte) (stableValue, bool) {
	n := len(b) - stableTrailer
	if n < 0 {
		return stableValue{}, false
	}
	le := binary.LittleEndian
	v := stableValue{
		value: append([]byte(nil), b[:n]...),
		seq:   le.Uint64(b[n:]),
		keys:  le.Uint32(b[n+8:]),
		other: le.Uint32(b[n+12:]),
		sum:   le.Uint32(b[n+16:]),
	}
	return v, v.sum == stableSum(key, b[:n+16])
}

// scanStable checks all of a stable store without changing it, and returns its
// values. It must hold the write with number seq or a later one.
func scanStable(path string, seq uint64) (map[string]stableValue, error) {
	values := map[string]stableValue{}
	var newest stableValue
	all := uint32(0)
	err := boltScan(path, func(bucket string, key, value []byte) error {
		if bucket != boltConf {
			return corrupt(path, "key in bucket %q", bucket)
		}
		v, ok := decodeStable(string(key), value)
		if !ok {
			return corrupt(path, "%s: checksum is wrong", key)
		}
		values[string(key)] = v
		all ^= v.sum
		if v.seq > newest.seq {
			newest = v
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case newest.seq < seq:
		return nil, corrupt(path, "it holds writes up to number %d, but %d were made", newest.seq, seq)
	case len(values) > 0 && (int(newest.keys) != len(values) || newest.other != all^newest.sum):
		return nil, corrupt(path, "a value is missing or old")
	}
	return values, nil
}

// stable is the raft.StableStore. Values are kept in memory, as they are on the
// disk; a vote's term waits there for its candidate.
type stable struct {
	path string
	db   *raftboltdb.BoltStore
	mark *mark
	stop *failStop
	done func(time.Duration)

	mu       sync.Mutex
	values   map[string]stableValue
	seq      uint64
	voteTerm *uint64
}

var _ raft.StableStore = (*stable)(nil)

func newStable(path string, db *raftboltdb.BoltStore, values map[string]stableValue, m *mark, stop *failStop, done func(time.Duration)) *stable {
	s := &stable{path: path, db: db, mark: m, stop: stop, done: done, values: values}
	for _, v := range values {
		s.seq = max(s.seq, v.seq)
	}
	return s
}

// Set writes a value durably. The candidate of a vote is written with the term
// that was set just before.
func (s *stable) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(key) != keyVoteCand {
		return s.put(string(key), value)
	}
	if s.voteTerm == nil {
		return s.stop.fail(fmt.Errorf("raft log: %s: a vote's candidate was set without its term", s.path))
	}
	vote := append(binary.BigEndian.AppendUint64(nil, *s.voteTerm), value...)
	s.voteTerm = nil
	return s.put(keyVote, vote)
}

// SetUint64 writes a number durably; the term of a vote waits for its candidate.
func (s *stable) SetUint64(key []byte, n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(key) == keyVoteTerm {
		s.voteTerm = &n
		return s.stop.failed()
	}
	return s.put(string(key), binary.BigEndian.AppendUint64(nil, n))
}

// put writes a value, then the mark, both synced. These writes are rare: a term
// or a vote.
func (s *stable) put(key string, value []byte) error {
	v := stableValue{value: append([]byte(nil), value...), seq: s.seq + 1, keys: 1}
	for k, old := range s.values {
		if k != key {
			v.keys++
			v.other ^= old.sum
		}
	}
	b, sum := v.encode(key)
	v.sum = sum
	start := time.Now()
	err := s.stop.run("write "+key, s.path, func() error {
		if err := s.db.Set([]byte(key), b); err != nil {
			return err
		}
		if err := s.mark.raise(func(m *bounds) { m.stable = v.seq }); err != nil {
			return err
		}
		return s.mark.sync()
	})
	if err != nil {
		return err
	}
	s.values[key], s.seq = v, v.seq
	if s.done != nil {
		s.done(time.Since(start))
	}
	return nil
}

// Get returns a value, or an error that hashicorp/raft knows as "not found".
func (s *stable) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stop.failed(); err != nil {
		return nil, err
	}
	name, skip, size := string(key), 0, -1
	switch name {
	case keyVoteTerm:
		name, size = keyVote, 8
	case keyVoteCand:
		name, skip = keyVote, 8
	}
	v, ok := s.values[name]
	if !ok {
		return nil, raftboltdb.ErrKeyNotFound
	}
	if size < 0 {
		size = len(v.value)
	}
	if skip > size || size > len(v.value) {
		return nil, s.stop.fail(fmt.Errorf("raft log: %w", corrupt(s.path, "%s has %d bytes", name, len(v.value))))
	}
	return append([]byte{}, v.value[skip:size]...), nil
}

// GetUint64 returns a number, or an error that hashicorp/raft knows as "not found".
func (s *stable) GetUint64(key []byte) (uint64, error) {
	b, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, s.stop.fail(fmt.Errorf("raft log: %w", corrupt(s.path, "%s is not a number: %d bytes", key, len(b))))
	}
	return binary.BigEndian.Uint64(b), nil
}
