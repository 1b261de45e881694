package client_test

import (
	"errors"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// What became of a message is told the same by every node: its entry in the log, inboxes
// also of what is gone there, cursors past it, and which nodes have it.
func TestRealExplain(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: "m0", Sender: "alice"})
	sent := mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: "m1", Sender: "alice"}, client.FanOutTo("inbox/bob", "inbox/carol", "inbox/dora"))
	later := mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: "m2", Sender: "alice"}, client.FanOutTo("inbox/bob"))
	for reader, item := range map[tidemark.ReaderID]client.AckItem{
		"bob": {Timeline: "group/1", Delivered: 3, Read: 2}, "carol": {Timeline: "group/1", Delivered: 2}, "dora": {Timeline: "group/1", Read: 1},
	} {
		if _, err := c.Ack(ctx, reader, item); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Trim(ctx, "inbox/bob", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteTimeline(ctx, "inbox/dora"); err != nil {
		t.Fatal(err)
	}
	cluster.WaitApplied()
	for _, address := range cluster.Addresses() {
		node := dialReal(t, []string{address}, client.WithoutDiscovery())
		e, err := node.ExplainByID(ctx, "group/1", "m1")
		if err != nil {
			t.Fatal(err)
		}
		if e.Message.SeqID != 2 || e.Message.Digest != sent.Digest || e.LogIndex != uint64(sent.Position) {
			t.Errorf("%s: message %+v of entry %d, want entry %d", address, e.Message, e.LogIndex, sent.Position)
		}
		gone := map[tidemark.TimelineID]bool{"inbox/bob": true, "inbox/carol": false, "inbox/dora": true}
		if e.InboxCount != 3 || len(e.Inboxes) != 3 {
			t.Errorf("%s: inboxes %+v", address, e.Inboxes)
		}
		for _, entry := range e.Inboxes {
			if want, known := gone[entry.Inbox]; !known || entry.Gone != want || entry.SeqID != 1 {
				t.Errorf("%s: %+v", address, entry)
			}
		}
		if e.CursorCount != 3 || e.DeliveredCount != 2 || e.ReadCount != 1 || len(e.Cursors) != 2 || e.Cursors[0].Reader != "bob" || e.Cursors[1].Reader != "carol" {
			t.Errorf("%s: %d cursors, %d delivered, %d read: %+v", address, e.CursorCount, e.DeliveredCount, e.ReadCount, e.Cursors)
		}
		if len(e.Replicas) != 3 {
			t.Fatalf("%s: replicas %+v", address, e.Replicas)
		}
		for _, r := range e.Replicas {
			if !r.Reachable || !r.HasMessage || r.AppliedIndex < uint64(sent.Position) {
				t.Errorf("%s: %+v", address, r)
			}
		}
		if entry, err := node.Explain(ctx, "inbox/bob", 2); err != nil || entry.Message.Source == nil || entry.Message.Source.SeqID != 3 || entry.LogIndex != 0 {
			t.Errorf("%s: an entry of an inbox: %+v, %v", address, entry, err)
		}
		if newest, err := node.Explain(ctx, "group/1", 3); err != nil || newest.LogIndex != uint64(later.Position) {
			t.Errorf("%s: the last message is of entry %d, want %d, %v", address, newest.LogIndex, later.Position, err)
		}
		if _, err := node.ExplainByID(ctx, "group/1", "never"); !errors.Is(err, tidemark.ErrMessageNotFound) {
			t.Errorf("%s: what was never sent: %v", address, err)
		}
		if _, err := node.Explain(ctx, "group/2", 1); !errors.Is(err, tidemark.ErrTimelineNotFound) {
			t.Errorf("%s: what was never made: %v", address, err)
		}
	}
	// A node that is away is not said to have it.
	away := cluster.Followers()[0]
	away.Crash()
	e, err := c.ExplainByID(ctx, "group/1", "m1")
	if err != nil {
		t.Fatal(err)
	}
	reachable := 0
	for _, r := range e.Replicas {
		if r.Reachable {
			reachable++
		} else if r.HasMessage {
			t.Errorf("%+v", r)
		}
	}
	if reachable != 2 {
		t.Errorf("replicas: %+v", e.Replicas)
	}
}
