package fsm

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"

	"tidemark"
	"tidemark/pebblestore"
)

// Options configure a Machine. The zero value logs nothing and exits the process
// when an entry cannot be applied.
type Options struct {
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
	// Fatal is called when a committed entry cannot be applied. It must not
	// return: a replica that went on would differ from the others. The error says
	// which entry and what to do. Nil writes it to Logger and to standard error,
	// and exits with status 1.
	Fatal func(error)
	// Changed is called after each commit, when its effect is visible, with the
	// timelines that got messages; with nil when the state was replaced as a whole. It
	// is called by the goroutine that applies, which it must not hold up, and must not
	// call the machine. May be nil.
	Changed func(iter.Seq[tidemark.TimelineID])
}

// Machine applies committed entries to a store. It is the only writer of the
// store. All methods are safe for concurrent use.
type Machine struct {
	store   *pebblestore.Store
	logger  *slog.Logger
	fatal   func(error)
	changed func(iter.Seq[tidemark.TimelineID])
	waiters waiters

	// writing is held while the store is written or replaced.
	writing sync.Mutex
	// stopped is set, under writing, when an entry could not be applied. Nothing
	// is written afterwards.
	stopped error
	scratch scratch
	late    lateDeliveries
	// batchBytes is maxBatchBytes, and less in tests.
	batchBytes int
}

// scratch is memory that is used again from entry to entry.
type scratch struct {
	commands [][]byte
	command  command
}

// New returns a machine that goes on from where the store is.
func New(store *pebblestore.Store, o Options) *Machine {
	m := &Machine{store: store, logger: o.Logger, fatal: o.Fatal, changed: o.Changed, batchBytes: maxBatchBytes}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	if m.fatal == nil {
		m.fatal = m.exit
	}
	if m.changed == nil {
		m.changed = func(iter.Seq[tidemark.TimelineID]) {}
	}
	m.waiters.publish(store.Applied().Index)
	return m
}

// Applied is that of the last entry whose effect is visible.
func (m *Machine) Applied() tidemark.Applied { return m.store.Applied() }

// Level is the feature level of the cluster, as far as this node has applied.
func (m *Machine) Level() uint32 { return m.store.Level() }

// WaitApplied returns nil once the entry with the index is applied and visible.
// If ctx ends first, the error wraps tidemark.ErrNotCaughtUp and the context's
// cause. It costs a nanosecond if the index is applied already.
//
// Raft's own entries (no-ops, barriers) never reach the machine: it cannot be
// waited for the index of one, only for that of an entry with commands or members.
func (m *Machine) WaitApplied(ctx context.Context, index uint64) error {
	return m.waiters.wait(ctx, index)
}

// Sync makes everything applied durable.
func (m *Machine) Sync() error { return m.store.Sync() }

// DurableIndex is an applied index that would survive a loss of power now.
func (m *Machine) DurableIndex() uint64 { return m.store.DurableIndex() }

// SetMembership replaces the applied record, durably. It is for the offline
// recovery of a cluster that lost its majority, and for nothing else. The index
// must not be less than that applied: state cannot be taken back.
func (m *Machine) SetMembership(applied tidemark.Applied) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.stopped != nil {
		return m.stopped
	}
	if present := m.store.Applied().Index; applied.Index < present {
		return fmt.Errorf("fsm: set membership: index %d is less than the applied index %d", applied.Index, present)
	}
	batch := m.store.NewBatch()
	defer batch.Discard()
	batch.SetApplied(applied)
	// The majority may have had more, which consumers of the change feed have seen: what
	// they have is not a part of what this history will be.
	id, _, found, err := batch.Feed()
	if err == nil && found {
		err = batch.StartFeed(recoveredFeedID(id, &applied), applied.Index+1)
	}
	if err != nil {
		return fmt.Errorf("fsm: set membership: %w", err)
	}
	if err := batch.Commit(); err != nil {
		return fmt.Errorf("fsm: set membership: %w", err)
	}
	if err := m.store.Sync(); err != nil {
		return fmt.Errorf("fsm: set membership: %w", err)
	}
	m.waiters.publish(applied.Index)
	return nil
}

// stop ends the process by Options.Fatal. It never returns.
func (m *Machine) stop(err error) {
	m.stopped = err
	m.fatal(err)
	panic(errors.Join(errors.New("fsm: Options.Fatal returned"), err))
}

func (m *Machine) exit(err error) {
	m.logger.Error("a committed entry cannot be applied; the node stops", "error", err)
	fmt.Fprintln(os.Stderr, "tidemark:", err)
	os.Exit(1)
}
