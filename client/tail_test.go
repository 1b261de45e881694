package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// collectTail takes events until every timeline has as many messages as wanted, each the
// next of its timeline.
func collectTail(ctx context.Context, t *testing.T, tail *client.Tail, got, want map[tidemark.TimelineID]tidemark.SeqID) {
	t.Helper()
	for missing := true; missing; {
		event, err := tail.Next(ctx)
		if err != nil {
			t.Fatalf("with %v of %v: %v", got, want, err)
		}
		if event.Err != nil || event.Trimmed != 0 || event.Notified != 0 {
			t.Fatalf("unexpected event %+v", event)
		}
		for _, m := range event.Messages {
			if m.Timeline != event.Subscription.Timeline || m.SeqID != got[m.Timeline]+1 {
				t.Fatalf("message %d of %q came after %d", m.SeqID, m.Timeline, got[m.Timeline])
			}
			got[m.Timeline]++
		}
		missing = false
		for timeline, n := range want {
			missing = missing || got[timeline] < n
		}
	}
}

// A tail goes on through crashes of whichever node serves it, and delivers all once.
func TestTailGoesOnThroughCrashes(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	c := dialReal(t, cluster.Addresses())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tail, err := c.Tail()
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	got, want := map[tidemark.TimelineID]tidemark.SeqID{}, map[tidemark.TimelineID]tidemark.SeqID{}
	write := func(timeline tidemark.TimelineID, n int) {
		for range n {
			want[timeline]++
			if _, err := c.Append(ctx, client.Draft{Timeline: timeline, Payload: fmt.Appendf(nil, "%d", want[timeline])}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("conv/0", 5)
	for i := range 3 {
		if _, err := tail.Follow(tidemark.TimelineID(fmt.Sprintf("conv/%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		write("conv/0", 20)
		write("conv/1", 7)
		collectTail(ctx, t, tail, got, want)
		victim := cluster.Nodes()[round]
		victim.Crash()
		cluster.Leader()
		write("conv/2", 9)
		collectTail(ctx, t, tail, got, want)
		victim.Start()
		cluster.WaitReady()
	}
	for timeline, n := range want {
		if got[timeline] != n {
			t.Errorf("%q: got %d messages of %d", timeline, got[timeline], n)
		}
	}
}

// Each kind of subscription, and what ends one.
func TestTailSubscriptions(t *testing.T) {
	cluster := rpctest.Start(t, 1, rpctest.Options{})
	c := dialReal(t, cluster.Addresses())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	say := func(n int) {
		for range n {
			if _, err := c.Append(ctx, client.Draft{Timeline: "conv/1"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(5)
	tail, err := c.Tail()
	if err != nil {
		t.Fatal(err)
	}
	next := func() client.TailEvent {
		t.Helper()
		event, err := tail.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return event
	}
	follow := func(opts ...client.FollowOption) *client.Subscription {
		t.Helper()
		s, err := tail.Follow("conv/1", opts...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	behind := follow(client.After(3), client.Priority(client.PriorityHigh))
	if event := next(); event.Subscription != behind || len(event.Messages) != 2 || event.Messages[0].SeqID != 4 {
		t.Fatalf("got %+v, want 4 and 5", event)
	}
	if event := next(); event.Subscription != behind || !event.CaughtUp {
		t.Fatalf("got %+v, want that it has caught up", event)
	}
	behind.Unfollow()
	fresh := follow(client.FromNow(), client.NotifyOnly())
	if event := next(); event.Subscription != fresh || !event.CaughtUp {
		t.Fatalf("got %+v, want that it has caught up", event)
	}
	say(1)
	if event := next(); event.Subscription != fresh || event.Notified != 6 {
		t.Fatalf("got %+v, want a notice of 6", event)
	}
	if _, err := tail.Follow(""); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("follow a timeline without a name: %v", err)
	}
	if err := tail.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tail.Next(ctx); !errors.Is(err, client.ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
	if _, err := tail.Follow("conv/1"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("follow after close: %v", err)
	}
}

func TestFollowEndsWithItsLoopItsContextAndTheClient(t *testing.T) {
	cluster := rpctest.Start(t, 1, rpctest.Options{})
	c := dialReal(t, cluster.Addresses())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Append(ctx, client.Draft{Timeline: "conv/1", Payload: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	for message, err := range c.Follow(ctx, "conv/1") {
		if err != nil || string(message.Payload) != "hello" {
			t.Fatalf("got %+v, %v", message, err)
		}
		break
	}
	ended, end := context.WithCancel(ctx)
	defer end()
	for message, err := range c.Follow(ended, "conv/1") {
		if err == nil && message.SeqID == 1 {
			end()
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("follow ended with %v", err)
		}
	}
	for message, err := range c.Follow(ctx, "conv/1") {
		if err == nil && message.SeqID == 1 {
			go c.Close()
			continue
		}
		if !errors.Is(err, client.ErrClosed) {
			t.Errorf("follow ended with %v", err)
		}
	}
}
