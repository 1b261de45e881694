package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// These tests run against real nodes.

// dialReal returns a client with the default patience of a process on loopback.
func dialReal(t testing.TB, endpoints []string, opts ...client.Option) *client.Client {
	t.Helper()
	return dial(t, endpoints, append([]client.Option{client.WithStallTimeout(time.Second), client.WithConnectTimeout(time.Second)}, opts...)...)
}

// TestRealCluster has callers that append without pause while leaders crash, are cut
// off, and come back. What was acknowledged is there, once, in order, dense, with a
// digest chain that can be recomputed.
func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for seconds")
	}
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	c := dialReal(t, cluster.Addresses(), client.WithMaxInFlight(200, 1<<20), client.WithLeaderRefresh(200*time.Millisecond))
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()

	stop := make(chan struct{})
	acknowledged := make([][]*client.AppendResult, 4)
	var callers sync.WaitGroup
	for i := range acknowledged {
		callers.Go(func() { acknowledged[i] = appendUntil(ctx, t, c, i, stop) })
	}
	// moreAppends waits until the present leader has answered some.
	moreAppends := func() {
		for range 20 {
			if _, err := c.Append(ctx, client.Draft{Timeline: "conv/progress"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for round := range 3 {
		moreAppends()
		leader := cluster.Leader()
		switch round {
		case 0:
			leader.Crash()
			cluster.Leader()
			leader.Start()
		case 1:
			leader.Isolate()
			cluster.Leader()
			leader.Heal()
		case 2:
			leader.Stop()
			cluster.Leader()
			leader.Start()
		}
		cluster.WaitReady()
	}
	moreAppends()
	close(stop)
	callers.Wait()
	for i, results := range acknowledged {
		t.Logf("conv/%d: %d acknowledged", i, len(results))
		checkTimeline(ctx, t, c, tidemark.TimelineID(fmt.Sprint("conv/", i)), results)
	}
}

// appendInterval bounds the load: without it, callers of three nodes on two processors
// leave nothing for a node that has to come back, nor for the check of all stores after it.
const appendInterval = 5 * time.Millisecond

// appendUntil hands appends in, up to 50 ahead of their outcomes.
func appendUntil(ctx context.Context, t *testing.T, c *client.Client, caller int, stop chan struct{}) (results []*client.AppendResult) {
	var pending []*client.Pending
	settle := func(n int) {
		for len(pending) > n {
			result, err := pending[0].Wait(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			results = append(results, result)
			pending = pending[1:]
		}
	}
	pace := time.NewTicker(appendInterval)
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			settle(0)
			return results
		case <-pace.C:
		}
		p, err := c.AppendAsync(ctx, client.Draft{
			Timeline: tidemark.TimelineID(fmt.Sprint("conv/", caller)), ID: tidemark.MessageID(fmt.Sprint("m", n)),
			Sender: "alice", Payload: []byte(fmt.Sprint("payload ", n)), Attributes: map[string]string{"n": fmt.Sprint(n), "a": "b"},
		})
		if err != nil {
			t.Error(err)
			return results
		}
		pending = append(pending, p)
		settle(50)
	}
}

// checkTimeline compares a timeline with what was acknowledged, in order.
func checkTimeline(ctx context.Context, t *testing.T, c *client.Client, name tidemark.TimelineID, results []*client.AppendResult) {
	t.Helper()
	digest := tidemark.InitialDigest(name)
	n := 0
	for m, err := range c.Messages(ctx, name) {
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(results) {
			t.Fatalf("%s: message %d was not acknowledged", name, m.SeqID)
		}
		words, err := m.Tidemark()
		if err != nil {
			t.Fatal(err)
		}
		digest = tidemark.NextDigest(digest, m.SeqID, tidemark.Time(m.ServerTime.UnixNano()), m.ID, words.Hash(tidemark.HashPayload(m.Payload)))
		r := results[n]
		n++
		if m.SeqID != tidemark.SeqID(n) || r.SeqID != m.SeqID || m.ID != tidemark.MessageID(fmt.Sprint("m", n-1)) || r.ID != m.ID ||
			r.Digest != m.Digest || !r.ServerTime.Equal(m.ServerTime) || m.Digest != digest {
			t.Fatalf("%s: message %d is %+v, digest %v, acknowledged as %+v", name, n, m, digest, r)
		}
	}
	if n != len(results) {
		t.Errorf("%s: %d messages, %d acknowledged", name, n, len(results))
	}
}

// TestRealSession: a session reads its own writes on every node, and hands over.
func TestRealSession(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	writer := dialReal(t, cluster.Addresses())
	for i := range 20 {
		sent := mustAppend(t, writer, draft(fmt.Sprint("m", i)))
		for range cluster.Nodes() {
			page, err := writer.Read(ctx, "conv/1", client.Newest(1), client.Session())
			if err != nil || page.Messages[0].SeqID != sent.SeqID {
				t.Fatalf("%+v, %v", page, err)
			}
		}
	}
	for _, address := range cluster.Addresses() {
		reader := dialReal(t, []string{address}, client.WithoutDiscovery(), client.WithConsistency(client.Session()))
		position, err := tidemark.ParsePosition("position", writer.Position().Token())
		if err != nil {
			t.Fatal(err)
		}
		reader.Observe(position)
		if head, err := reader.Timeline(ctx, "conv/1"); err != nil || head.Last != 20 {
			t.Errorf("%+v, %v", head, err)
		}
	}
}

// TestRealCalls has each call once, through a follower alone.
func TestRealCalls(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, []string{cluster.Followers()[0].Address}, client.WithoutDiscovery())
	first := mustAppend(t, c, client.Draft{Timeline: "conv/1", Sender: "alice", Payload: []byte("one")})
	results, err := c.AppendBatch(ctx, []client.Draft{{Timeline: "conv/1", ID: "two"}, {Timeline: "conv/2", ID: "x"}}, client.Atomic(), client.ExpectLastSeqIDOf("conv/1", 1))
	if err != nil || results[0].SeqID != 2 || results[1].SeqID != 1 {
		t.Fatalf("%+v, %v", results, err)
	}
	var conflict *tidemark.SequenceConflictError
	if _, err := c.Append(ctx, client.Draft{Timeline: "conv/1"}, client.ExpectLastSeqID(9)); !errors.As(err, &conflict) || conflict.Last != 2 || conflict.Expected != 9 {
		t.Errorf("got %v", err)
	}
	_, err = c.AppendBatch(ctx, []client.Draft{{Timeline: "conv/1", ID: "three"}, {Timeline: "conv/2", ID: "y"}}, client.Atomic(), client.ExpectLastSeqIDOf("conv/2", 9))
	if !errors.Is(err, tidemark.ErrSequenceConflict) || !errors.Is(err, tidemark.ErrBatchAborted) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Append(ctx, client.Draft{Timeline: "conv/1", ID: first.ID, Payload: []byte("other")}); !errors.Is(err, tidemark.ErrMessageIDConflict) {
		t.Errorf("got %v", err)
	}
	var invalid *tidemark.InvalidError
	if _, err := c.Read(ctx, "conv/1", client.Limit(1001)); !errors.As(err, &invalid) || invalid.Field != "limit" || invalid.Rule == "" {
		t.Errorf("got %v", err)
	}
	if cursors, err := c.Ack(ctx, "bob", client.AckItem{Timeline: "conv/1", Read: 1}, client.AckItem{Timeline: "conv/2", Delivered: 1}); err != nil || cursors[0].UnreadKnown || cursors[1].Delivered != 1 {
		t.Errorf("%+v, %v", cursors, err)
	}
	if _, err := c.Ack(ctx, "bob", client.AckItem{Timeline: "conv/1", Read: 3}); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if n, err := c.CountCursors(ctx, "conv/1", client.ReadAtLeast(1)); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	count := 0
	for cursor, err := range c.ReaderCursors(ctx, "bob") {
		if count++; err != nil || cursor.Reader != "bob" {
			t.Errorf("%+v, %v", cursor, err)
		}
	}
	for head, err := range c.Timelines(ctx, "conv/") {
		if count++; err != nil || head.Count == 0 {
			t.Errorf("%+v, %v", head, err)
		}
	}
	if count != 4 {
		t.Errorf("%d cursors and timelines", count)
	}
	if page, err := c.Read(ctx, "conv/1", client.Local(time.Minute), client.AckPrevious("bob", 2, 2)); err != nil || len(page.Messages) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	if m, err := c.GetByID(ctx, "conv/1", first.ID); err != nil || m.Sender != "alice" || m.ClientTime.IsZero() || m.Digest != first.Digest {
		t.Errorf("%+v, %v", m, err)
	}
	status, err := c.Cluster().Status(ctx)
	if err != nil || len(status.GetMembers()) != 3 {
		t.Errorf("%v, %v", status, err)
	}
	if index, _, err := c.Cluster().TakeSnapshot(ctx); err != nil || index == 0 {
		t.Errorf("%d, %v", index, err)
	}
	if leader, err := c.Cluster().TransferLeadership(ctx, cluster.Followers()[1].ID); err != nil || leader != cluster.Leader().ID {
		t.Errorf("%s, %v", leader, err)
	}
	mustAppend(t, c, draft("after"))
}
