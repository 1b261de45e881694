package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/client"
)

func TestCloseDrains(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{delay: 100 * time.Millisecond}, fault{cut: true})
	c.nodes[0].script("Read", fault{delay: 200 * time.Millisecond})
	cl := dial(t, c.endpoints(), client.WithDrainTimeout(10*time.Second), client.WithStallTimeout(time.Second))
	mustAppendBefore(t, c)
	var pending []*client.Pending
	for i := range 50 {
		p, err := cl.AppendAsync(testContext(t), draft(fmt.Sprint("m", i)))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	read := make(chan error, 1)
	go func() {
		_, err := cl.Read(testContext(t), "conv/0")
		read <- err
	}()
	eventually(t, "the read is under way", func() bool { return c.nodes[0].count("Read") >= 1 })
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	for i, p := range pending {
		if _, err := p.Wait(testContext(t)); err != nil {
			t.Errorf("append %d: %v", i, err)
		}
	}
	if err := <-read; err != nil {
		t.Errorf("read: %v", err)
	}
	if n := len(c.ids("conv/1")); n != 50 {
		t.Errorf("timeline has %d messages", n)
	}
}

func mustAppendBefore(t *testing.T, c *cluster) {
	t.Helper()
	mustAppend(t, dial(t, c.endpoints(), client.WithoutDiscovery()), client.Draft{Timeline: "conv/0", ID: "zero"})
	c.nodes[0].script("AppendStream")
}

func TestCloseFailsWhatTakesTooLong(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{mute: true, skip: true})
	c.nodes[0].script("Ack", fault{mute: true})
	c.nodes[0].script("Read", fault{mute: true})
	cl := dial(t, c.endpoints(), client.WithDrainTimeout(100*time.Millisecond), client.WithStallTimeout(10*time.Second), client.WithMaxInFlight(2, 1<<20))
	ctx := testContext(t)
	errs := make(chan [2]error, 10)
	var calls sync.WaitGroup
	for i := range 3 {
		calls.Go(func() {
			_, err := cl.Append(ctx, draft(fmt.Sprint("m", i)))
			errs <- [2]error{err, client.ErrClosed}
		})
	}
	calls.Go(func() {
		_, err := cl.Ack(ctx, "bob", client.AckItem{Timeline: "conv/1", Read: 1})
		errs <- [2]error{err, tidemark.ErrOutcomeUnknown}
	})
	calls.Go(func() {
		_, err := cl.Read(ctx, "conv/1")
		errs <- [2]error{err, client.ErrClosed}
	})
	eventually(t, "all are under way", func() bool {
		return c.nodes[0].count("AppendStream") == 1 && c.nodes[0].count("Ack") == 1 && c.nodes[0].count("Read") == 1
	})
	begin := time.Now()
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	calls.Wait()
	close(errs)
	for got := range errs {
		if !errors.Is(got[0], got[1]) || !errors.Is(got[0], client.ErrClosed) {
			t.Errorf("got %v, want %v", got[0], got[1])
		}
	}
}

func TestClosedClientRefuses(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() {
			if err := cl.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	ctx := testContext(t)
	_, err1 := cl.Append(ctx, draft("m1"))
	_, err2 := cl.AppendBatch(ctx, []client.Draft{draft("m1")})
	_, err3 := cl.Read(ctx, "conv/1")
	_, err4 := cl.Cluster().Backup(ctx, nil)
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, client.ErrClosed) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
			t.Errorf("got %v", err)
		}
	}
}

// TestWindowBounds: what is under way is bounded in messages and in bytes.
func TestWindowBounds(t *testing.T) {
	for name, opt := range map[string]client.Option{
		"messages": client.WithMaxInFlight(3, 1<<20),
		"bytes":    client.WithMaxInFlight(100, 3500),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.nodes[0].setDeny(reasoned(codes.Unavailable, "NO_LEADER", 0))
			cl := dial(t, c.endpoints(), opt)
			ctx, cancel := context.WithCancel(testContext(t))
			for i := range 3 {
				if _, err := cl.AppendAsync(ctx, client.Draft{Timeline: "conv/1", ID: tidemark.MessageID(fmt.Sprint(i)), Payload: make([]byte, 1000)}); err != nil {
					t.Fatal(err)
				}
			}
			short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			_, err := cl.AppendAsync(short, client.Draft{Timeline: "conv/1", Payload: make([]byte, 1000)})
			if !errors.Is(err, context.DeadlineExceeded) || !contains(err.Error(), "no room") || errors.Is(err, tidemark.ErrOutcomeUnknown) {
				t.Errorf("got %v", err)
			}
			// Callers that give up leave room.
			cancel()
			c.nodes[0].setDeny(nil)
			mustAppend(t, cl, client.Draft{Timeline: "conv/2", ID: "large", Payload: make([]byte, 5000)})
		})
	}
}

// TestPayloadMayBeReused: what was handed in is what is sent, whatever happens to
// the caller's slice afterwards.
func TestPayloadMayBeReused(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{cut: true, skip: true}, fault{cut: true, skip: true})
	cl := dial(t, c.endpoints())
	payload := []byte("hello")
	pending, err := cl.AppendAsync(testContext(t), client.Draft{Timeline: "conv/1", ID: "m1", Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	copy(payload, "other")
	if _, err := pending.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := string(c.timelines["conv/1"].messages[0].GetPayload()); got != "hello" {
		t.Errorf("payload is %q", got)
	}
}

// TestObserver is told of every attempt.
func TestObserver(t *testing.T) {
	c := newCluster(t, 1)
	var mu sync.Mutex
	var seen []client.Attempt
	cl := dial(t, c.endpoints(), client.WithObserver(func(a client.Attempt) {
		mu.Lock()
		defer mu.Unlock()
		a.Duration = 0
		seen = append(seen, a)
	}))
	c.nodes[0].script("AppendStream", fault{cut: true})
	c.nodes[0].script("Ack", fault{skip: true, err: status.Error(codes.Unavailable, "gone")})
	mustAppend(t, cl, draft("m1"))
	if _, err := cl.Ack(testContext(t), "bob", client.AckItem{Timeline: "conv/1", Read: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Get(testContext(t), "conv/1", 9); err == nil {
		t.Fatal("message 9 exists")
	}
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		operation            string
		answered, unanswered int
		err                  error
	}{
		{"AppendStream", 0, 1, tidemark.ErrOutcomeUnknown},
		{"Ack", 0, 0, tidemark.ErrOutcomeUnknown},
		{"AppendStream", 1, 0, nil},
		{"Ack", 0, 0, nil},
		{"Get", 0, 0, tidemark.ErrMessageNotFound},
	}
	for _, w := range want {
		found := false
		for _, a := range seen {
			found = found || a.Operation == w.operation && a.Answered == w.answered && a.Unanswered == w.unanswered &&
				errors.Is(a.Err, w.err) && a.Endpoint == c.nodes[0].address
		}
		if !found {
			t.Errorf("no attempt like %+v in %+v", w, seen)
		}
	}
}
