package logstore

import (
	"errors"

	"github.com/hashicorp/raft"
)

// Store is a node's Raft log with its terms and votes.
type Store struct{}

var errUnfinished = errors.New("logstore: not built yet")

// Open opens or makes the store in o.Dir. It checks every entry of the log.
func Open(o Options) (*Store, error) {
	if _, err := o.withDefaults(); err != nil {
		return nil, err
	}
	return nil, errUnfinished
}

// Log returns the log for hashicorp/raft: checked, cached and fail-stop. Do not
// put a raft.LogCache above it: SnapshotInstalled could not empty it.
func (s *Store) Log() raft.LogStore { return nil }

// Stable returns the store of term and vote for hashicorp/raft.
func (s *Store) Stable() raft.StableStore { return nil }

// Close syncs and closes all files. The caller has shut Raft down before.
func (s *Store) Close() error { return errUnfinished }

// FirstIndex is the index of the oldest entry, or 0.
func (s *Store) FirstIndex() uint64 { return 0 }

// LastIndex is the index of the newest entry, or 0.
func (s *Store) LastIndex() uint64 { return 0 }

// Term returns the term of an entry, and whether the log holds the entry.
func (s *Store) Term(index uint64) (term uint64, ok bool, err error) {
	return 0, false, errUnfinished
}

// DiskBytes is what all files of the store take on the disk.
func (s *Store) DiskBytes() (int64, error) { return 0, errUnfinished }

// SnapshotInstalled makes the log fit a state machine that is, durably, at the
// given index and term. It is called in two places: inside FSM.Restore after
// the received state was swapped in and before Restore returns; and at each
// start before raft.NewRaft, because a crash may have come between the two.
//
// Entries after index stay when the log holds index with the same term. A log
// that ends before index is emptied, so that the next append at index+1 is
// accepted. A log that holds index with another term is emptied too, and then
// conflict is true: this Raft instance remembers a last entry that no longer
// exists and must be restarted at once, or it would ask for snapshots for ever.
func (s *Store) SnapshotInstalled(index, term uint64) (conflict bool, err error) {
	return false, errUnfinished
}

// Reset empties the log. It refuses unless the state machine is durable up to
// the last entry.
func (s *Store) Reset() error { return errUnfinished }
