//go:build linux

package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLoopbackLeaderCutOff(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 3, Loopback: true})
	for _, feature := range []Feature{FeatureLoss, FeatureBandwidth, FeatureDisk} {
		if h.Supports(feature) || !strings.Contains(h.Describe(), string(feature)) {
			t.Errorf("%s on loopback: %s", feature, h.Describe())
		}
	}
	if err := errors.Join(h.Lossy("n1", "n2", 1), h.Bandwidth("n1", 1)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("faults that loopback cannot do: %v", err)
	}
	cutOff(t, h)
}

// The relays know who opened a connection, so that the links between two nodes, and
// between a node and the clients, are apart from each other.
func TestLoopbackLinksAreApart(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 3, Loopback: true})
	leader, others := leaderOf(t, h)
	if err := errors.Join(h.Cut(leader, others[0], true), h.Cut(Clients, others[0], true)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if status, err := clientOf(t, h, others[0]).Cluster().Status(ctx); err == nil {
		t.Errorf("a client that is cut off was answered by %s", status.GetNodeId())
	}
	if _, err := h.Status(testContext(t), others[0]); err != nil {
		t.Errorf("the harness is cut off like the clients: %v", err)
	}
	mustSend(t, clientOf(t, h, others[1]), "through a follower that reaches the leader")
}

func TestLoopbackDelay(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 1, Loopback: true})
	c := clientOf(t, h, "n1").Cluster()
	status := func() time.Duration {
		begin := time.Now()
		if _, err := c.Status(testContext(t)); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	status()
	const delay, jitter = 60 * time.Millisecond, 20 * time.Millisecond
	for _, p := range []pair{{Clients, "n1"}, {"n1", Clients}} {
		if err := h.Slow(p.from, p.to, delay, jitter); err != nil {
			t.Fatal(err)
		}
		if took := status(); took < delay-jitter {
			t.Errorf("with a delay of %v ± %v from %s to %s an answer took %v", delay, jitter, p.from, p.to, took)
		}
		if err := h.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	// With the delay on, no answer can be as quick, however often it is asked for.
	eventually(t, "an answer without the delay", func() bool { return status() < delay-jitter })
}
