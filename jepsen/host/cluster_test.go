//go:build linux

package host

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/client"
)

const timeline = "conv/42"

// clientOf is a client that knows these nodes only.
func clientOf(t *testing.T, h *Host, ids ...NodeID) *client.Client {
	t.Helper()
	var endpoints []string
	for _, id := range ids {
		endpoints = append(endpoints, h.Node(id).Endpoint())
	}
	c, err := client.New(endpoints,
		client.WithoutDiscovery(),
		client.WithDrainTimeout(time.Millisecond),
		client.WithStallTimeout(time.Second),
		client.WithDialOptions(grpc.WithContextDialer(h.Dial)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(ctx context.Context, c *client.Client, text string) (tidemark.SeqID, error) {
	result, err := c.Append(ctx, client.Draft{Timeline: timeline, Sender: "alice", Payload: []byte(text)})
	if err != nil {
		return 0, err
	}
	return result.SeqID, nil
}

func mustSend(t *testing.T, c *client.Client, text string) {
	t.Helper()
	if _, err := send(testContext(t), c, text); err != nil {
		t.Fatalf("append %q: %v", text, err)
	}
}

// payloads reads the whole timeline.
func payloads(ctx context.Context, c *client.Client) ([]string, error) {
	var all []string
	for m, err := range c.Messages(ctx, timeline, client.Linearizable()) {
		if err != nil {
			return nil, err
		}
		all = append(all, string(m.Payload))
	}
	return all, nil
}

// leaderOf waits until there is a leader that is none of those.
func leaderOf(t *testing.T, h *Host, but ...NodeID) (leader NodeID, others []NodeID) {
	t.Helper()
	eventually(t, "a leader", func() bool {
		n, ok := h.Leader(testContext(t))
		if !ok || slices.Contains(but, n.ID()) {
			return false
		}
		leader = n.ID()
		return true
	})
	for _, n := range h.Nodes() {
		if n.ID() != leader {
			others = append(others, n.ID())
		}
	}
	return leader, others
}

// cutOff is what must hold of any network: a leader that is cut off serves nothing
// that it cannot know to be true, the others go on, and it catches up after healing.
func cutOff(t *testing.T, h *Host) {
	mustSend(t, clientOf(t, h, "n1", "n2", "n3"), "before")
	leader, others := leaderOf(t, h)
	if err := h.Partition([]NodeID{leader}, others); err != nil {
		t.Fatal(err)
	}
	alone := clientOf(t, h, leader)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	refused := make(chan error, 1)
	go func() {
		_, err := send(ctx, alone, "to the minority")
		refused <- err
	}()
	if all, err := payloads(ctx, alone); err == nil {
		t.Errorf("a leader that is cut off read %q as the newest", all)
	}
	if err := <-refused; err == nil {
		t.Error("a leader that is cut off took an append")
	}
	mustSend(t, clientOf(t, h, others...), "to the majority")

	if err := h.Heal(); err != nil {
		t.Fatal(err)
	}
	all, err := payloads(testContext(t), alone)
	if err != nil {
		t.Fatalf("after healing: %v", err)
	}
	if !slices.Contains(all, "before") || !slices.Contains(all, "to the majority") {
		t.Errorf("after healing %s reads %q", leader, all)
	}
}

func TestLeaderCutOff(t *testing.T) {
	t.Parallel()
	cutOff(t, inNamespaces(t, form(t, Options{Nodes: 3})))
}

// A leader that hears the others, and is not heard, is replaced. One that merely
// cannot reach one of them is not, and neither is one that clients cannot reach.
func TestLeaderCutOffOneWay(t *testing.T) {
	t.Parallel()
	h := inNamespaces(t, form(t, Options{Nodes: 3}))
	leader, others := leaderOf(t, h)
	if err := errors.Join(h.Cut(Clients, leader, true), h.Cut(leader, others[0], true)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if conn, err := h.Dial(ctx, h.Node(leader).Endpoint()); err == nil {
		conn.Close()
		t.Error("a client reached a node that it is cut off from")
	}
	if stats, err := h.Node(leader).Stats(testContext(t)); err != nil || !stats.Leads || stats.AppliedIndex == 0 {
		t.Errorf("stats of a leader that clients are cut off from: %+v, %v", stats, err)
	}
	mustSend(t, clientOf(t, h, others[1]), "through a follower that reaches the leader")
	if err := errors.Join(h.Heal(), h.Cut(leader, others[0], true), h.Cut(leader, others[1], true)); err != nil {
		t.Fatal(err)
	}
	next, _ := leaderOf(t, h, leader)
	mustSend(t, clientOf(t, h, next), "to the next leader")
}

// All nodes die at once, come back, and have what was acknowledged.
func TestKillAll(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 3})
	c := clientOf(t, h, "n1", "n2", "n3")
	mustSend(t, c, "before")
	if err := h.Kill("n1", "n2", "n3"); err != nil {
		t.Fatal(err)
	}
	for _, n := range h.Nodes() {
		if exits := n.Exits(); n.Running() || len(exits) != 1 || !exits[0].Asked || exits[0].Status != -1 {
			t.Errorf("%s: running %v, exits %+v", n.ID(), n.Running(), exits)
		}
	}
	if leader, ok := h.Leader(testContext(t)); ok {
		t.Errorf("%s leads, though nobody runs", leader.ID())
	}
	if err := h.Form(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if all, err := payloads(testContext(t), c); err != nil || !slices.Equal(all, []string{"before"}) {
		t.Errorf("after the restart: %q, %v", all, err)
	}
}

// A fourth node joins, and leaves for good.
func TestAddAndRemove(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 1})
	n, err := h.Add()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a vote for the new node", func() bool {
		status, err := h.Status(testContext(t), "n1")
		return err == nil && len(status.GetMembers()) == 2 &&
			!slices.ContainsFunc(status.GetMembers(), func(m *member) bool { return m.GetRole() != voter })
	})
	if _, err := clientOf(t, h, "n1").Cluster().RemoveMember(testContext(t), string(n.ID())); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(n.ID()); err != nil {
		t.Fatal(err)
	}
	if n.Running() || h.Node(n.ID()) != nil || n.Start() == nil {
		t.Error("a node that was removed is still there")
	}
	mustSend(t, clientOf(t, h, "n1"), "alone again")
}
