package raftnode

import (
	"github.com/hashicorp/raft"

	"tidemark/raftnode/logstore"
)

// Logs is a node's Raft log with its terms and votes. *logstore.Store is one, and
// its methods say what each must do; a simulation keeps them on a disk of its own.
type Logs interface {
	Log() raft.LogStore
	Stable() raft.StableStore
	FirstIndex() uint64
	LastIndex() uint64
	Term(index uint64) (term uint64, ok bool, err error)
	SnapshotInstalled(index, term uint64) (conflict bool, err error)
	Reset() error
	StoreUnsynced(logs []*raft.Log) error
	AwaitSynced(index uint64) error
	Synced(index uint64) uint64
	DiskBytes() (int64, error)
	Close() error
}

// openLogStore opens the store that Config.OpenLogs leaves open.
func openLogStore(o logstore.Options) (Logs, error) {
	store, err := logstore.Open(o)
	if err != nil {
		return nil, err // not a Logs that holds a nil pointer
	}
	return store, nil
}
