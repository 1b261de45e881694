package peer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// memRegistry is a Registry that keeps nothing.
type memRegistry struct {
	mu    sync.Mutex
	peers map[string]string
	fail  error
}

func newMemRegistry(known map[string]string) *memRegistry {
	r := &memRegistry{peers: map[string]string{}}
	for id, inc := range known {
		r.peers[id] = inc
	}
	return r
}

func (r *memRegistry) Known(id string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inc, ok := r.peers[id]
	return inc, ok
}

func (r *memRegistry) Remember(id, incarnation string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.peers[id]; ok && known != incarnation {
		return fmt.Errorf("node %q: %w", id, ErrChanged)
	}
	if r.fail != nil {
		return r.fail
	}
	r.peers[id] = incarnation
	return nil
}

func (r *memRegistry) Forget(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, id)
	return nil
}

// testMux is a Mux that remembers what it refused and accepted.
type testMux struct {
	*Mux
	registry *memRegistry

	mu       sync.Mutex
	refusals []Refusal
	accepted []string
}

// openMux starts a node whose incarnation is its id + "-a", unless change says else.
func openMux(t *testing.T, id string, change func(*Config)) *testMux {
	t.Helper()
	tm := &testMux{registry: newMemRegistry(nil)}
	cfg := Config{
		NodeID: id, Incarnation: id + "-a", Listen: "127.0.0.1:0",
		Registry: tm.registry,
		IsMember: func(string) bool { return true },
		OnRefused: func(r Refusal) {
			tm.mu.Lock()
			defer tm.mu.Unlock()
			tm.refusals = append(tm.refusals, r)
		},
		OnAccepted: func(peer string, kind Kind, inbound bool) {
			tm.mu.Lock()
			defer tm.mu.Unlock()
			tm.accepted = append(tm.accepted, fmt.Sprintf("%s %v inbound=%v", peer, kind, inbound))
		},
	}
	if change != nil {
		change(&cfg)
	}
	m, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tm.Mux = m
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close of %s: %v", id, err)
		}
	})
	return tm
}

func (m *testMux) refusal(match func(Refusal) bool) (Refusal, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.refusals {
		if match(r) {
			return r, true
		}
	}
	return Refusal{}, false
}

// waitRefusal waits until the node has refused, or was refused, for that reason.
func (m *testMux) waitRefusal(t *testing.T, inbound bool, reason Reason) Refusal {
	t.Helper()
	var found Refusal
	eventually(t, fmt.Sprintf("refusal %v, inbound %v", reason, inbound), func() bool {
		r, ok := m.refusal(func(r Refusal) bool { return r.Inbound == inbound && r.Reason == reason })
		found = r
		return ok
	})
	return found
}

// eventually polls until ok, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// testContext ends before the test does.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// drain closes whatever arrives, so that handshakes do not wait for a taker.
func drain(t *testing.T, l net.Listener) {
	t.Helper()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				<-t.Context().Done()
				c.Close()
			}()
		}
	}()
}

// rawDial connects without a preface and reads and writes under a deadline.
func rawDial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// rawListener returns the address of a port that the kernel accepts on and nobody reads.
func rawListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
