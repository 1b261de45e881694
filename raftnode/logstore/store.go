package logstore

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
)

// Store is a node's Raft log with its terms and votes. Its methods may be called
// from any goroutine; one goroutine appends, as hashicorp/raft does.
type Store struct {
	log    *log
	stable *stable
	mark   *mark

	stopSync chan struct{}
	synced   chan struct{}
	closing  sync.Once
	closeErr error
}

// Log returns the log for hashicorp/raft: checked, cached and fail-stop. Do not
// put a raft.LogCache above it: SnapshotInstalled could not empty it.
func (s *Store) Log() raft.LogStore { return s.log }

// StoreUnsynced is StoreLogs of Log, but returns as soon as readers see the entries: a
// leader sends them to its followers while its own disk is at work. Until AwaitSynced says so
// they must not count as stored by this node in anything that another node learns, nor be applied. A
// log that cannot do that returns when they are durable. An error of the sync ends the process.
func (s *Store) StoreUnsynced(logs []*raft.Log) error { return s.log.storeUnsynced(logs) }

// AwaitSynced returns nil when the entries up to index that the log holds are durable.
func (s *Store) AwaitSynced(index uint64) error { return s.log.awaitSynced(index) }

// Synced is the last index up to the given one of which AwaitSynced would return at once.
func (s *Store) Synced(index uint64) uint64 { return s.log.syncedUpTo(index) }

// Stable returns the store of term and vote for hashicorp/raft.
func (s *Store) Stable() raft.StableStore { return s.stable }

// Close syncs and closes all files. The caller has shut Raft down before; a call
// that comes later gets an error and does no harm.
func (s *Store) Close() error {
	s.closing.Do(func() {
		close(s.stopSync)
		<-s.synced
		s.log.awaitWrite()
		s.log.stop.close()
		s.closeErr = errors.Join(s.log.inner.Close(), s.stable.db.Close(), s.mark.close())
	})
	return s.closeErr
}

// FirstIndex is the index of the oldest entry, or 0.
func (s *Store) FirstIndex() uint64 {
	first, _ := s.log.bounds()
	return first
}

// LastIndex is the index of the newest entry, or 0.
func (s *Store) LastIndex() uint64 {
	_, last := s.log.bounds()
	return last
}

// Term returns the term of an entry, and whether the log holds the entry.
func (s *Store) Term(index uint64) (term uint64, ok bool, err error) { return s.log.term(index) }

// DiskBytes is the size of all files of the store, with what is preallocated.
func (s *Store) DiskBytes() (int64, error) {
	total := int64(0)
	err := filepath.WalkDir(s.log.o.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				total += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		return err
	})
	return total, err
}

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
// At a start there is no such instance, and conflict needs no action; but check
// first that an applied index beyond LastIndex is explained by a snapshot, since
// here the log is emptied without asking.
//
// The error is ErrSnapshotTooOld when the log starts after index+1: restoring
// such a snapshot would take the state machine back, so refuse it before.
func (s *Store) SnapshotInstalled(index, term uint64) (conflict bool, err error) {
	return s.log.snapshotInstalled(index, term)
}

// Reset empties the log. It refuses unless the state machine is durable up to
// the last entry.
func (s *Store) Reset() error { return s.log.reset() }
