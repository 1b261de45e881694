package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// inboxes are n of them, in byte order.
func inboxes(n int) (ids []tidemark.TimelineID) {
	for i := range n {
		ids = append(ids, tidemark.TimelineID(fmt.Sprintf("inbox/%03d", i)))
	}
	return ids
}

// A message is delivered to the recipient set and to listed inboxes, once whatever is
// repeated and whatever becomes of the set, and is the same on every node, also after
// the leader was lost.
func TestRealFanOut(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	members := inboxes(40)
	set, err := c.SetRecipients(ctx, "group/1", tidemark.RecipientChange{Replace: true, Add: members})
	if err != nil || set.Version != 1 || set.Count != 40 {
		t.Fatalf("%+v, %v", set, err)
	}
	first := client.Draft{Timeline: "group/1", ID: "m1", Sender: "alice#phone", Type: "text", Payload: []byte("hello"), Attributes: map[string]string{"k": "v"}}
	options := []client.AppendOption{client.FanOut(), client.FanOutTo("inbox/listed", members[3]), client.AdvanceSenderCursor()}
	sent, err := c.Append(ctx, first, options...)
	if err != nil || sent.Inboxes != 41 || sent.RecipientsVersion != 1 {
		t.Fatalf("%+v, %v", sent, err)
	}
	version := uint64(7)
	var conflict *tidemark.VersionConflictError
	if _, err := c.SetRecipients(ctx, "group/1", tidemark.RecipientChange{Add: members[:1], ExpectedVersion: &version}); !errors.As(err, &conflict) || conflict.Version != 1 {
		t.Errorf("got %v", err)
	}
	if set, err = c.SetRecipients(ctx, "group/1", tidemark.RecipientChange{Add: []tidemark.TimelineID{"inbox/late"}, Remove: members[:1]}); err != nil || set.Version != 2 || set.Count != 40 {
		t.Fatalf("%+v, %v", set, err)
	}
	leader := cluster.Leader()
	leader.Crash()
	cluster.Leader()
	if again, err := c.Append(ctx, first, options...); err != nil || !again.Duplicate || again.SeqID != sent.SeqID || again.Inboxes != 0 {
		t.Errorf("the retry got %+v, %v", again, err)
	}
	second := mustAppendWith(t, c, client.Draft{Timeline: "group/1", ID: "m2", Sender: "bob", Payload: []byte("again")}, client.FanOut())
	if second.Inboxes != 40 || second.RecipientsVersion != 2 {
		t.Errorf("the second message: %+v", second)
	}
	leader.Start()
	cluster.WaitReady()

	for _, address := range cluster.Addresses() {
		reader := dialReal(t, []string{address}, client.WithoutDiscovery())
		for inbox, want := range map[tidemark.TimelineID][]string{
			members[0]: {"m1"}, members[3]: {"m1", "m2"}, members[39]: {"m1", "m2"}, "inbox/listed": {"m1"}, "inbox/late": {"m2"},
		} {
			page, err := reader.Read(ctx, inbox)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, m := range page.Messages {
				ids = append(ids, string(m.ID))
				if m.Source == nil || m.Source.Timeline != "group/1" || m.Timeline != inbox {
					t.Errorf("%s holds %+v", inbox, m)
				}
			}
			if !slices.Equal(ids, want) {
				t.Errorf("%s holds %v on %s, want %v", inbox, ids, address, want)
			}
			if m := page.Messages[0]; m.ID == "m1" && (m.Sender != "alice#phone" || string(m.Payload) != "hello" || m.Attributes["k"] != "v" || m.Source.SeqID != 1 || m.Source.Digest != sent.Digest) {
				t.Errorf("the entry of %s is %+v", inbox, m)
			}
			if verified, err := reader.Verify(ctx, page.PreviousDigest, page.Messages); err != nil || !verified.Equal {
				t.Errorf("verify %s: %+v, %v", inbox, verified, err)
			}
		}
		recipients := collectAll(t, reader.Recipients(ctx, "group/1"))
		if len(recipients) != 40 || slices.Contains(recipients, members[0]) || !slices.Contains(recipients, "inbox/late") {
			t.Errorf("the recipients are %v", recipients)
		}
	}
	// The sender's mark has moved along, and its own message is not unread on any device.
	for cursor, err := range c.ReaderCursors(ctx, "alice#phone") {
		if err != nil || cursor.Read != 1 || cursor.Unread != 1 {
			t.Errorf("the sender's cursor is %+v, %v", cursor, err)
		}
	}
}

func mustAppendWith(t *testing.T, c *client.Client, draft client.Draft, options ...client.AppendOption) *client.AppendResult {
	t.Helper()
	result, err := c.Append(testContext(t), draft, options...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func collectAll[T any](t *testing.T, sequence func(func(T, error) bool)) (all []T) {
	t.Helper()
	for item, err := range sequence {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

// A recipient set of the largest size is reached by one small message, and one more is refused.
func TestRealFanOutToTenThousand(t *testing.T) {
	cluster := rpctest.Start(t, 1, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	all := inboxes(tidemark.MaxRecipients)
	for part := range slices.Chunk(all, tidemark.MaxRecipientChanges) {
		if _, err := c.SetRecipients(ctx, "group/1", tidemark.RecipientChange{Add: part}); err != nil {
			t.Fatal(err)
		}
	}
	var invalid *tidemark.InvalidError
	if _, err := c.SetRecipients(ctx, "group/1", tidemark.RecipientChange{Add: []tidemark.TimelineID{"one/more"}}); !errors.As(err, &invalid) || invalid.Field != "add" {
		t.Errorf("one more is %v", err)
	}
	if sent := mustAppendWith(t, c, client.Draft{Timeline: "group/1", Payload: []byte("to all")}, client.FanOut()); sent.Inboxes != tidemark.MaxRecipients {
		t.Errorf("%+v", sent)
	}
	page, err := c.Read(ctx, all[len(all)-1])
	if err != nil || len(page.Messages) != 1 || string(page.Messages[0].Payload) != "to all" {
		t.Errorf("%+v, %v", page, err)
	}
}

// What a reader may not see is not shown to it, and not counted; a rewind takes marks
// back; the list of conversations is by activity.
func TestRealFloorsRewindsAndConversations(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, []string{cluster.Followers()[0].Address}, client.WithoutDiscovery())
	for i := range 10 {
		mustAppend(t, c, client.Draft{Timeline: "conv/1", Sender: fmt.Sprintf("user%d#x", i%2), Payload: []byte("one")})
		mustAppend(t, c, client.Draft{Timeline: "conv/2", Sender: "user1", Payload: []byte("two")})
	}
	if _, err := c.Ack(ctx, "user0#phone", client.AckItem{Timeline: "conv/1", Read: 2, Floor: 4}, client.AckItem{Timeline: "conv/2", Read: 10}); err != nil {
		t.Fatal(err)
	}
	check := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, cursor := range collectAll(t, c.Conversations(ctx, "user0#phone")) {
			got = append(got, fmt.Sprintf("%s read %d floor %d unread %d", cursor.Timeline, cursor.Read, cursor.Floor, cursor.Unread))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	// Of 4 to 10, user0 has sent 5, 7 and 9.
	check("after the acknowledgement", "conv/2 read 10 floor 0 unread 0", "conv/1 read 2 floor 4 unread 4")
	page, err := c.Read(ctx, "conv/1", client.As("user0#phone"))
	if err != nil || page.Messages[0].SeqID != 4 || page.Floor != 4 {
		t.Errorf("forward: %+v, %v", page, err)
	}
	back, err := c.Read(ctx, "conv/1", client.As("user0#phone"), client.Newest(100))
	if err != nil || len(back.Messages) != 7 || back.More || back.PreviousDigest != page.PreviousDigest {
		t.Errorf("backward: %+v, %v", back, err)
	}
	synced, err := c.Sync(ctx, client.SyncRequest{Reader: "user0#phone", Have: []client.Have{{Timeline: "conv/1", After: 1}}})
	if err != nil || len(synced.Timelines) != 1 || synced.Timelines[0].Messages[0].SeqID != 4 || synced.Timelines[0].Cursor.Unread != 4 {
		t.Errorf("sync: %+v, %v", synced, err)
	}
	mustAppend(t, c, client.Draft{Timeline: "conv/1", Sender: "user1"})
	check("after a message", "conv/1 read 2 floor 4 unread 5", "conv/2 read 10 floor 0 unread 0")
	seven, zero := tidemark.SeqID(7), tidemark.SeqID(0)
	if _, err := c.Rewind(ctx, "user0#phone", client.RewindItem{Timeline: "conv/2", Read: &seven}, client.RewindItem{Timeline: "conv/1", Floor: &zero, Delivered: &zero}); err != nil {
		t.Fatal(err)
	}
	check("after the rewind", "conv/1 read 0 floor 0 unread 6", "conv/2 read 7 floor 0 unread 3")
	if _, err := c.Ack(ctx, "user0#phone", client.AckItem{Timeline: "conv/2", Read: 3}); err != nil {
		t.Fatal(err)
	}
	check("an acknowledgement moves nothing back", "conv/1 read 0 floor 0 unread 6", "conv/2 read 7 floor 0 unread 3")
	var all []tidemark.SeqID
	for timeline, err := range c.SyncAll(ctx, client.SyncRequest{Reader: "user0#phone", Have: []client.Have{{Timeline: "conv/1"}}}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range timeline.Messages {
			all = append(all, m.SeqID)
		}
	}
	if len(all) != 11 {
		t.Errorf("sync of all got %v", all)
	}
	if _, err := c.Ack(ctx, "user0#phone", client.AckItem{Timeline: "conv/1", Floor: 12}); err != nil {
		t.Fatal(err)
	}
	for timeline, err := range c.SyncAll(ctx, client.SyncRequest{Reader: "user0#phone", Have: []client.Have{{Timeline: "conv/1"}}}) {
		t.Errorf("a cleared history has %+v, %v", timeline, err)
	}
	if _, err := c.Ack(ctx, "user0#phone", client.AckItem{Timeline: "conv/1", Floor: 13}); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("a floor beyond the next SeqID is %v", err)
	}
}
