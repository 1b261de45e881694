package client_test

import (
	"errors"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// An edit and a redaction show at the old SeqID on every node, and as entries at the tail
// of the conversation and of inboxes, with digests that can be recomputed; a retry after
// the leader was lost makes no second revision.
func TestRealRevise(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	sent := mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: "m1", Sender: "alice#phone", Type: "text", Payload: []byte("helo")}, client.FanOutTo("inbox/bob"))
	mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: "m2", Sender: "alice#phone", Payload: []byte("secret")}, client.FanOutTo("inbox/bob"))

	edit := client.Content{Type: "text", Payload: []byte("hello"), Attributes: map[string]string{"k": "v"}}
	options := []client.ReviseOption{client.RevisionID("e1"), client.RevisedBy("alice#laptop"), client.ExpectRevision(0)}
	edited, err := c.Revise(ctx, "group/1", 1, edit, options...)
	if err != nil || edited.Revision != 1 || edited.SeqID != 3 || edited.Inboxes != 1 || edited.Duplicate {
		t.Fatalf("%+v, %v", edited, err)
	}
	leader := cluster.Leader()
	leader.Crash()
	cluster.Leader()
	if again, err := c.Revise(ctx, "group/1", 1, edit, options...); err != nil || !again.Duplicate || again.SeqID != 3 || again.Digest != edited.Digest {
		t.Errorf("the retry got %+v, %v", again, err)
	}
	var conflict *tidemark.RevisionConflictError
	if _, err := c.Revise(ctx, "group/1", 1, edit, client.ExpectRevision(0)); !errors.As(err, &conflict) || conflict.Revision != 1 {
		t.Errorf("an edit of what was edited meanwhile got %v", err)
	}
	if _, err := c.Redact(ctx, "group/1", 1, client.RevisionID("e1")); !errors.Is(err, tidemark.ErrMessageIDConflict) {
		t.Errorf("another revision with the same id got %v", err)
	}
	if _, err := c.Revise(ctx, "group/1", 9, edit); !errors.Is(err, tidemark.ErrMessageNotFound) {
		t.Errorf("an edit of nothing got %v", err)
	}
	for timeline, seq := range map[tidemark.TimelineID]tidemark.SeqID{"group/1": 3, "inbox/bob": 1} {
		var invalid *tidemark.InvalidError
		if _, err := c.Revise(ctx, timeline, seq, edit); !errors.As(err, &invalid) || invalid.Field != "seq_id" {
			t.Errorf("an edit of entry %d of %s got %v", seq, timeline, err)
		}
	}
	recalled, err := c.Redact(ctx, "group/1", 2, client.RevisedBy("alice"))
	if err != nil || recalled.Revision != 1 || recalled.SeqID != 4 || recalled.Inboxes != 1 {
		t.Fatalf("%+v, %v", recalled, err)
	}
	if _, err := c.Revise(ctx, "group/1", 2, edit); !errors.Is(err, tidemark.ErrRedacted) {
		t.Errorf("an edit of what is redacted got %v", err)
	}

	leader.Start()
	cluster.WaitReady()
	for _, address := range cluster.Addresses() {
		node := dialReal(t, []string{address})
		for _, timeline := range []tidemark.TimelineID{"group/1", "inbox/bob"} {
			page, err := node.Read(ctx, timeline, client.From(1), client.SessionAt(recalled.Position))
			if err != nil || len(page.Messages) != 4 {
				t.Fatalf("%s of %s: %d messages, %v", timeline, address, len(page.Messages), err)
			}
			m := page.Messages
			if string(m[0].Payload) != "hello" || m[0].Attributes["k"] != "v" || m[0].Sender != "alice#phone" || m[0].Revision == nil ||
				m[0].Revision.Number != 1 || m[0].Revision.SeqID != 3 || m[0].Revision.Redacted || !m[0].ServerTime.Equal(sent.ServerTime) && timeline == "group/1" {
				t.Errorf("the edited message is %+v in %s of %s", m[0], timeline, address)
			}
			if len(m[1].Payload) != 0 || m[1].Revision == nil || !m[1].Revision.Redacted {
				t.Errorf("the redacted message is %+v in %s of %s", m[1], timeline, address)
			}
			if r := m[2].Revises; r == nil || r.SeqID != 1 || r.Number != 1 || r.Redacted || string(m[2].Payload) != "hello" || m[2].Sender != "alice#laptop" {
				t.Errorf("the entry of the edit is %+v in %s of %s", m[2], timeline, address)
			}
			if r := m[3].Revises; r == nil || r.SeqID != 2 || !r.Redacted || len(m[3].Payload) != 0 {
				t.Errorf("the entry of the redaction is %+v in %s of %s", m[3], timeline, address)
			}
			digest := page.PreviousDigest
			for i := range m {
				if digest, err = m[i].NextDigest(digest); err != nil || digest != m[i].Digest {
					t.Errorf("message %d of %s has digest %v, and gives %v, %v", m[i].SeqID, timeline, m[i].Digest, digest, err)
				}
			}
		}
	}
}

// A redacted message does not count as unread, in a conversation and in an inbox.
func TestRealRedactedIsNotUnread(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	for _, id := range []tidemark.MessageID{"m1", "m2", "m3"} {
		mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: id, Sender: "alice"}, client.FanOutTo("inbox/bob"))
	}
	if _, err := c.Redact(ctx, "group/1", 2); err != nil {
		t.Fatal(err)
	}
	for _, timeline := range []tidemark.TimelineID{"group/1", "inbox/bob"} {
		if _, err := c.Ack(ctx, "bob", client.AckItem{Timeline: timeline, Read: 1}); err != nil {
			t.Fatal(err)
		}
	}
	// m3 alone is unread: neither m2, which is gone, nor the entry that says so.
	for cursor, err := range c.ReaderCursors(ctx, "bob") {
		if err != nil || cursor.Unread != 1 || !cursor.UnreadKnown {
			t.Errorf("%+v, %v", cursor, err)
		}
	}
}
