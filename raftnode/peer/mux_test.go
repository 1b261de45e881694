package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestListenRefusesWhatCannotWork(t *testing.T) {
	good := func() Config {
		return Config{
			NodeID: "n1", Incarnation: "i", Listen: "127.0.0.1:0",
			Registry: newMemRegistry(nil), IsMember: func(string) bool { return true },
		}
	}
	taken := rawListener(t)
	for want, change := range map[string]func(*Config){
		"NodeID has 0 bytes":             func(c *Config) { c.NodeID = "" },
		"NodeID has 129 bytes":           func(c *Config) { c.NodeID = strings.Repeat("x", 129) },
		"Incarnation has 0 bytes":        func(c *Config) { c.Incarnation = "" },
		"Registry must be set":           func(c *Config) { c.Registry = nil },
		"IsMember must be set":           func(c *Config) { c.IsMember = nil },
		"Listen must be set":             func(c *Config) { c.Listen = "" },
		"HandshakeTimeout":               func(c *Config) { c.HandshakeTimeout = -1 },
		"MaxConns":                       func(c *Config) { c.MaxConns = -1 },
		"cannot be reached":              func(c *Config) { c.Listen = "0.0.0.0:0" },
		`advertised Raft address "host"`: func(c *Config) { c.Advertise = "host" },
		"address already in use":         func(c *Config) { c.Listen = taken },
	} {
		cfg := good()
		change(&cfg)
		m, err := Listen(cfg)
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestAdvertiseIsWhatOthersUse(t *testing.T) {
	m := openMux(t, "n1", func(c *Config) { c.Listen, c.Advertise = "0.0.0.0:0", "db1.example:7401" })
	for _, got := range []string{m.Advertise(), m.StreamLayer().Addr().String(), m.GRPCListener().Addr().String()} {
		if got != "db1.example:7401" {
			t.Errorf("address is %q", got)
		}
	}
}

// connect dials from one node to another and fails the test if that fails.
func connect(t *testing.T, from, to *testMux, id string) net.Conn {
	t.Helper()
	c, err := from.Dial(testContext(t), KindRaft, id, to.Advertise())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// accept takes the next Raft stream.
func accept(t *testing.T, m *testMux) *Conn {
	t.Helper()
	c, err := m.StreamLayer().Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*Conn)
}

func TestConnsArePassedWithTheirPeer(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	out := connect(t, n1, n2, "n2")
	in := accept(t, n2)
	if in.Peer() != "n1" || out.(*Conn).Peer() != "n2" {
		t.Errorf("peers are %q and %q", in.Peer(), out.(*Conn).Peer())
	}
	// Bytes sent right behind the preface belong to the stream.
	go out.Write([]byte("first words"))
	got := make([]byte, 11)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "first words" {
		t.Errorf("read %q, %v", got, err)
	}
	eventually(t, "both ends to be told", func() bool {
		n1.mu.Lock()
		n2.mu.Lock()
		defer n1.mu.Unlock()
		defer n2.mu.Unlock()
		return fmt.Sprint(n1.accepted) == "[n2 raft inbound=false]" && fmt.Sprint(n2.accepted) == "[n1 raft inbound=true]"
	})
}

func TestConnectionCaps(t *testing.T) {
	n2 := openMux(t, "n2", func(c *Config) { c.MaxConns, c.MaxConnsPerPeer = 3, 2 })
	n1, n3 := openMux(t, "n1", nil), openMux(t, "n3", nil)
	drain(t, n2.StreamLayer())
	refusedAs := func(from *testMux, what string) {
		t.Helper()
		_, err := from.Dial(testContext(t), KindRaft, "n2", n2.Advertise())
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != ReasonTooMany {
			t.Fatalf("%s: %v, want %v", what, err, ReasonTooMany)
		}
	}
	first := connect(t, n1, n2, "n2")
	connect(t, n1, n2, "n2")
	refusedAs(n1, "third connection of one peer")
	connect(t, n3, n2, "n2")
	refusedAs(n3, "fourth connection of all")
	// A closed one makes room: the other end notices when it reads.
	first.Close()
	n2.Disconnect("n1")
	eventually(t, "room after a disconnect", func() bool { return n2.Conns()[KindRaft] == 1 })
	connect(t, n1, n2, "n2")
}

// TestStrangersCannotHoldTheDoor fills the port with connections that never speak.
func TestStrangersCannotHoldTheDoor(t *testing.T) {
	n2 := openMux(t, "n2", func(c *Config) { c.MaxHandshakes, c.HandshakeTimeout = 4, time.Hour })
	n1 := openMux(t, "n1", nil)
	drain(t, n2.StreamLayer())
	first := rawDial(t, n2.Advertise())
	for range 20 {
		rawDial(t, n2.Advertise())
	}
	if n, err := first.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from a connection that should have been pushed out", n)
	}
	connect(t, n1, n2, "n2")
	n2.waitRefusal(t, true, ReasonTimeout)
	n2.pending.mu.Lock()
	defer n2.pending.mu.Unlock()
	if n := len(n2.pending.conns); n > 4 {
		t.Errorf("%d handshakes are pending; limit is 4", n)
	}
}

func TestDisconnectClosesBothDirections(t *testing.T) {
	n1, n2, n3 := openMux(t, "n1", nil), openMux(t, "n2", nil), openMux(t, "n3", nil)
	out := connect(t, n1, n2, "n2")
	accept(t, n2)
	in := connect(t, n2, n1, "n1")
	accept(t, n1)
	other := connect(t, n3, n1, "n1")
	accept(t, n1)
	n1.Disconnect("n2")
	for _, c := range []net.Conn{out, in} {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection with the removed node is open: %v", err)
		}
	}
	if n := n1.Conns()[KindRaft]; n != 1 {
		t.Errorf("%d connections are left, want that of n3", n)
	}
	if _, err := other.Write([]byte("x")); err != nil {
		t.Errorf("connection of another node: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	out := connect(t, n1, n2, "n2")
	accept(t, n2)
	rawDial(t, n2.Advertise()) // in the middle of its handshake
	layer := n2.StreamLayer()
	if err := errors.Join(n2.Close(), n2.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := layer.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	out.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := out.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the other end reads %v, want EOF", err)
	}
	if _, err := n2.Dial(testContext(t), KindRaft, "n1", n1.Advertise()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after close: %v", err)
	}
}

// TestClosedRaftHalfRefuses: after Raft has shut down nobody should wait for it.
func TestClosedRaftHalfRefuses(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	n2.StreamLayer().Close()
	_, err := n1.Dial(testContext(t), KindRaft, "n2", n2.Advertise())
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != ReasonStopping {
		t.Errorf("dial failed with %v, want %v", err, ReasonStopping)
	}
}

func TestPeerRestartsOnTheSamePort(t *testing.T) {
	n1 := openMux(t, "n1", nil)
	registry := newMemRegistry(nil)
	n2 := openMux(t, "n2", func(c *Config) { c.Registry = registry })
	address := n2.Advertise()
	connect(t, n1, n2, "n2")
	accept(t, n2)
	n2.Close()
	n2 = openMux(t, "n2", func(c *Config) { c.Registry, c.Listen = registry, address })
	connect(t, n1, n2, "n2")
	accept(t, n2)
	n2.Close()
	// The same id and port with a fresh disk.
	n2 = openMux(t, "n2", func(c *Config) { c.Incarnation, c.Listen = "n2-b", address })
	if _, err := n1.Dial(testContext(t), KindRaft, "n2", address); err == nil {
		t.Fatal("a node with an empty disk was let in under a known id")
	}
	if _, err := n2.Dial(testContext(t), KindRaft, "n1", n1.Advertise()); err == nil {
		t.Fatal("a node with an empty disk got in under a known id")
	}
	if r := n2.waitRefusal(t, false, ReasonDialerChanged); !r.OwnDataReplaced() || r.Peer != "n1" {
		t.Errorf("the node is not told: %+v", r)
	}
	n2.waitRefusal(t, true, ReasonAcceptorChanged)
	// Removed from the cluster and added anew, it is welcome.
	if err := n1.registry.Forget("n2"); err != nil {
		t.Fatal(err)
	}
	connect(t, n1, n2, "n2")
}

func TestTargetNamesTheNode(t *testing.T) {
	for _, c := range []struct {
		id      raft.ServerID
		address raft.ServerAddress
	}{{"n1", "h:1"}, {"a@b", "[::1]:2"}} {
		id, address, err := splitTarget(Target(c.id, c.address))
		if err != nil || id != string(c.id) || address != string(c.address) {
			t.Errorf("got %q, %q, %v", id, address, err)
		}
	}
	n1 := openMux(t, "n1", nil)
	if _, err := n1.StreamLayer().Dial("h:1", time.Second); err == nil || !strings.Contains(err.Error(), "which node to expect") {
		t.Errorf("dial of a bare address: %v", err)
	}
}
