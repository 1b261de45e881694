package raftnode

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

// fsmAdapter hands what Raft commits to the state machine. Raft calls it from one
// goroutine. Commands and configurations arrive; no-op and barrier entries never do.
type fsmAdapter struct {
	machine   StateMachine
	store     *snapshotStore
	retention *retention
	// void is what is applied in place of an entry with a wrong fence.
	void []byte
	// onMembership is told of each configuration after it was applied.
	onMembership func(raft.Configuration)
	fatal        func(error)
	metrics      *Metrics
	// awaitSynced waits until this node's log has the entries up to an index on the disk. Raft
	// takes those of a leader for stored before they are; see leaderlog.go.
	awaitSynced func(index uint64) error

	mu sync.Mutex
	// progressed is closed when something more was applied.
	progressed chan struct{}
}

var _ raft.BatchingFSM = (*fsmAdapter)(nil)

// applied is the answer to one entry.
type applied struct {
	results []any
	void    bool
}

func newFSMAdapter(cfg *Config, store *snapshotStore, keep *retention) *fsmAdapter {
	return &fsmAdapter{
		machine:      cfg.Machine,
		store:        store,
		retention:    keep,
		void:         cfg.EncodeEntry(time.Unix(0, 0), [][]byte{cfg.Noop}),
		onMembership: func(raft.Configuration) {},
		fatal:        cfg.Fatal,
		metrics:      cfg.Metrics,
		progressed:   make(chan struct{}),
		awaitSynced:  func(uint64) error { return nil },
	}
}

// progress returns a channel that is closed when something more was applied. Take
// it before looking at what was applied.
func (f *fsmAdapter) progress() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.progressed
}

func (f *fsmAdapter) announce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.progressed)
	f.progressed = make(chan struct{})
}

// Apply implements raft.FSM. Raft calls ApplyBatch in its place.
func (f *fsmAdapter) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (f *fsmAdapter) ApplyBatch(logs []*raft.Log) []any {
	entries := make([]tidemark.Entry, len(logs))
	answers := make([]any, len(logs))
	bytes := 0
	for i, l := range logs {
		entry, void, err := f.entry(l)
		if err != nil {
			f.fatal(fmt.Errorf("apply log entry %d of term %d: %w", l.Index, l.Term, err))
			panic(err) // Fatal must not return, and the entry must not be skipped
		}
		entries[i], answers[i] = entry, applied{void: void}
		bytes += len(l.Data)
	}
	if err := f.awaitSynced(logs[len(logs)-1].Index); err != nil {
		f.fatal(fmt.Errorf("apply log entry %d: %w", logs[len(logs)-1].Index, err))
		panic(err) // Fatal must not return
	}
	start := time.Now()
	for i, results := range f.machine.ApplyBatch(entries) {
		answers[i] = applied{results: results, void: answers[i].(applied).void}
	}
	f.metrics.applySeconds.Observe(time.Since(start).Seconds())
	f.retention.observe(logs[len(logs)-1].Index, bytes)
	f.announce()
	for _, l := range logs {
		if l.Type == raft.LogConfiguration {
			f.onMembership(raft.DecodeConfiguration(l.Data))
		}
	}
	return answers
}

func (f *fsmAdapter) entry(l *raft.Log) (entry tidemark.Entry, void bool, err error) {
	entry = tidemark.Entry{Index: l.Index, Term: l.Term, Kind: tidemark.EntryCommands}
	switch l.Type {
	case raft.LogConfiguration:
		entry.Kind, entry.Data = tidemark.EntryMembership, l.Data
		return entry, false, nil
	case raft.LogCommand:
		fence, commands, err := openEntry(l.Data)
		if err != nil {
			return entry, false, err
		}
		if fence != l.Term {
			f.metrics.voidEntries.Inc()
			entry.Data = f.void
			return entry, true, nil
		}
		entry.Data = commands
		return entry, false, nil
	default:
		return entry, false, fmt.Errorf("unknown type %d", l.Type)
	}
}

// Snapshot implements raft.FSM. The state machine is the snapshot, so there is
// nothing to copy.
func (f *fsmAdapter) Snapshot() (raft.FSMSnapshot, error) {
	return &localSnapshot{machine: f.machine, applied: f.machine.Applied().Index}, nil
}

// Restore implements raft.FSM: it makes the incoming snapshot that Raft opened
// just before the state. Raft hands over a wrapped reader, from which nothing is read.
func (f *fsmAdapter) Restore(source io.ReadCloser) error {
	if err := f.store.install(); err != nil {
		err = fmt.Errorf("install the received snapshot: %w", err)
		f.fatal(err)
		return err
	}
	f.announce()
	configuration, err := decodeMembership(f.machine.Applied().Membership)
	if err != nil {
		f.fatal(err)
		return err
	}
	f.onMembership(configuration)
	return nil
}

// localSnapshot makes what is applied durable.
type localSnapshot struct {
	machine StateMachine
	applied uint64
}

// Persist implements raft.FSMSnapshot.
func (s *localSnapshot) Persist(to raft.SnapshotSink) error {
	sink, ok := to.(*snapshotSink)
	if !ok {
		return fmt.Errorf("a snapshot of the state machine cannot be written to a %T", to)
	}
	if err := s.machine.Sync(); err != nil {
		return fmt.Errorf("make the state machine durable: %w", err)
	}
	if durable := s.machine.DurableIndex(); durable < s.applied {
		return fmt.Errorf("the state machine is durable up to %d after a sync at %d", durable, s.applied)
	}
	sink.local = true
	return nil
}

// Release implements raft.FSMSnapshot.
func (s *localSnapshot) Release() {}
