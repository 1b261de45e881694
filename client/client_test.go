package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/client"
)

// TestMain fails when a goroutine of the client outlives it.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for code == 0 {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !strings.Contains(string(stacks), "tidemark/client.") && !strings.Contains(string(stacks), "grpc") {
			break
		}
		if time.Now().After(deadline) {
			fmt.Printf("goroutines outlive the tests:\n%s\n", stacks)
			code = 1
		}
		time.Sleep(10 * time.Millisecond)
	}
	os.Exit(code)
}

// dial returns a client that is in a hurry, and is closed at the end.
func dial(t testing.TB, endpoints []string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(endpoints, append([]client.Option{
		client.WithRetryBackoff(time.Millisecond, 20*time.Millisecond),
		client.WithStallTimeout(200 * time.Millisecond),
		client.WithConnectTimeout(200 * time.Millisecond),
		client.WithDrainTimeout(time.Second),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func draft(id string) client.Draft {
	return client.Draft{Timeline: "conv/1", ID: tidemark.MessageID(id), Payload: []byte("payload of " + id)}
}

func mustAppend(t testing.TB, c *client.Client, d client.Draft, opts ...client.AppendOption) *client.AppendResult {
	t.Helper()
	result, err := c.Append(testContext(t), d, opts...)
	if err != nil {
		t.Fatalf("append of %q: %v", d.ID, err)
	}
	return result
}

func TestNewRefusesNonsense(t *testing.T) {
	for name, try := range map[string]func() (*client.Client, error){
		"endpoints must not be empty":             func() (*client.Client, error) { return client.New(nil) },
		"endpoints[1] must not be empty":          func() (*client.Client, error) { return client.New([]string{"a:1", ""}) },
		"WithStallTimeout must be positive":       func() (*client.Client, error) { return client.New([]string{"a:1"}, client.WithStallTimeout(0)) },
		"WithMaxInFlight messages must be posit":  func() (*client.Client, error) { return client.New([]string{"a:1"}, client.WithMaxInFlight(0, 1)) },
		"WithMaxInFlight bytes must be positive":  func() (*client.Client, error) { return client.New([]string{"a:1"}, client.WithMaxInFlight(1, 0)) },
		"WithRetryBackoff limit must be at least": func() (*client.Client, error) { return client.New([]string{"a:1"}, client.WithRetryBackoff(2, 1)) },
		"WithLogger must not be nil":              func() (*client.Client, error) { return client.New([]string{"a:1"}, client.WithLogger(nil)) },
	} {
		_, err := try()
		if !errors.Is(err, tidemark.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

func TestAppendMakesIDAndTimeOnce(t *testing.T) {
	c := newCluster(t, 1)
	// The first attempt is applied and its reply lost: a second one with another
	// id or another time would be a second message or a conflict.
	c.nodes[0].script("AppendStream", fault{cut: true})
	result := mustAppend(t, dial(t, c.endpoints()), client.Draft{Timeline: "conv/1", Payload: []byte("hello")})
	if result.SeqID != 1 || !result.Duplicate || result.Position == 0 || result.Timeline != "conv/1" || result.ServerTime.IsZero() {
		t.Errorf("result is %+v", result)
	}
	id, err := uuid.Parse(string(result.ID))
	if err != nil || id.Version() != 7 {
		t.Errorf("message id %q is not a UUIDv7: %v", result.ID, err)
	}
	message := c.timelines["conv/1"].messages[0]
	if since := time.Since(message.GetClientTime().AsTime()); since < 0 || since > time.Minute {
		t.Errorf("client time is %v ago", since)
	}
	if ids := c.ids("conv/1"); len(ids) != 1 {
		t.Errorf("timeline has %v", ids)
	}
}

func TestAppendLeavesTimeOfNamedDraft(t *testing.T) {
	c := newCluster(t, 1)
	mustAppend(t, dial(t, c.endpoints()), draft("m1"))
	if at := c.timelines["conv/1"].messages[0].GetClientTime(); at != nil {
		t.Errorf("client time is %v; a retry by the caller could not repeat it", at.AsTime())
	}
}

// TestAppendRetries lets an append meet every failure that a retry mends.
func TestAppendRetries(t *testing.T) {
	for name, f := range map[string]fault{
		"cut before applying":    {cut: true, skip: true},
		"cut after applying":     {cut: true},
		"applied late":           {cut: true, late: 20 * time.Millisecond},
		"not leader":             {skip: true, err: reasoned(codes.Unavailable, "NOT_LEADER", 0)},
		"no leader":              {skip: true, err: reasoned(codes.Unavailable, "NO_LEADER", time.Millisecond)},
		"stopping":               {skip: true, err: reasoned(codes.Unavailable, "STOPPING", 0)},
		"overloaded":             {skip: true, err: reasoned(codes.ResourceExhausted, "OVERLOADED", time.Millisecond)},
		"disk full":              {skip: true, err: reasoned(codes.Unavailable, "DISK_FULL", time.Millisecond)},
		"corrupt":                {skip: true, err: reasoned(codes.DataLoss, "CORRUPT", 0)},
		"unknown, applied":       {err: reasoned(codes.Unavailable, "OUTCOME_UNKNOWN", 0)},
		"unknown, not applied":   {skip: true, err: reasoned(codes.Unavailable, "OUTCOME_UNKNOWN", 0)},
		"unavailable":            {skip: true, err: status.Error(codes.Unavailable, "gone")},
		"internal":               {skip: true, err: status.Error(codes.Internal, "broken")},
		"a reason of the future": {skip: true, err: reasoned(codes.Unavailable, "ASLEEP", 0)},
		"exhausted by a proxy":   {skip: true, err: status.Error(codes.ResourceExhausted, "calm down")},
		"no answer, applied":     {mute: true},
		"no answer":              {mute: true, skip: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.nodes[0].script("AppendStream", f)
			client := dial(t, c.endpoints())
			if result := mustAppend(t, client, draft("m1")); result.SeqID != 1 {
				t.Errorf("SeqID is %d", result.SeqID)
			}
			if result := mustAppend(t, client, draft("m2")); result.SeqID != 2 || result.Duplicate {
				t.Errorf("result of the next is %+v", result)
			}
		})
	}
}

// TestAppendFails lets an append meet every failure that no retry mends.
func TestAppendFails(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	mustAppend(t, cl, draft("m1"))

	_, err := cl.Append(testContext(t), client.Draft{Timeline: "conv/1", ID: "m1", Payload: []byte("other")})
	if !errors.Is(err, tidemark.ErrMessageIDConflict) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
		t.Errorf("other content under the id: %v", err)
	}
	_, err = cl.Append(testContext(t), draft("m2"), client.ExpectLastSeqID(7))
	var conflict *tidemark.SequenceConflictError
	if !errors.As(err, &conflict) || conflict.Expected != 7 || conflict.Last != 1 {
		t.Errorf("sequence conflict: %v", err)
	}
	if mustAppend(t, cl, draft("m3"), client.ExpectLastSeqID(1)).SeqID != 2 {
		t.Error("expected sequence id was not taken")
	}
	_, err = cl.Append(testContext(t), client.Draft{Timeline: "conv/1", Payload: make([]byte, tidemark.MaxPayloadBytes+1)})
	var invalid *tidemark.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "payload" {
		t.Errorf("large payload: %v", err)
	}
	_, err = cl.Append(testContext(t), client.Draft{Timeline: "conv/1", ClientTime: time.Unix(-1e11, 0)})
	if !errors.As(err, &invalid) || invalid.Field != "client_time" {
		t.Errorf("time out of range: %v", err)
	}
	for _, code := range []codes.Code{codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied} {
		c.nodes[0].setDeny(status.Error(code, "no entry"))
		fresh := dial(t, c.endpoints())
		_, err = fresh.Append(testContext(t), draft("m4"))
		if err == nil || status.Code(err) != code || errors.Is(err, tidemark.ErrOutcomeUnknown) {
			t.Errorf("%v: got %v", code, err)
		}
	}
	if ids := c.ids("conv/1"); len(ids) != 2 {
		t.Errorf("timeline has %v", ids)
	}
}

// TestItemErrorLeavesOthersAlone: one append fails for good, the stream goes on.
func TestItemErrorLeavesOthersAlone(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	var pending []*client.Pending
	for i := range 100 {
		opts := []client.AppendOption{}
		if i%10 == 5 {
			opts = append(opts, client.ExpectLastSeqID(1000))
		}
		p, err := cl.AppendAsync(testContext(t), draft(fmt.Sprint("m", i)), opts...)
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	for i, p := range pending {
		_, err := p.Wait(testContext(t))
		if failed := i%10 == 5; failed != errors.Is(err, tidemark.ErrSequenceConflict) || failed != (err != nil) {
			t.Errorf("append %d: %v", i, err)
		}
	}
	if streams := len(c.nodes[0].carried); streams != 1 {
		t.Errorf("%d streams were opened", streams)
	}
}

func TestConcurrentAppendsShareOneStream(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 10 {
				mustAppend(t, cl, client.Draft{Timeline: tidemark.TimelineID(fmt.Sprint("t", i)), ID: tidemark.MessageID(fmt.Sprint(j))})
			}
		})
	}
	group.Wait()
	if got := fmt.Sprint(c.nodes[0].carried); got != "[640]" {
		t.Errorf("streams carried %s appends", got)
	}
}
