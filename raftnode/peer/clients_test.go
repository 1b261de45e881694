package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"tidemark"
)

// fakeService answers with what it holds.
type fakeService struct {
	term atomic.Uint64
	err  error
	info Info
	hang chan struct{}
}

func (f *fakeService) Term(ctx context.Context) (uint64, error) {
	if f.hang != nil {
		select {
		case <-f.hang:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return f.term.Load(), f.err
}

func (f *fakeService) ReadIndex(context.Context) (uint64, uint64, error) {
	return 42, f.term.Load(), f.err
}

func (f *fakeService) Info(context.Context) (Info, error) { return f.info, f.err }

func serve(t *testing.T, m *testMux, svc Service) *grpc.Server {
	t.Helper()
	s := NewServer(m.Mux, svc)
	t.Cleanup(s.Stop)
	return s
}

func openClients(t *testing.T, m *testMux) *Clients {
	t.Helper()
	c := NewClients(m.Mux)
	t.Cleanup(func() { c.Close() })
	return c
}

func get(t *testing.T, c *Clients, id, address string) *Client {
	t.Helper()
	client, err := c.Get(id, address)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestPeerServiceRoundTrip(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	svc := &fakeService{info: Info{
		NodeID: "n2", ClientAddress: "c:1", HTTPAddress: "h:1", Version: "v1", Term: 7, AppliedIndex: 1, CommitIndex: 2, LastIndex: 3,
		Role: "follower", LeaderID: "n1", NotServingReason: "no leader",
		Members: []Member{{ID: "n1", RaftAddress: "a:1", Voter: true}, {ID: "n2", RaftAddress: "b:1"}},
	}}
	svc.term.Store(7)
	serve(t, n2, svc)
	client := get(t, openClients(t, n1), "n2", n2.Advertise())
	ctx := testContext(t)
	if term, err := client.Term(ctx); err != nil || term != 7 {
		t.Errorf("term is %d, %v", term, err)
	}
	if index, term, err := client.ReadIndex(ctx); err != nil || index != 42 || term != 7 {
		t.Errorf("read index is %d in term %d, %v", index, term, err)
	}
	if info, err := client.Info(ctx); err != nil || !reflect.DeepEqual(info, svc.info) {
		t.Errorf("info is %+v, %v", info, err)
	}
	if n := n2.Conns()[KindGRPC]; n != 1 {
		t.Errorf("three calls made %d connections", n)
	}
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	svc := &fakeService{}
	serve(t, n2, svc)
	client := get(t, openClients(t, n1), "n2", n2.Advertise())
	for _, w := range wireErrors {
		svc.err = fmt.Errorf("in words: %w", w.err)
		for name, call := range map[string]func() error{
			"term":       func() error { _, err := client.Term(testContext(t)); return err },
			"read index": func() error { _, _, err := client.ReadIndex(testContext(t)); return err },
			"info":       func() error { _, err := client.Info(testContext(t)); return err },
		} {
			err := call()
			if !errors.Is(err, w.err) || !strings.Contains(err.Error(), `node "n2": in words: `) {
				t.Errorf("%s: %v arrives as %v", name, svc.err, err)
			}
			for _, other := range wireErrors {
				if other.err != w.err && errors.Is(err, other.err) {
					t.Errorf("%s: %v arrives as %v too", name, w.err, other.err)
				}
			}
		}
	}
	svc.err = io.ErrShortWrite
	if _, err := client.Term(testContext(t)); err == nil || errors.Is(err, tidemark.ErrNotLeader) || !strings.Contains(err.Error(), "short write") {
		t.Errorf("an unknown error arrives as %v", err)
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	svc := &fakeService{hang: make(chan struct{})}
	serve(t, n2, svc)
	client := get(t, openClients(t, n1), "n2", n2.Advertise())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Term(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want a deadline", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := client.Term(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want a cancellation", err)
	}
}

// TestClientFindsARestartedPeerSoon: gRPC's own backoff would make a node that
// restarts wait for seconds, and every linearizable read with it.
func TestClientFindsARestartedPeerSoon(t *testing.T) {
	n1 := openMux(t, "n1", nil)
	registry := newMemRegistry(nil)
	n2 := openMux(t, "n2", func(c *Config) { c.Registry = registry })
	address := n2.Advertise()
	server := serve(t, n2, &fakeService{})
	client := get(t, openClients(t, n1), "n2", address)
	if _, err := client.Term(testContext(t)); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	n2.Close()
	// Away for long enough that the backoff has reached its limit.
	for range 20 {
		start := time.Now()
		if _, err := client.Term(testContext(t)); err == nil {
			t.Fatal("a stopped peer answered")
		} else if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("it took %v to learn that the peer is away: %v", took, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	n2 = openMux(t, "n2", func(c *Config) { c.Registry, c.Listen = registry, address })
	serve(t, n2, &fakeService{})
	back := time.Now()
	eventually(t, "an answer of the restarted peer", func() bool {
		_, err := client.Term(testContext(t))
		return err == nil
	})
	took := time.Since(back)
	t.Logf("found again after %v", took)
	if took > time.Second {
		t.Errorf("it took %v to find the restarted peer", took)
	}
}

func TestRefusedPeerSaysWhy(t *testing.T) {
	n1 := openMux(t, "n1", nil)
	n2 := openMux(t, "n2", func(c *Config) { c.Registry = newMemRegistry(map[string]string{"n1": "before"}) })
	serve(t, n2, &fakeService{})
	client := get(t, openClients(t, n1), "n2", n2.Advertise())
	if _, err := client.Term(testContext(t)); err == nil || !strings.Contains(err.Error(), "another data directory") {
		t.Errorf("error is %v", err)
	}
	if r := n1.waitRefusal(t, false, ReasonDialerChanged); !r.OwnDataReplaced() {
		t.Errorf("refusal is %+v", r)
	}
}

func TestClientsAreCachedAndRemoved(t *testing.T) {
	n1, n2 := openMux(t, "n1", nil), openMux(t, "n2", nil)
	serve(t, n2, &fakeService{})
	clients := openClients(t, n1)
	client := get(t, clients, "n2", n2.Advertise())
	if again := get(t, clients, "n2", n2.Advertise()); again != client {
		t.Error("the same peer got a second connection")
	}
	if _, err := client.Term(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if other := get(t, clients, "n2", "127.0.0.1:1"); other == client {
		t.Error("another address got the connection to the old one")
	}
	eventually(t, "the old connection to close", func() bool { return n1.Conns()[KindGRPC] == 0 && n2.Conns()[KindGRPC] == 0 })
	client = get(t, clients, "n2", n2.Advertise())
	if _, err := client.Term(testContext(t)); err != nil {
		t.Fatal(err)
	}
	clients.Remove("n2")
	clients.Remove("n3")
	if _, err := client.Term(testContext(t)); err == nil {
		t.Error("a removed client answered")
	}
	eventually(t, "the removed connection to close", func() bool { return n2.Conns()[KindGRPC] == 0 })
	if err := clients.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := clients.Get("n2", n2.Advertise()); !errors.Is(err, tidemark.ErrStopping) {
		t.Errorf("get after close: %v", err)
	}
}
