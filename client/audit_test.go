package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// Replicas that are written to hold the same at one place of the log, all of it; and a
// member that is away is named.
func TestRealAudit(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	for i := range 50 {
		id := tidemark.MessageID(fmt.Sprint("m", i))
		mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: id, Sender: "alice", Payload: []byte("hello")}, client.FanOutTo("inbox/bob"))
	}
	if _, err := c.Redact(ctx, "group/1", 3); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ack(ctx, "bob", client.AckItem{Timeline: "group/1", Read: 7}); err != nil {
		t.Fatal(err)
	}
	// What is written meanwhile is compared up to the place.
	writing, stop := context.WithCancel(ctx)
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := 0; writing.Err() == nil; i++ {
				draft := client.Draft{Timeline: tidemark.TimelineID(fmt.Sprint("busy/", w)), ID: tidemark.MessageID(fmt.Sprint("b", i)), Payload: []byte("x")}
				if _, err := c.Append(ctx, draft); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	progress := 0
	for range 5 {
		audited, err := c.Cluster().Audit(ctx, func(client.Audited) { progress++ })
		if err != nil || audited.Difference != nil || len(audited.Nodes) != 3 || audited.Records < 200 || audited.Index == 0 {
			t.Errorf("%+v, %v", audited, err)
		}
	}
	stop()
	writers.Wait()
	if progress < 5 {
		t.Errorf("%d reports of progress", progress)
	}
	away := cluster.Followers()[0]
	away.Crash()
	if _, err := c.Cluster().Audit(ctx, nil); !errors.Is(err, client.ErrMemberUnreachable) || !strings.Contains(err.Error(), away.ID) {
		t.Errorf("without %s: %v", away.ID, err)
	}
}

// One record that differs on one node is found among others, and named.
func TestRealAuditFindsOneRecord(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	for i := range 400 {
		mustAppendWith(t, c, client.Draft{Timeline: tidemark.TimelineID(fmt.Sprint("conv/", i%7)), ID: tidemark.MessageID(fmt.Sprint("m", i)), Sender: "alice"})
	}
	if _, err := c.Ack(ctx, "bob", client.AckItem{Timeline: "conv/3", Read: 7}); err != nil {
		t.Fatal(err)
	}
	cluster.WaitApplied()
	victim := cluster.Followers()[0]
	// Nothing is written by anybody else meanwhile.
	b := victim.Store.NewBatch()
	head, _, err := b.Head("conv/3")
	if err != nil {
		t.Fatal(err)
	}
	b.PutCursor(head.Number, tidemark.Cursor{Timeline: "conv/3", Reader: "bob", Delivered: 7, Read: 6})
	b.SetApplied(victim.Store.Applied())
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	audited, err := c.Cluster().Audit(ctx, nil)
	if err != nil || audited.Difference == nil {
		t.Fatalf("%+v, %v", audited, err)
	}
	for i, record := range audited.Difference.Records {
		if !strings.Contains(record, `cursor of reader "bob"`) || !strings.Contains(record, "conv/3") {
			t.Errorf("node %s: %s", audited.Nodes[i], record)
		}
		for j, other := range audited.Difference.Records[:i] {
			differs := audited.Nodes[i] == victim.ID || audited.Nodes[j] == victim.ID
			if (record != other) != differs {
				t.Errorf("%s and %s: %q and %q", audited.Nodes[j], audited.Nodes[i], other, record)
			}
		}
	}
}
