package pebblestore

import (
	"bytes"
	"errors"
	"fmt"

	"tidemark"
	"tidemark/internal/planted"
)

// markInstalled checks that the database holds the state that was announced, and
// notes, on the disk, that it came as a snapshot.
func (g *generation) markInstalled(announced *tidemark.Applied, e *events) error {
	held := g.last.Load().applied
	if held.Index != announced.Index || held.Term != announced.Term || held.MembershipIndex != announced.MembershipIndex || !bytes.Equal(held.Membership, announced.Membership) {
		return fmt.Errorf("%w: snapshot holds index %d of term %d; its header says index %d of term %d", tidemark.ErrCorrupt, held.Index, held.Term, announced.Index, announced.Term)
	}
	held.InstalledIndex = held.Index
	mark := newBuffer()
	mark.entries.Set(newEntry(appendApplied(bytes.Clone(keyApplied), &held), len(keyApplied)))
	if err := e.guard("mark snapshot", func() error { return g.write(mark) }); err != nil {
		return wrapPebble(err)
	}
	last := &commit{applied: held}
	g.last.Store(last)
	g.durable.Store(last)
	return nil
}

// Install puts what was received, and finished, in the place of the present state.
// A crash at any point leaves the one or the other: the swap is one atomic rename
// of CURRENT. Reads that began before go on with the old state, and Install waits
// for them before it removes that. No batch may be open.
//
// The received state may be of an earlier index than the present one: then what
// lies between is dropped, as the leader asked.
//
// An error leaves the old state in force, and the Incoming to be aborted. If it is
// unknown which of the two a crash would leave, Options.Fatal is called instead.
func (s *Store) Install(in *Incoming) error {
	if in.store != s || in.gen == nil || in.err != nil || in.installed {
		return errors.New("install snapshot: it is not one that this store received and finished")
	}
	if !s.batchOpen.CompareAndSwap(false, true) {
		return errors.New("install snapshot: a batch is open")
	}
	defer s.batchOpen.Store(false)
	s.writing.Lock()
	defer s.writing.Unlock()

	old, err := s.swap(in)
	if err != nil {
		return fmt.Errorf("install snapshot: %w", err)
	}
	in.installed = true
	s.heads.clear()
	s.sent.clear()
	applied := in.gen.last.Load().applied
	s.log.Info("installed snapshot", "generation", in.number, "applied_index", applied.Index, "term", applied.Term)

	s.purgeInstalled()
	s.endPin()
	old.readers.Wait()
	// The old state is out of force: failing to remove it costs room until the next Open.
	if err := errors.Join(old.closeDatabase(), s.fs.RemoveAll(old.dir)); err != nil {
		s.log.Warn("could not remove the state before the snapshot", "path", old.dir, "error", err)
	}
	return nil
}

// swap replaces CURRENT and the generation in force, and returns the old one. The
// caller holds s.writing, so that nothing is committed or closed meanwhile.
func (s *Store) swap(in *Incoming) (*generation, error) {
	old, err := s.acquire() // only to see that the store is not closed
	if err != nil {
		return nil, err
	}
	old.release()
	if planted.Is(planted.RestoreWithoutRename) {
		return in.gen, s.overwrite(in.gen)
	}
	s.currentMu.Lock()
	defer s.currentMu.Unlock()
	c := current{format: storeFormat, generation: in.number, durable: in.gen.durableIndex()}
	renamed, err := writeCurrent(s.fs, s.dir, c)
	if err != nil && renamed {
		s.events.fatal(fmt.Sprintf("install snapshot: it is unknown which state is in force: %v", err))
	}
	if err != nil {
		return nil, err
	}
	s.inForce = c
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen = in.gen
	return old, nil
}
