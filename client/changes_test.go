package client_test

import (
	"errors"
	"fmt"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// What is trimmed is gone on every node, explained to whoever is behind, and what stays
// can be verified; what is deleted is gone, and its SeqIDs are never given again.
func TestRealTrimAndDelete(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	if _, err := c.SetRecipients(ctx, "conv/1", tidemark.RecipientChange{Add: []tidemark.TimelineID{"inbox/bob"}}); err != nil {
		t.Fatal(err)
	}
	const messages = 2500 // more than two commands trim
	var pending []*client.Pending
	for i := range messages {
		p, err := c.AppendAsync(ctx, client.Draft{Timeline: "conv/1", ID: tidemark.MessageID(fmt.Sprint("m", i+1)), Sender: fmt.Sprint("user", i%3), Payload: []byte("x")}, client.FanOut())
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Ack(ctx, "user0#a", client.AckItem{Timeline: "conv/1", Read: 5}); err != nil {
		t.Fatal(err)
	}
	head, err := c.Trim(ctx, "conv/1", 2301)
	if err != nil || head.First != 2301 || head.Last != messages || head.Count != 200 {
		t.Fatalf("%+v, %v", head, err)
	}
	leader := cluster.Leader()
	leader.Crash()
	cluster.Leader()
	leader.Start()
	cluster.WaitReady()
	for _, address := range cluster.Addresses() {
		reader := dialReal(t, []string{address}, client.WithoutDiscovery())
		page, err := reader.Read(ctx, "conv/1", client.From(1), client.Limit(1000))
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Messages) != 200 || page.Messages[0].SeqID != 2301 || page.PreviousDigest != page.Timeline.TrimmedDigest {
			t.Fatalf("%d messages after %v", len(page.Messages), page.PreviousDigest)
		}
		if verified, err := reader.Verify(ctx, page.PreviousDigest, page.Messages); err != nil || !verified.Equal {
			t.Errorf("%+v, %v", verified, err)
		}
		if _, err := reader.Get(ctx, "conv/1", 2300); !errors.Is(err, tidemark.ErrMessageNotFound) {
			t.Errorf("a message that was trimmed: %v", err)
		}
		back, err := reader.Read(ctx, "conv/1", client.Newest(1000))
		if err != nil || len(back.Messages) != 200 || back.More {
			t.Errorf("backward: %d messages, %v", len(back.Messages), err)
		}
		synced, err := reader.Sync(ctx, client.SyncRequest{Reader: "user0#a", Have: []client.Have{{Timeline: "conv/1", After: 7}}})
		if err != nil || synced.Timelines[0].Trimmed != 2301 || synced.Timelines[0].Messages[0].SeqID != 2301 {
			t.Errorf("sync: %+v, %v", synced, err)
		}
		// Of the 200 messages user0 has sent every third: 2302, 2305, … up to 2500 and 2301 + 2.
		if unread := synced.Timelines[0].Cursor.Unread; unread != 200-67 {
			t.Errorf("unread is %d", unread)
		}
		inbox, err := reader.Read(ctx, "inbox/bob", client.From(2300), client.Limit(2))
		if err != nil || len(inbox.Messages) != 2 || !inbox.Messages[0].Source.Gone || inbox.Messages[0].ID != "m2300" || inbox.Messages[0].Payload != nil ||
			inbox.Messages[1].Source.Gone || string(inbox.Messages[1].Payload) != "x" {
			t.Errorf("inbox: %+v, %v", inbox, err)
		}
		if verified, err := reader.Verify(ctx, inbox.PreviousDigest, inbox.Messages); err != nil || !verified.Equal {
			t.Errorf("an inbox of which sources are gone: %+v, %v", verified, err)
		}
	}
	if again := mustAppendWith(t, c, client.Draft{Timeline: "conv/1", ID: "m1"}); again.Duplicate || again.SeqID != messages+1 {
		t.Errorf("an id that was trimmed: %+v", again)
	}
	if _, err := c.Trim(ctx, "conv/1", messages+3); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("a trim beyond the end: %v", err)
	}

	was, err := c.DeleteTimeline(ctx, "conv/1")
	if err != nil || was.Last != messages+1 || was.Count != 201 {
		t.Fatalf("%+v, %v", was, err)
	}
	if _, err := c.Timeline(ctx, "conv/1"); !errors.Is(err, tidemark.ErrTimelineNotFound) {
		t.Errorf("a timeline that was deleted: %v", err)
	}
	if n, err := c.CountTimelines(ctx, ""); err != nil || n != 1 {
		t.Errorf("there are %d timelines, %v", n, err)
	}
	for cursor := range c.ReaderCursors(ctx, "user0#a") {
		t.Errorf("a cursor is left: %+v", cursor)
	}
	anew := mustAppendWith(t, c, client.Draft{Timeline: "conv/1", ID: "m2500", Sender: "user0"}, client.FanOut())
	if anew.Duplicate || anew.SeqID != messages+2 || anew.Inboxes != 0 {
		t.Errorf("made anew: %+v", anew)
	}
}

// Attributes are set and removed one by one, bounded together, and listed.
func TestRealAttributes(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	c := dialReal(t, []string{cluster.Followers()[0].Address}, client.WithoutDiscovery())
	if _, err := c.UpdateTimeline(ctx, "conv/1", map[string]string{"topic": "tides", "owner": "alice"}); err != nil {
		t.Fatal(err)
	}
	head, err := c.UpdateTimeline(ctx, "conv/1", map[string]string{"topic": "ebb"}, "owner", "nothing")
	if err != nil || len(head.Attributes) != 1 || head.Attributes["topic"] != "ebb" {
		t.Errorf("%+v, %v", head, err)
	}
	if head, err = c.Timeline(ctx, "conv/1"); err != nil || head.Count != 0 || head.Attributes["topic"] != "ebb" {
		t.Errorf("%+v, %v", head, err)
	}
	mustAppendWith(t, c, client.Draft{Timeline: "conv/1", ID: "m"})
	for listed, err := range c.Timelines(ctx, "conv/") {
		if err != nil || listed.Count != 1 || listed.Attributes["topic"] != "ebb" {
			t.Errorf("%+v, %v", listed, err)
		}
	}
	large := make([]byte, 2500)
	for i := range large {
		large[i] = 'x'
	}
	if _, err := c.UpdateTimeline(ctx, "conv/1", map[string]string{"a": string(large)}); err != nil {
		t.Error(err)
	}
	var invalid *tidemark.InvalidError
	if _, err := c.UpdateTimeline(ctx, "conv/1", map[string]string{"b": string(large)}); !errors.As(err, &invalid) || invalid.Field != "set" {
		t.Errorf("more than 4 KiB together: %v", err)
	}
}
