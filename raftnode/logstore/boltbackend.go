package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	boltLogs   = "logs" // raft-boltdb's bucket of entries, by index as big-endian u64
	boltConf   = "conf" // its bucket of stable values
	lockExpiry = 2 * time.Second
)

// scanBolt checks all of a log kept by raft-boltdb without changing it, and adds
// its entries to c.
func scanBolt(path string, c *chain) error { return boltScan(path, addBolt(path, c)) }

// addBolt returns a visitor that adds entries to c.
func addBolt(path string, c *chain) func(bucket string, key, value []byte) error {
	decoder := codec.NewDecoderBytes(nil, &codec.MsgpackHandle{})
	return func(bucket string, key, value []byte) error {
		if bucket != boltLogs {
			return nil
		}
		if len(key) != 8 {
			return corrupt(path, "key %x is not an index", key)
		}
		index := binary.BigEndian.Uint64(key)
		var l raft.Log
		decoder.ResetBytes(value)
		if err := decoder.Decode(&l); err != nil {
			return corrupt(path, "entry %d: %v", index, err)
		}
		if l.Index != index {
			return corrupt(path, "entry %d stands where entry %d belongs", l.Index, index)
		}
		if err := c.add(&l); err != nil {
			return corrupt(path, "%v", err)
		}
		return nil
	}
}

// boltBackend is a log in one B+tree file.
type boltBackend struct {
	*raftboltdb.BoltStore
	path string
}

func openBolt(path string) (*boltBackend, error) {
	s, err := openBoltStore(path)
	if err != nil {
		return nil, err
	}
	return &boltBackend{BoltStore: s, path: path}, nil
}

// openBoltStore opens a file that boltScan found whole. The free list is not
// written: with a long one that would be most of what an append writes. It is
// found again at the next start, by reading all pages' headers.
func openBoltStore(path string) (*raftboltdb.BoltStore, error) {
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        lockExpiry,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: another process has the file open: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (b *boltBackend) fileOf(uint64) string { return b.path }

// deleteStep keeps deletions short: appends wait for them.
func (b *boltBackend) deleteStep() uint64 { return 1024 }
