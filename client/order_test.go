package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
)

// TestOrderUnderFailures is the property that the pipeline is for. Callers hand in
// thousands of appends without waiting, over nodes that fail in every way that the
// contract allows, while the leader changes. Then each timeline holds the appends
// of its caller in the order of the calls, each once, at the SeqID that was
// answered.
func TestOrderUnderFailures(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			c := newCluster(t, 3)
			for i, n := range c.nodes {
				n.setRandom(anyFault(rand.New(rand.NewPCG(seed, uint64(i))), 0.02, seed == 0))
			}
			cl := dial(t, c.endpoints(), client.WithMaxInFlight(300, 1<<20), client.WithLeaderRefresh(20*time.Millisecond),
				client.WithStallTimeout(40*time.Millisecond))
			stop := changeLeaders(c, rng)
			defer stop()
			var callers sync.WaitGroup
			for i := range 6 {
				callers.Go(func() { appendInOrder(t, c, cl, fmt.Sprint("conv/", i), 700) })
			}
			callers.Wait()
		})
	}
}

func changeLeaders(c *cluster, rng *rand.Rand) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(30 * time.Millisecond):
				c.lead(rng.IntN(len(c.nodes)+1) - 1)
			}
		}
	}()
	return func() { close(quit); <-done }
}

// appendInOrder hands n appends to one timeline in, and checks it.
func appendInOrder(t *testing.T, c *cluster, cl *client.Client, name string, n int) {
	ctx := testContext(t)
	pending := make([]*client.Pending, n)
	var want []string
	for i := range n {
		id := fmt.Sprint(name, "#", i)
		want = append(want, id)
		var err error
		pending[i], err = cl.AppendAsync(ctx, client.Draft{Timeline: tidemark.TimelineID(name), ID: tidemark.MessageID(id), Payload: []byte(id)})
		if err != nil {
			t.Error(err)
			return
		}
	}
	for i, p := range pending {
		result, err := p.Wait(ctx)
		if err != nil || result.SeqID != tidemark.SeqID(i+1) {
			t.Errorf("%s: append %d: got %+v, %v", name, i, result, err)
			return
		}
	}
	if got := c.ids(name); !slices.Equal(got, want) {
		t.Errorf("%s: %d messages, not the %d in order: first difference at %d", name, len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestOrderWithImpatientCallers adds callers that give up: what they are told holds,
// and the others keep their order around them.
func TestOrderWithImpatientCallers(t *testing.T) {
	c := newCluster(t, 3)
	for i, n := range c.nodes {
		n.setRandom(anyFault(rand.New(rand.NewPCG(7, uint64(i))), 0.02, true))
	}
	cl := dial(t, c.endpoints(), client.WithMaxInFlight(100, 1<<20), client.WithStallTimeout(40*time.Millisecond))
	rng := rand.New(rand.NewPCG(7, 7))
	type sent struct {
		id      string
		pending *client.Pending
	}
	var all []sent
	unsent := make(map[string]bool)
	for i := range 2000 {
		ctx := testContext(t)
		if rng.IntN(10) == 0 {
			short, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
			defer cancel()
			ctx = short
		}
		id := fmt.Sprint("m", i)
		p, err := cl.AppendAsync(ctx, draft(id))
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tidemark.ErrOutcomeUnknown) {
				t.Fatal(err)
			}
			unsent[id] = true
			continue
		}
		all = append(all, sent{id, p})
	}
	acknowledged := make(map[string]tidemark.SeqID)
	var lastSeq tidemark.SeqID
	for _, s := range all {
		result, err := s.pending.Wait(testContext(t))
		switch {
		case err == nil:
			if result.SeqID <= lastSeq {
				t.Errorf("%s got SeqID %d after %d", s.id, result.SeqID, lastSeq)
			}
			lastSeq = result.SeqID
			acknowledged[s.id] = result.SeqID
		case errors.Is(err, tidemark.ErrOutcomeUnknown):
		case errors.Is(err, context.DeadlineExceeded):
			unsent[s.id] = true
		default:
			t.Errorf("%s: %v", s.id, err)
		}
	}
	for _, n := range c.nodes {
		n.background.Wait()
	}
	seen := make(map[string]bool)
	for i, id := range c.ids("conv/1") {
		if seen[id] || unsent[id] {
			t.Errorf("%s is there twice (%v) or though it was said not to be sent (%v)", id, seen[id], unsent[id])
		}
		seen[id] = true
		if seq, ok := acknowledged[id]; ok && seq != tidemark.SeqID(i+1) {
			t.Errorf("%s was acknowledged at %d and is at %d", id, seq, i+1)
		}
		delete(acknowledged, id)
	}
	if len(acknowledged) > 0 {
		t.Errorf("acknowledged and not there: %v", acknowledged)
	}
}
