//go:build linux

package host

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// lan is two members without nodes, n1 and n2, between which sockets are opened.
func lan(t *testing.T) *Host {
	t.Helper()
	return inNamespaces(t, describeHost(t, Options{Nodes: 2}))
}

func (h *Host) spaces() *spaces { return h.network.(*spaces) }

// packetsAt listens for UDP at a member.
func packetsAt(t *testing.T, h *Host, id NodeID) (net.PacketConn, string) {
	t.Helper()
	m := h.spaces().member(id)
	var conn net.PacketConn
	err := inside(m.ns, func() (err error) {
		conn, err = net.ListenPacket("udp4", net.JoinHostPort(m.ip.String(), "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, conn.LocalAddr().String()
}

func inside(ns netns.NsHandle, f func() error) error {
	return onThread(func() error { return within(ns, f) })
}

// count sends n packets from one member to the other, and returns how many arrived
// until a packet from another member, which nothing is wrong with, came after them.
func count(t *testing.T, h *Host, from, to NodeID, n int) int {
	t.Helper()
	receiver, address := packetsAt(t, h, to)
	sender, err := h.spaces().dialFrom(testContext(t), from, "udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	arrived := 0
	buffer := make([]byte, 16)
	read := func(patience time.Duration) bool {
		if err := receiver.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _, err := receiver.ReadFrom(buffer)
		return err == nil
	}
	for sent := 0; sent < n; {
		// Few enough at a time for the receiver's buffer.
		for range min(n-sent, 100) {
			if _, err := sender.Write([]byte("packet")); err != nil {
				t.Fatalf("the sender was told: %v", err)
			}
			sent++
		}
		// veth hands packets over as they are sent, so what did not come is lost.
		for read(20 * time.Millisecond) {
			arrived++
		}
	}
	return arrived
}

// echo serves one connection after the other at a member: it sends back what it gets.
func echo(t *testing.T, h *Host, id NodeID) string {
	t.Helper()
	m := h.spaces().member(id)
	var listener net.Listener
	err := inside(m.ns, func() (err error) {
		listener, err = net.Listen("tcp4", net.JoinHostPort(m.ip.String(), "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestCutIsOneWay(t *testing.T) {
	h := lan(t)
	if err := h.Cut("n1", "n2", true); err != nil {
		t.Fatal(err)
	}
	if got := count(t, h, "n1", "n2", 10); got != 0 {
		t.Errorf("%d of 10 packets passed the cut from n1 to n2", got)
	}
	if got := count(t, h, "n2", "n1", 10); got != 10 {
		t.Errorf("%d of 10 packets came back from n2 to n1, which is not cut", got)
	}
	if got := count(t, h, Clients, "n2", 10); got != 10 {
		t.Errorf("%d of 10 packets came from the clients, which are not cut off", got)
	}
	if err := h.Cut("n1", "n2", false); err != nil {
		t.Fatal(err)
	}
	if got := count(t, h, "n2", "n1", 10); got != 0 {
		t.Errorf("%d of 10 packets passed a cut of both directions", got)
	}
	if err := h.Heal(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []pair{{"n1", "n2"}, {"n2", "n1"}} {
		if got := count(t, h, p.from, p.to, 10); got != 10 {
			t.Errorf("%d of 10 packets passed from %s to %s after healing", got, p.from, p.to)
		}
	}
}

// A cut does not end connections: what was sent arrives when it is healed.
func TestCutKeepsConnections(t *testing.T) {
	h := lan(t)
	conn, err := h.spaces().dialFrom(testContext(t), "n1", "tcp4", echo(t, h, "n2"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := h.Cut("n2", "n1", true); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(conn)
	if line, err := lines.ReadString('\n'); err == nil {
		t.Fatalf("%q passed the cut", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if late, err := h.spaces().dialFrom(ctx, "n1", "tcp4", conn.RemoteAddr().String()); err == nil {
		late.Close()
		t.Error("a connection was opened though nothing comes back")
	}
	if err := h.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); err != nil || line != "line\n" {
		t.Errorf("after healing: %q, %v", line, err)
	}
}

func TestLoss(t *testing.T) {
	h := lan(t)
	if !h.Supports(FeatureLoss) {
		t.Skip("this kernel has no random numbers in its packet filter")
	}
	if err := h.Lossy("n1", "n2", 30); err != nil {
		t.Fatal(err)
	}
	// The limits are seven standard deviations away.
	const sent, low, high = 2000, 1257, 1543
	if got := count(t, h, "n1", "n2", sent); got < low || got > high {
		t.Errorf("%d of %d packets arrived with a loss of 30 %%", got, sent)
	}
	if got := count(t, h, "n2", "n1", 100); got != 100 {
		t.Errorf("%d of 100 packets came back, where nothing is lost", got)
	}
	if err := h.Lossy("n1", "n2", 0); err != nil {
		t.Fatal(err)
	}
	if got := count(t, h, "n1", "n2", 100); got != 100 {
		t.Errorf("%d of 100 packets arrived when the loss had ended", got)
	}
}

// roundTrip sends a line and waits for it to come back.
func roundTrip(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := conn.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

// The delay holds for connections that are open already.
func TestDelay(t *testing.T) {
	h := lan(t)
	if !h.Supports(FeatureDelay) {
		t.Skip("this kernel hands no packets to programs")
	}
	conn, err := h.spaces().dialFrom(testContext(t), "n1", "tcp4", echo(t, h, "n2"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const delay, jitter, most = 60 * time.Millisecond, 20 * time.Millisecond, time.Second
	for _, p := range []pair{{"n1", "n2"}, {"n2", "n1"}} {
		if err := h.Slow(p.from, p.to, delay, jitter); err != nil {
			t.Fatal(err)
		}
		if took := roundTrip(t, conn); took < delay-jitter || took > most {
			t.Errorf("with a delay of %v ± %v from %s to %s a round trip took %v", delay, jitter, p.from, p.to, took)
		}
		if err := h.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	best := most
	for range 10 {
		best = min(best, roundTrip(t, conn))
	}
	if best > delay/2 {
		t.Errorf("when the delay had ended, the best of ten round trips took %v", best)
	}
}

// Packets keep their order however different their delays are.
func TestDelayKeepsOrder(t *testing.T) {
	h := lan(t)
	if !h.Supports(FeatureDelay) {
		t.Skip("this kernel hands no packets to programs")
	}
	receiver, address := packetsAt(t, h, "n2")
	sender, err := h.spaces().dialFrom(testContext(t), "n1", "udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if err := h.Slow("n1", "n2", 10*time.Millisecond, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	const packets = 100
	for i := range packets {
		if _, err := sender.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := receiver.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1)
	for i := range packets {
		if _, _, err := receiver.ReadFrom(buffer); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if int(buffer[0]) != i {
			t.Fatalf("packet %d came in place of %d", buffer[0], i)
		}
	}
}

func TestBandwidth(t *testing.T) {
	h := lan(t)
	if !h.Supports(FeatureBandwidth) {
		t.Skip("this kernel has no token bucket")
	}
	const rate, size = 1 << 20, 300 << 10
	if err := h.Bandwidth("n1", rate); err != nil {
		t.Fatal(err)
	}
	// n1 sends at that rate, and gets at that rate.
	for _, p := range []pair{{"n1", "n2"}, {"n2", "n1"}} {
		took := transfer(t, h, p, size)
		if got := size / took.Seconds(); got > 1.3*rate || got < rate/3 {
			t.Errorf("from %s to %s: %.0f bytes a second, of %d", p.from, p.to, got, rate)
		}
	}
	if err := h.Heal(); err != nil {
		t.Fatal(err)
	}
	if took := transfer(t, h, pair{"n1", "n2"}, size); took > 100*time.Millisecond {
		t.Errorf("when the bound had ended, %d bytes took %v", size, took)
	}
}

// transfer sends bytes and waits until the other side has all.
func transfer(t *testing.T, h *Host, p pair, size int) time.Duration {
	t.Helper()
	m := h.spaces().member(p.to)
	var listener net.Listener
	err := inside(m.ns, func() (err error) {
		listener, err = net.Listen("tcp4", net.JoinHostPort(m.ip.String(), "0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := h.spaces().dialFrom(testContext(t), p.from, "tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	begin := time.Now()
	go func() {
		_, _ = conn.Write(make([]byte, size))
		conn.Close()
	}()
	if n, err := io.Copy(io.Discard, far); err != nil || n != int64(size) {
		t.Fatalf("%d of %d bytes arrived: %v", n, size, err)
	}
	return time.Since(begin)
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	h := lan(t)
	for name, err := range map[string]error{
		"unknown node":     h.Cut("n1", "n9", true),
		"no link":          h.Cut("n1", "n1", true),
		"unknown group":    h.Partition([]NodeID{"n1", "n9"}),
		"loss":             h.Lossy("n1", "n2", 101),
		"jitter":           h.Slow("n1", "n2", time.Second, 2*time.Second),
		"bandwidth":        h.Bandwidth("n9", 1),
		"start of nothing": h.Remove("n9"),
	} {
		if err == nil || errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
