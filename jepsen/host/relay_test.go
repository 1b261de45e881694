//go:build linux

package host

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// relayedPair returns a connection from a to b through a relay, b's end of it, and the gates.
func relayedPair(t *testing.T) (near, far net.Conn, there, back *gate) {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	there, back = newGate(), newGate()
	r, err := newRelay(target.Addr().String(), func(*net.TCPConn) (pair, bool) {
		return pair{"a", "b"}, true
	}, func(p pair) *gate {
		if p.from == "a" {
			return there
		}
		return back
	})
	if err != nil {
		t.Fatal(err)
	}
	if near, err = net.Dial("tcp", r.address()); err != nil {
		t.Fatal(err)
	}
	if far, err = target.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return near, far, there, back
}

// arrives reports whether a byte that one side sends comes to the other within d.
func arrives(t *testing.T, from, to net.Conn, d time.Duration) bool {
	t.Helper()
	if _, err := from.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	return comes(t, to, d)
}

func comes(t *testing.T, to net.Conn, d time.Duration) bool {
	t.Helper()
	if err := to.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadFull(to, make([]byte, 1))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRelayIsOneWay(t *testing.T) {
	near, far, there, back := relayedPair(t)
	const never = 50 * time.Millisecond
	for _, direction := range []struct {
		name     string
		cut      *gate
		from, to net.Conn
	}{
		{"there", there, near, far},
		{"back", back, far, near},
	} {
		if !arrives(t, direction.from, direction.to, patience) {
			t.Errorf("%s: nothing passed an open relay", direction.name)
		}
		direction.cut.set(link{cut: true})
		if arrives(t, direction.from, direction.to, never) {
			t.Errorf("%s: a byte passed the cut", direction.name)
		}
		if !arrives(t, direction.to, direction.from, patience) {
			t.Errorf("%s: nothing passed the other way, which is not cut", direction.name)
		}
		direction.cut.set(link{})
		if !comes(t, direction.to, patience) {
			t.Errorf("%s: what was held back did not come after healing", direction.name)
		}
	}
	// An end passes like the rest.
	if err := near.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := far.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
	if !arrives(t, far, near, patience) {
		t.Error("the end of one direction was the end of the other")
	}
}

// A relay closes though nobody reads, and though a cut holds bytes back.
func TestRelayClosesUnderLoad(t *testing.T) {
	near, _, there, _ := relayedPair(t)
	there.set(link{cut: true})
	if err := near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := near.Write(make([]byte, relayChunk)); err != nil {
			break
		}
	}
}
