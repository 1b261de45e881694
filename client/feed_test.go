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

// takeChanges takes changes until there are n, and fails for more.
func takeChanges(ctx context.Context, t *testing.T, feed *client.Changes, n int) (changes []client.Change) {
	t.Helper()
	for len(changes) < n {
		batch, err := feed.Next(ctx)
		if err != nil {
			t.Fatalf("with %d of %d: %v", len(changes), n, err)
		}
		changes = append(changes, batch.Changes...)
	}
	if len(changes) != n {
		t.Fatalf("got %d changes, want %d", len(changes), n)
	}
	return changes
}

// A feed goes on through crashes of whichever node serves it: every append is there once,
// in the order in which they were made. One that begins anew behind any of them gets the rest.
func TestChangesGoOnThroughCrashes(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	c := dialReal(t, cluster.Addresses())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	feed, err := c.Changes(client.ChangesOf("conv/"))
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	var want []string
	write := func(n int) {
		for range n {
			timeline := tidemark.TimelineID(fmt.Sprintf("conv/%d", len(want)%3))
			text := fmt.Sprintf("message %d", len(want))
			if _, err := c.Append(ctx, client.Draft{Timeline: timeline, Payload: []byte(text)}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Append(ctx, client.Draft{Timeline: "other", Payload: []byte(text)}); err != nil {
				t.Fatal(err)
			}
			want = append(want, text)
		}
	}
	var got []client.Change
	for round := range 3 {
		write(10)
		got = append(got, takeChanges(ctx, t, feed, len(want)-len(got))...)
		victim := cluster.Nodes()[round]
		victim.Crash()
		cluster.Leader()
		write(5)
		got = append(got, takeChanges(ctx, t, feed, len(want)-len(got))...)
		victim.Start()
		cluster.WaitReady()
	}
	for i, change := range got {
		if change.Message == nil || string(change.Message.Payload) != want[i] || change.SeqID != change.Message.SeqID {
			t.Fatalf("change %d is %+v, want %q", i, change, want[i])
		}
	}
	for _, at := range []int{0, 7, len(got) - 2} {
		again, err := c.Changes(client.ChangesOf("conv/"), client.ChangesFrom(got[at].Position))
		if err != nil {
			t.Fatal(err)
		}
		rest := takeChanges(ctx, t, again, len(got)-at-1)
		if string(rest[0].Message.Payload) != want[at+1] {
			t.Errorf("behind %d comes %q", at, rest[0].Message.Payload)
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
		if _, err := again.Next(ctx); !errors.Is(err, client.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestChangesEnds(t *testing.T) {
	cluster := rpctest.Start(t, 1, rpctest.Options{})
	c := dialReal(t, cluster.Addresses())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	feed, err := c.Changes(client.ChangesFromNow())
	if err != nil {
		t.Fatal(err)
	}
	first, err := feed.Next(ctx)
	if err != nil || first.Position.IsZero() || len(first.Changes) > 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := c.Append(ctx, client.Draft{Timeline: "t", Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	takeChanges(ctx, t, feed, 1)
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	foreign, early := first.Position, first.Position
	foreign.Feed++
	early.Index = 1
	for name, test := range map[string]struct {
		from tidemark.ChangePosition
		want error
	}{"foreign": {foreign, tidemark.ErrInvalid}, "trimmed": {early, tidemark.ErrChangesTrimmed}} {
		feed, err := c.Changes(client.ChangesFrom(test.from))
		if err != nil {
			t.Fatal(err)
		}
		_, err = feed.Next(ctx)
		var trimmed *tidemark.ChangesTrimmedError
		if !errors.Is(err, test.want) || errors.As(err, &trimmed) != (name == "trimmed") || trimmed != nil && trimmed.First.Feed != first.Position.Feed {
			t.Errorf("%s: %v", name, err)
		}
		if err := feed.Close(); err != nil {
			t.Error(err)
		}
	}
}
