package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
)

// fill appends n messages to each of the timelines.
func fill(t *testing.T, cl *client.Client, n int, timelines ...tidemark.TimelineID) {
	t.Helper()
	for _, timeline := range timelines {
		for i := range n {
			d := draft(fmt.Sprint("m", i))
			d.Timeline = timeline
			mustAppend(t, cl, d)
		}
	}
}

func TestSync(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	fill(t, cl, 5, "a", "b")
	synced, err := cl.Sync(testContext(t), client.SyncRequest{
		Reader: "alice", Acks: []client.AckItem{{Timeline: "b", Delivered: 3}},
		Have: []client.Have{{Timeline: "a", After: 1, Priority: client.SyncHigh}, {Timeline: "b", FromCursor: true}, {Timeline: "none"}},
	}, client.Local(0))
	if err != nil || len(synced.Timelines) != 2 || !synced.More || synced.Staleness != 12*time.Millisecond || synced.AppliedIndex != 7 || synced.Endpoint != c.nodes[0].address {
		t.Fatalf("got %+v, %v", synced, err)
	}
	a, b := synced.Timelines[0], synced.Timelines[1]
	if a.After != 1 || len(a.Messages) != 3 || a.Messages[0].SeqID != 2 || !a.More || a.Timeline.Last != 5 {
		t.Errorf("got %+v", a)
	}
	if b.After != 3 || len(b.Messages) != 2 || b.More || b.Cursor.Delivered != 3 || b.Cursor.Reader != "alice" {
		t.Errorf("got %+v", b)
	}
	for _, request := range []client.SyncRequest{{Limit: -1}, {MaxBytes: 1 << 40}} {
		if _, err := cl.Sync(testContext(t), request); !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%+v got %v", request, err)
		}
	}
}

// SyncAll goes on until nothing is left, yields everything once and in order, and starts
// where the reader's cursors are if it is not told otherwise.
func TestSyncAll(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	fill(t, cl, 8, "a", "b", "c", "d")
	var have []client.Have
	var acks []client.AckItem
	for i, timeline := range []tidemark.TimelineID{"a", "b", "c", "d"} {
		have = append(have, client.Have{Timeline: timeline, After: tidemark.SeqID(i + 1)})
		acks = append(acks, client.AckItem{Timeline: timeline, Delivered: tidemark.SeqID(i + 1)})
	}
	if _, err := cl.Ack(testContext(t), "alice", acks...); err != nil {
		t.Fatal(err)
	}
	for _, err := range cl.SyncAll(testContext(t), client.SyncRequest{Reader: "alice", Acks: acks}) {
		if !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("acknowledgements got %v", err)
		}
	}
	for name, request := range map[string]client.SyncRequest{
		"positions": {Have: have}, "cursors": {Reader: "alice"},
	} {
		got := map[tidemark.TimelineID][]tidemark.SeqID{}
		for timeline, err := range cl.SyncAll(testContext(t), request) {
			if err != nil {
				t.Fatal(err)
			}
			for i := range timeline.Messages {
				got[timeline.Timeline.ID] = append(got[timeline.Timeline.ID], timeline.Messages[i].SeqID)
			}
		}
		for i, timeline := range []tidemark.TimelineID{"a", "b", "c", "d"} {
			want := []tidemark.SeqID{2, 3, 4, 5, 6, 7, 8}[i:]
			if !slices.Equal(got[timeline], want) {
				t.Errorf("%s: %s got %v, want %v", name, timeline, got[timeline], want)
			}
		}
	}
	if have[0].After != 1 {
		t.Error("the caller's positions were changed")
	}
	levels := c.nodes[0].levels
	if last := levels[len(levels)-1].GetSession(); last == nil {
		t.Errorf("later calls ask for %v", levels[len(levels)-1])
	}
}
