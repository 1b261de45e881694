package client_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/client"
)

// notKnown checks that err says that the outcome is unknown, and nothing milder.
func notKnown(t *testing.T, err error, cause error) *client.UnknownOutcomeError {
	t.Helper()
	var unknown *client.UnknownOutcomeError
	if !errors.As(err, &unknown) || !errors.Is(err, tidemark.ErrOutcomeUnknown) || cause != nil && !errors.Is(err, cause) {
		t.Fatalf("got %v, want an unknown outcome by %v", err, cause)
	}
	for _, mild := range []error{tidemark.ErrNotLeader, tidemark.ErrNoLeader, tidemark.ErrOverloaded, tidemark.ErrStopping, tidemark.ErrSequenceConflict} {
		if errors.Is(err, mild) {
			t.Errorf("unknown outcome %v also is %v", err, mild)
		}
	}
	return unknown
}

// TestDeadlineAfterSendingIsUnknown: applied or not, the caller is told that
// nobody knows, with the draft that settles it.
func TestDeadlineAfterSendingIsUnknown(t *testing.T) {
	for name, f := range map[string]fault{"applied": {mute: true}, "not applied": {mute: true, skip: true}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.nodes[0].script("AppendStream", f)
			cl := dial(t, c.endpoints(), client.WithStallTimeout(400*time.Millisecond))
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_, err := cl.Append(ctx, client.Draft{Timeline: "conv/1", Payload: []byte("hello")})
			unknown := notKnown(t, err, context.DeadlineExceeded)
			if unknown.Draft.ID == "" || unknown.Draft.ClientTime.IsZero() {
				t.Fatalf("draft to retry is %+v", unknown.Draft)
			}
			result := mustAppend(t, cl, unknown.Draft)
			if result.SeqID != 1 || result.Duplicate == f.skip {
				t.Errorf("retry said %+v", result)
			}
			if ids := c.ids("conv/1"); len(ids) != 1 || ids[0] != string(unknown.Draft.ID) {
				t.Errorf("timeline has %v", ids)
			}
		})
	}
}

// TestUnknownSurvivesRetries: after an attempt that may have been applied, failures
// that by themselves say that nothing was done do not make the outcome known.
func TestUnknownSurvivesRetries(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{cut: true})
	go func() {
		for c.nodes[0].count("AppendStream") == 0 {
			time.Sleep(time.Millisecond)
		}
		c.nodes[0].setDeny(reasoned(codes.Unavailable, "NO_LEADER", time.Millisecond))
	}()
	c.nodes[0].script("AppendStream", fault{delay: 50 * time.Millisecond, skip: true, err: reasoned(codes.Unavailable, "NO_LEADER", 0)})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := dial(t, c.endpoints()).Append(ctx, draft("m1"))
	notKnown(t, err, context.DeadlineExceeded)
}

// TestConflictAfterUnknown: a refusal settles an earlier attempt only if that can
// not be applied any more.
func TestConflictAfterUnknown(t *testing.T) {
	refuse := func(expected, last uint64) fault {
		return fault{skip: true, err: itemError{toItem(conflict(expected, last))}}
	}
	lost := fault{cut: true, skip: true}
	t.Run("settled", func(t *testing.T) {
		c := newCluster(t, 1)
		c.nodes[0].script("AppendStream", lost, refuse(3, 5))
		_, err := dial(t, c.endpoints()).Append(testContext(t), draft("m1"), client.ExpectLastSeqID(3))
		if !errors.Is(err, tidemark.ErrSequenceConflict) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("open", func(t *testing.T) {
		c := newCluster(t, 1)
		c.nodes[0].script("AppendStream", lost, refuse(7, 5))
		_, err := dial(t, c.endpoints()).Append(testContext(t), draft("m1"), client.ExpectLastSeqID(7))
		notKnown(t, err, nil)
	})
}

// TestDeadlineBeforeSendingIsDefinite: without a connection nothing was sent.
func TestDeadlineBeforeSendingIsDefinite(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, []string{nobody})
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	_, err1 := c.Append(short(), draft("m1"))
	_, err2 := c.AppendBatch(short(), []client.Draft{draft("m1")})
	_, err3 := c.Ack(short(), "bob", client.AckItem{Timeline: "conv/1", Read: 1})
	_, err4 := c.Cluster().AddMember(short(), "n4", "x:1")
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
			t.Errorf("got %v", err)
		}
	}
}

func TestEndedContextSendsNothing(t *testing.T) {
	c := newCluster(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := dial(t, c.endpoints()).Append(ctx, draft("m1"))
	if !errors.Is(err, context.Canceled) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
		t.Errorf("got %v", err)
	}
	if n := c.nodes[0].count("AppendStream"); n != 0 {
		t.Errorf("%d appends were sent", n)
	}
}

// TestMembershipIsNotRepeated: only what certainly changed nothing is sent again.
func TestMembershipIsNotRepeated(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AddMember",
		fault{skip: true, err: reasoned(codes.Unavailable, "NOT_LEADER", 0)},
		fault{skip: true, err: reasoned(codes.Unavailable, "NO_LEADER", 0)},
		fault{err: status.Error(codes.Unavailable, "gone")})
	_, err := dial(t, c.endpoints()).Cluster().AddMember(testContext(t), "n4", "x:1")
	if !errors.Is(err, tidemark.ErrOutcomeUnknown) || c.nodes[0].count("AddMember") != 3 {
		t.Errorf("got %v after %d calls", err, c.nodes[0].count("AddMember"))
	}
}

// TestAckAfterUnknown: a refusal that a later state could change settles nothing.
func TestAckAfterUnknown(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("Ack", fault{cut: true, skip: true}, fault{skip: true, err: errNoTimeline})
	_, err := dial(t, c.endpoints()).Ack(testContext(t), "bob", client.AckItem{Timeline: "conv/1", Read: 1})
	if !errors.Is(err, tidemark.ErrOutcomeUnknown) || errors.Is(err, tidemark.ErrTimelineNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestWaitDoesNotEndTheAppend: who waits may give up, and wait again.
func TestWaitDoesNotEndTheAppend(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{delay: 100 * time.Millisecond})
	pending, err := dial(t, c.endpoints()).AppendAsync(context.Background(), draft("m1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = pending.Wait(ctx)
	notKnown(t, err, context.Canceled)
	if result, err := pending.Wait(testContext(t)); err != nil || result.SeqID != 1 || pending.ID() != "m1" {
		t.Errorf("got %+v, %v", result, err)
	}
	select {
	case <-pending.Done():
	default:
		t.Error("is not done after Wait")
	}
}

// TestAsyncContextEndsTheAppend: the context given to AppendAsync is the append's own.
func TestAsyncContextEndsTheAppend(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{mute: true})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	pending, err := dial(t, c.endpoints()).AppendAsync(ctx, draft("m1"))
	if err != nil {
		t.Fatal(err)
	}
	<-pending.Done()
	_, err = pending.Wait(testContext(t))
	notKnown(t, err, context.DeadlineExceeded)
}
