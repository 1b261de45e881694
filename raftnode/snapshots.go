package raftnode

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

// snapshotStore shows Raft the state machine as its one snapshot.
//
//   - List says what the state machine's Applied record says: it is written in the
//     same batch as the data, so it never speaks of anything that is not there.
//   - A local snapshot (takeSnapshot) is Create, localSnapshot.Persist, Close; it
//     only makes the state machine durable.
//   - Open streams a checkpoint of the state machine. What it says of the index,
//     the term, the members and the size is that of this very checkpoint, which
//     is newer than what List said.
//   - An incoming snapshot is Create, Write…, Close, Open, FSM.Restore. Until
//     Restore it is built beside the state and is not visible to List: a crash
//     before the swap leaves the old state, a crash after it the new one.
type snapshotStore struct {
	machine   StateMachine
	retention *retention
	// installed makes the log fit the state that was just swapped in.
	installed func(index, term uint64) error
	// missed is told of the members before a state is swapped in that has others
	// than those which this node has followed.
	missed  func(raft.Configuration)
	logger  *slog.Logger
	metrics *Metrics

	mu      sync.Mutex
	serial  uint64
	pending map[string]*snapshotSink
	// opened is the incoming snapshot that Raft is about to restore.
	opened *snapshotSink
	// streams counts the snapshots that are being sent.
	streams  int
	installs []time.Time
}

var _ raft.SnapshotStore = (*snapshotStore)(nil)

// currentID names the state machine's present state.
const currentID = "current"

func newSnapshotStore(cfg *Config, keep *retention) *snapshotStore {
	return &snapshotStore{
		machine:   cfg.Machine,
		retention: keep,
		installed: func(uint64, uint64) error { return nil },
		missed:    func(raft.Configuration) {},
		logger:    cfg.Logger,
		metrics:   cfg.Metrics,
		pending:   map[string]*snapshotSink{},
	}
}

func snapshotMeta(id string, a tidemark.Applied, size int64) (*raft.SnapshotMeta, error) {
	configuration, err := decodeMembership(a.Membership)
	if err != nil {
		return nil, err
	}
	return &raft.SnapshotMeta{
		Version:            raft.SnapshotVersionMax,
		ID:                 id,
		Index:              a.Index,
		Term:               a.Term,
		Configuration:      configuration,
		ConfigurationIndex: a.MembershipIndex,
		Size:               size,
	}, nil
}

// List implements raft.SnapshotStore.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	a := s.machine.Applied()
	if a.Index == 0 {
		return nil, nil
	}
	meta, err := snapshotMeta(currentID, a, 0)
	if err != nil {
		return nil, err
	}
	return []*raft.SnapshotMeta{meta}, nil
}

// Open implements raft.SnapshotStore.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if id != currentID {
		s.mu.Lock()
		defer s.mu.Unlock()
		sink := s.pending[id]
		if sink == nil {
			return nil, nil, fmt.Errorf("no snapshot %s was received", id)
		}
		delete(s.pending, id)
		s.opened = sink
		meta := sink.meta
		return &meta, io.NopCloser(emptyReader{}), nil
	}
	reader, err := s.machine.OpenSnapshot()
	if err != nil {
		return nil, nil, fmt.Errorf("open a checkpoint of the state machine: %w", err)
	}
	meta, err := snapshotMeta(id, reader.Applied(), reader.Size())
	if err != nil {
		return nil, nil, errors.Join(err, reader.Close())
	}
	s.mu.Lock()
	s.streams++
	s.mu.Unlock()
	s.metrics.snapshotsSent.Inc()
	return meta, &snapshotStream{SnapshotReader: reader, store: s, hold: s.retention.hold(meta.Index)}, nil
}

// sending says whether a snapshot is being sent.
func (s *snapshotStore) sending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams > 0
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, io.EOF }

// snapshotStream is a checkpoint on its way to a follower. While it is read, and
// a while after, the log behind it is kept: else a follower of a busy leader
// would need the next snapshot as soon as it has this one.
type snapshotStream struct {
	tidemark.SnapshotReader
	store *snapshotStore
	hold  *hold
	once  sync.Once
	err   error
}

func (r *snapshotStream) Read(p []byte) (int, error) {
	n, err := r.SnapshotReader.Read(p)
	r.store.retention.prolong(r.hold)
	r.store.metrics.snapshotBytesSent.Add(float64(n))
	return n, err
}

func (r *snapshotStream) Close() error {
	r.once.Do(func() {
		r.store.retention.prolong(r.hold)
		r.store.mu.Lock()
		r.store.streams--
		r.store.mu.Unlock()
		r.err = r.SnapshotReader.Close()
	})
	return r.err
}

// Create implements raft.SnapshotStore.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	s.mu.Lock()
	s.serial++
	id := fmt.Sprintf("%d-%d-%d", term, index, s.serial)
	s.mu.Unlock()
	return &snapshotSink{store: s, meta: raft.SnapshotMeta{
		Version: version, ID: id, Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

// snapshotSink takes a snapshot: a local one, which has no bytes, or an incoming one.
type snapshotSink struct {
	store *snapshotStore
	meta  raft.SnapshotMeta
	// local says that Persist made the state machine durable.
	local  bool
	writer tidemark.SnapshotWriter
	closed bool
}

// ID implements raft.SnapshotSink.
func (s *snapshotSink) ID() string {
	if s.local {
		return currentID
	}
	return s.meta.ID
}

// Write implements raft.SnapshotSink. Only an incoming snapshot is written.
func (s *snapshotSink) Write(p []byte) (int, error) {
	if s.writer == nil {
		if have := s.store.machine.Applied().Index; s.meta.Index < have {
			return 0, fmt.Errorf("the leader's snapshot is at index %d, but this node has applied %d", s.meta.Index, have)
		}
		writer, err := s.store.machine.ReceiveSnapshot()
		if err != nil {
			return 0, fmt.Errorf("receive a snapshot: %w", err)
		}
		s.writer = writer
	}
	n, err := s.writer.Write(p)
	s.meta.Size += int64(n)
	s.store.metrics.snapshotBytesReceived.Add(float64(n))
	return n, err
}

// Close implements raft.SnapshotSink. An incoming snapshot is then verified and on
// the disk, but not yet the state.
func (s *snapshotSink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	switch {
	case s.local:
		s.store.metrics.snapshotsTaken.Inc()
		return nil
	case s.writer == nil:
		return fmt.Errorf("the received snapshot is empty")
	}
	a, err := s.writer.Finish()
	if err == nil && (a.Index != s.meta.Index || a.Term != s.meta.Term || a.MembershipIndex != s.meta.ConfigurationIndex) {
		err = fmt.Errorf("%w: the received snapshot says index %d, term %d, members of %d; its sender said %d, %d, %d", tidemark.ErrCorrupt,
			a.Index, a.Term, a.MembershipIndex, s.meta.Index, s.meta.Term, s.meta.ConfigurationIndex)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("verify the received snapshot: %w", err), s.writer.Abort())
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.pending[s.meta.ID] = s
	return nil
}

// Cancel implements raft.SnapshotSink.
func (s *snapshotSink) Cancel() error {
	if s.closed || s.writer == nil {
		return nil
	}
	s.closed = true
	return s.writer.Abort()
}

// install makes the snapshot that Raft opened last the state.
func (s *snapshotStore) install() error {
	s.mu.Lock()
	sink := s.opened
	s.opened = nil
	s.mu.Unlock()
	if sink == nil {
		return errors.New("no received snapshot was opened")
	}
	have := s.machine.Applied()
	if sink.meta.Index < have.Index {
		return s.skip(sink, have)
	}
	start := time.Now()
	if sink.meta.ConfigurationIndex != have.MembershipIndex {
		s.missed(sink.meta.Configuration)
	}
	if err := s.machine.InstallSnapshot(sink.writer); err != nil {
		return err
	}
	s.retention.restart(sink.meta.Index)
	if err := s.installed(sink.meta.Index, sink.meta.Term); err != nil {
		return err
	}
	s.logger.Info("installed a snapshot from the leader", "index", sink.meta.Index, "term", sink.meta.Term,
		"bytes", sink.meta.Size, "swap", time.Since(start))
	s.countInstall(start)
	return nil
}

// skip drops a snapshot that the state machine has passed: entries that Raft had
// handed over before it were applied while it came. Raft hands them over again
// after it, and the state machine passes over them, so it never goes back. But
// Raft now believes the snapshot's members, and if newer ones are among those
// entries only a restart tells it.
func (s *snapshotStore) skip(sink *snapshotSink, have tidemark.Applied) error {
	err := sink.writer.Abort()
	if have.MembershipIndex > sink.meta.ConfigurationIndex {
		err = errors.Join(err, fmt.Errorf("%w: a snapshot at %d came after the members had changed at %d", ErrRestart, sink.meta.Index, have.MembershipIndex))
	}
	s.logger.Info("dropped a snapshot that the state has passed", "index", sink.meta.Index, "applied_index", have.Index)
	return err
}

// maxInstallsPerMinute is how many snapshots a follower may install in a minute
// before the node raises the alarm: one that needs the next as soon as it has the
// last will never catch up (hashicorp/raft #697).
const maxInstallsPerMinute = 3

func (s *snapshotStore) countInstall(now time.Time) {
	s.metrics.snapshotsInstalled.Inc()
	s.mu.Lock()
	s.installs = append(s.installs, now)
	for now.Sub(s.installs[0]) > time.Minute {
		s.installs = s.installs[1:]
	}
	n := len(s.installs)
	s.mu.Unlock()
	if n > maxInstallsPerMinute {
		s.metrics.installAlarms.Inc()
		s.logger.Error("this node installs one snapshot after the other and does not catch up; "+
			"compare its log with the leader's, or remove it and let it join again with an empty data directory", "installs_in_a_minute", n)
	}
}

// close drops what was received and never restored.
func (s *snapshotStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for id, sink := range s.pending {
		errs = append(errs, sink.writer.Abort())
		delete(s.pending, id)
	}
	return errors.Join(errs...)
}
