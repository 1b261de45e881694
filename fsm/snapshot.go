package fsm

import (
	"fmt"

	"tidemark"
	"tidemark/pebblestore"
)

// OpenSnapshot opens a consistent copy of the state for streaming. It does not
// hold up applying.
func (m *Machine) OpenSnapshot() (tidemark.SnapshotReader, error) {
	snapshot, err := m.store.OpenSnapshot()
	if err != nil {
		return nil, fmt.Errorf("fsm: open snapshot: %w", err)
	}
	return snapshot, nil
}

// ReceiveSnapshot starts to receive a stream of OpenSnapshot, beside the present state.
func (m *Machine) ReceiveSnapshot() (tidemark.SnapshotWriter, error) {
	incoming, err := m.store.Receive()
	if err != nil {
		return nil, fmt.Errorf("fsm: receive snapshot: %w", err)
	}
	return incoming, nil
}

// InstallSnapshot replaces the state by a finished one of ReceiveSnapshot. After
// an error, or a crash at any point, the state is the old one or the new one. The
// machine itself remembers nothing of the state but the applied index.
func (m *Machine) InstallSnapshot(w tidemark.SnapshotWriter) error {
	incoming, ok := w.(*pebblestore.Incoming)
	if !ok {
		return fmt.Errorf("fsm: install snapshot: %T was not made by ReceiveSnapshot", w)
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.stopped != nil {
		return m.stopped
	}
	if err := m.store.Install(incoming); err != nil {
		return fmt.Errorf("fsm: install snapshot: %w", err)
	}
	m.waiters.publish(m.store.Applied().Index)
	m.changed(nil)
	return nil
}
