package raftnode

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"time"

	"tidemark"
)

// fakeNoop is the command without effect of the tests.
var fakeNoop = []byte{0}

// encodeFake is EncodeEntry of the tests: the time, then each command with its length.
func encodeFake(at time.Time, commands [][]byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	for _, c := range commands {
		b = binary.AppendUvarint(b, uint64(len(c)))
		b = append(b, c...)
	}
	return b
}

func decodeFake(data []byte) (commands [][]byte) {
	for data = data[8:]; len(data) > 0; {
		n, w := binary.Uvarint(data)
		commands = append(commands, data[w:w+int(n)])
		data = data[w+int(n):]
	}
	return commands
}

// fakeState is what a fakeMachine holds.
type fakeState struct {
	Applied  tidemark.Applied
	Commands []string
}

func (s fakeState) clone() fakeState {
	s.Commands = slices.Clone(s.Commands)
	return s
}

// fakeMachine is a state machine in memory that remembers every command. It
// survives the node that uses it; crash takes back what was not synced.
type fakeMachine struct {
	mu       sync.Mutex
	state    fakeState
	durable  fakeState
	progress chan struct{}
	// indexes are those of all entries that were applied, to see that none comes twice.
	indexes []uint64
	// open counts the open snapshots.
	open int

	// Hooks of single tests; nil does nothing.
	beforeApply    func()
	beforeInstall  func() error
	afterInstall   func()
	snapshotReader func(io.Reader) io.Reader
}

var _ StateMachine = (*fakeMachine)(nil)

func newFakeMachine() *fakeMachine { return &fakeMachine{progress: make(chan struct{})} }

func (m *fakeMachine) ApplyBatch(entries []tidemark.Entry) [][]any {
	m.mu.Lock()
	before := m.beforeApply
	m.mu.Unlock()
	if before != nil {
		before()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	results := make([][]any, len(entries))
	for i, e := range entries {
		if e.Index <= m.state.Applied.Index {
			continue
		}
		m.indexes = append(m.indexes, e.Index)
		m.state.Applied.Index, m.state.Applied.Term = e.Index, e.Term
		if e.Kind == tidemark.EntryMembership {
			m.state.Applied.Membership, m.state.Applied.MembershipIndex = e.Data, e.Index
			continue
		}
		for _, c := range decodeFake(e.Data) {
			if !bytes.Equal(c, fakeNoop) {
				m.state.Commands = append(m.state.Commands, string(c))
			}
			results[i] = append(results[i], len(m.state.Commands))
		}
	}
	m.announce()
	return results
}

func (m *fakeMachine) announce() {
	close(m.progress)
	m.progress = make(chan struct{})
}

func (m *fakeMachine) Applied() tidemark.Applied {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Applied
}

func (m *fakeMachine) WaitApplied(ctx context.Context, index uint64) error {
	for {
		m.mu.Lock()
		progress, have := m.progress, m.state.Applied.Index
		m.mu.Unlock()
		if have >= index {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", tidemark.ErrNotCaughtUp, context.Cause(ctx))
		}
	}
}

func (m *fakeMachine) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durable = m.state.clone()
	return nil
}

func (m *fakeMachine) DurableIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.durable.Applied.Index
}

func (m *fakeMachine) SetMembership(a tidemark.Applied) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Applied = a
	m.durable = m.state.clone()
	return nil
}

// crash takes back what was not synced.
func (m *fakeMachine) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = m.durable.clone()
	m.indexes = nil
}

func (m *fakeMachine) commands() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state.Commands)
}

// fakeSnapshot is a checksum, then the state as JSON.
type fakeSnapshot struct {
	io.Reader
	machine *fakeMachine
	applied tidemark.Applied
	size    int64
	once    sync.Once
}

func (m *fakeMachine) OpenSnapshot() (tidemark.SnapshotReader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, err := json.Marshal(m.state)
	if err != nil {
		return nil, err
	}
	data := append(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)), body...)
	m.open++
	var r io.Reader = bytes.NewReader(data)
	if m.snapshotReader != nil {
		r = m.snapshotReader(r)
	}
	return &fakeSnapshot{Reader: r, machine: m, applied: m.state.Applied, size: int64(len(data))}, nil
}

func (s *fakeSnapshot) Applied() tidemark.Applied { return s.applied }
func (s *fakeSnapshot) Size() int64               { return s.size }
func (s *fakeSnapshot) Close() error {
	s.once.Do(func() {
		s.machine.mu.Lock()
		s.machine.open--
		s.machine.mu.Unlock()
	})
	return nil
}

type fakeIncoming struct {
	bytes.Buffer
	state   fakeState
	aborted bool
}

func (m *fakeMachine) ReceiveSnapshot() (tidemark.SnapshotWriter, error) { return &fakeIncoming{}, nil }

func (w *fakeIncoming) Finish() (tidemark.Applied, error) {
	data := w.Bytes()
	if len(data) < 4 || binary.BigEndian.Uint32(data) != crc32.ChecksumIEEE(data[4:]) {
		return tidemark.Applied{}, tidemark.ErrCorrupt
	}
	err := json.Unmarshal(data[4:], &w.state)
	return w.state.Applied, err
}

func (w *fakeIncoming) Abort() error { w.aborted = true; return nil }

func (m *fakeMachine) InstallSnapshot(w tidemark.SnapshotWriter) error {
	if m.beforeInstall != nil {
		if err := m.beforeInstall(); err != nil {
			return err
		}
	}
	incoming, ok := w.(*fakeIncoming)
	if !ok || incoming.state.Applied.Index == 0 {
		return errors.New("not a finished snapshot")
	}
	m.mu.Lock()
	m.state = incoming.state.clone()
	m.state.Applied.InstalledIndex = m.state.Applied.Index
	m.durable = m.state.clone()
	m.announce()
	m.mu.Unlock()
	if m.afterInstall != nil {
		m.afterInstall()
	}
	return nil
}
