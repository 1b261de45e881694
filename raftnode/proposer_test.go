package raftnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

// fakeRaft takes entries like Raft. Tests answer them, in any order.
type fakeRaft struct {
	entries chan *fakeFuture
	index   uint64
}

type fakeFuture struct {
	index    uint64
	commands [][]byte
	bytes    int
	fence    uint64
	answer   chan error
	void     bool
}

func newFakeRaft() *fakeRaft { return &fakeRaft{entries: make(chan *fakeFuture, 1024)} }

func (r *fakeRaft) apply(l raft.Log) raft.ApplyFuture {
	fence, body, err := openEntry(l.Data)
	if err != nil {
		panic(err)
	}
	r.index++
	f := &fakeFuture{index: r.index, commands: decodeFake(body), bytes: len(l.Data), fence: fence, answer: make(chan error, 1)}
	r.entries <- f
	return f
}

func (f *fakeFuture) Error() error  { return <-f.answer }
func (f *fakeFuture) Index() uint64 { return f.index }
func (f *fakeFuture) Response() any {
	var results []any
	for _, c := range f.commands {
		results = append(results, "did "+string(c))
	}
	return applied{results: results, void: f.void}
}

func (f *fakeFuture) text() string { return string(bytes.Join(f.commands, []byte(" "))) }

func testProposer(t *testing.T, r *fakeRaft, tune func(*Config)) *proposer {
	cfg := DefaultConfig()
	cfg.EncodeEntry, cfg.Clock, cfg.Metrics = encodeFake, time.Now, NewMetrics(nil)
	if tune != nil {
		tune(&cfg)
	}
	p := newProposer(&cfg, r.apply)
	t.Cleanup(func() { p.stop(); p.abandon() })
	return p
}

func lead(t *testing.T, p *proposer, term uint64) uint64 {
	t.Helper()
	epoch := p.begin(term)
	if !p.open(epoch) {
		t.Fatal("the epoch does not open")
	}
	return epoch
}

func enqueue(p *proposer, command string) *Pending {
	pending, _ := p.enqueue([]byte(command), 0)
	return pending
}

func wantError(t *testing.T, p *Pending, want error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, want) {
		t.Fatalf("outcome is %v, want %v", err, want)
	}
}

func TestProposerGathersWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, nil)
		lead(t, p, 7)
		first := enqueue(p, "a")
		synctest.Wait()
		second := enqueue(p, "b")
		synctest.Wait()
		var waiting []*Pending
		for i := range 100 {
			waiting = append(waiting, enqueue(p, fmt.Sprint(i)))
		}
		synctest.Wait()
		if n := len(r.entries); n != 2 {
			t.Fatalf("%d entries are in flight, want 2", n)
		}
		one, two := <-r.entries, <-r.entries
		if one.text() != "a" || two.text() != "b" || one.fence != 7 {
			t.Fatalf("entries are %q of fence %d and %q", one.text(), one.fence, two.text())
		}
		one.answer <- nil
		synctest.Wait()
		three := <-r.entries
		if len(three.commands) != 100 {
			t.Fatalf("the third entry has %d commands, want all 100 that waited", len(three.commands))
		}
		two.answer <- nil
		three.answer <- nil
		for i, pending := range append([]*Pending{first, second}, waiting...) {
			got, err := pending.Wait(t.Context())
			if err != nil || got.Result != "did "+string(pending.command) {
				t.Fatalf("proposal %d: %v, %v", i, got, err)
			}
			if want := tidemark.Position(min(i+1, 3)); got.Position != want {
				t.Fatalf("proposal %d is at %d, want %d", i, got.Position, want)
			}
		}
	})
}

func TestProposerNeverPassesTheBoundsOfAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, func(c *Config) { c.MaxInFlightEntries = 1; c.MaxQueuedBytes = 1 << 30 })
		lead(t, p, 1)
		total := 0
		for size := range 3000 {
			enqueue(p, string(make([]byte, 1+size)))
			total++
		}
		for range 5 * tidemark.MaxEntryCommands {
			enqueue(p, "x")
			total++
		}
		if pending := enqueue(p, string(make([]byte, maxCommandBytes))); pending.err != nil {
			t.Fatalf("a command of the largest size was refused: %v", pending.err)
		}
		total++
		for total > 0 {
			f := <-r.entries
			if f.bytes > tidemark.MaxEntryBytes || len(f.commands) > tidemark.MaxEntryCommands || len(f.commands) == 0 {
				t.Fatalf("an entry has %d bytes and %d commands", f.bytes, len(f.commands))
			}
			total -= len(f.commands)
			f.answer <- nil
		}
	})
}

func TestCommandSize(t *testing.T) {
	p := testProposer(t, newFakeRaft(), nil)
	lead(t, p, 1)
	wantError(t, enqueue(p, ""), tidemark.ErrInvalid)
	wantError(t, enqueue(p, string(make([]byte, maxCommandBytes+1))), tidemark.ErrInvalid)
}

// In virtual time an idle proposer takes none: there is no timer to wait for.
func TestIdleProposerAddsNoDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, nil)
		lead(t, p, 1)
		start := time.Now()
		for i := range 100 {
			pending := enqueue(p, fmt.Sprint(i))
			(<-r.entries).answer <- nil
			if _, err := pending.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Fatalf("took %s", took)
		}
	})
}

func TestProposerRefusesTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, func(c *Config) { c.MaxQueuedCommands = 10; c.MaxQueuedBytes = 1000; c.MaxInFlightEntries = 1 })
		lead(t, p, 1)
		enqueue(p, "in flight")
		synctest.Wait()
		for range 10 {
			if pending := enqueue(p, "x"); pending.err != nil {
				t.Fatal(pending.err)
			}
		}
		wantError(t, enqueue(p, "x"), tidemark.ErrOverloaded)
		(<-r.entries).answer <- nil
		synctest.Wait()
		if pending := enqueue(p, string(make([]byte, 999))); pending.err != nil {
			t.Fatal(pending.err)
		}
		wantError(t, enqueue(p, "xx"), tidemark.ErrOverloaded)
		(<-r.entries).answer <- nil
		(<-r.entries).answer <- nil
	})
}

// After a failure nothing that was proposed behind it is applied.
func TestFailuresAreASuffix(t *testing.T) {
	for failure, want := range map[error]error{
		raft.ErrNotLeader: tidemark.ErrNotLeader, raft.ErrLeadershipLost: tidemark.ErrOutcomeUnknown, errors.New("disk"): tidemark.ErrOutcomeUnknown,
	} {
		t.Run(failure.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFakeRaft()
				p := testProposer(t, r, func(c *Config) { c.MaxInFlightEntries = 2 })
				lead(t, p, 1)
				ok := enqueue(p, "ok")
				synctest.Wait()
				fails := enqueue(p, "fails")
				synctest.Wait()
				behind := enqueue(p, "behind")
				(<-r.entries).answer <- nil
				synctest.Wait()
				(<-r.entries).answer <- failure
				synctest.Wait()
				for range len(r.entries) { // what was handed over already fails with the leadership
					(<-r.entries).answer <- raft.ErrLeadershipLost
				}
				wantError(t, ok, nil)
				wantError(t, fails, want)
				<-behind.Done()
				if behind.err == nil {
					t.Fatal("what was behind the failure was applied")
				}
				wantError(t, enqueue(p, "later"), tidemark.ErrNotLeader)
				if n := len(r.entries); n != 0 {
					t.Fatalf("%d entries were handed over after the failure", n)
				}
			})
		})
	}
}

func (p *Pending) refused() bool { return p.err != nil }

func TestQueueIsRefusedWhenLeadershipEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, nil)
		wantError(t, enqueue(p, "before"), tidemark.ErrNotLeader)
		epoch := p.begin(3)
		waits := enqueue(p, "waits")
		synctest.Wait()
		if n := len(r.entries); n != 0 {
			t.Fatal("an entry was proposed before the leadership was established")
		}
		p.end(tidemark.ErrNotLeader)
		wantError(t, waits, tidemark.ErrNotLeader)
		if p.open(epoch) {
			t.Fatal("an epoch that has ended opened")
		}
	})
}

func TestFencedEntryIsNotApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, nil)
		lead(t, p, 1)
		pending := enqueue(p, "a")
		f := <-r.entries
		f.void = true
		f.answer <- nil
		wantError(t, pending, tidemark.ErrNotLeader)
		wantError(t, enqueue(p, "b"), tidemark.ErrNotLeader)
	})
}

func TestPipelineBreaksAtTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, func(c *Config) { c.MaxQueuedCommands = 1; c.MaxInFlightEntries = 1 })
		n := &Node{proposer: p}
		lead(t, p, 1)
		pipe := n.NewPipeline()
		a := pipe.ProposeAsync([]byte("a"))
		synctest.Wait()
		b := pipe.ProposeAsync([]byte("b"))
		tooMany := pipe.ProposeAsync([]byte("c"))
		wantError(t, tooMany, tidemark.ErrOverloaded)
		(<-r.entries).answer <- nil
		(<-r.entries).answer <- nil
		wantError(t, a, nil)
		wantError(t, b, nil)
		// There is room again, but d must not overtake c.
		wantError(t, pipe.ProposeAsync([]byte("d")), tidemark.ErrNotLeader)
		pipe.Reset()
		c := pipe.ProposeAsync([]byte("c"))
		(<-r.entries).answer <- nil
		wantError(t, c, nil)
		// A leadership that ends and comes back breaks it too.
		p.end(tidemark.ErrNotLeader)
		lead(t, p, 2)
		wantError(t, pipe.ProposeAsync([]byte("e")), tidemark.ErrNotLeader)
	})
}

func TestDrainedWaitsForWhatIsInFlight(t *testing.T) {
	for inFlight := 1; inFlight <= 3; inFlight++ {
		synctest.Test(t, func(t *testing.T) {
			r := newFakeRaft()
			p := testProposer(t, r, func(c *Config) { c.MaxInFlightEntries = inFlight })
			lead(t, p, 1)
			for range inFlight {
				enqueue(p, "x")
				synctest.Wait()
			}
			p.end(tidemark.ErrNotLeader)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			if p.drained(short.Done()) {
				t.Fatal("drained while entries are in flight")
			}
			cancel()
			for range inFlight {
				(<-r.entries).answer <- nil
			}
			if !p.drained(nil) {
				t.Fatal("not drained")
			}
		})
	}
}

// Raft can leave futures unanswered at its shutdown; their callers get an answer.
func TestStopResolvesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRaft()
		p := testProposer(t, r, func(c *Config) { c.MaxInFlightEntries = 1 })
		lead(t, p, 1)
		flying := enqueue(p, "a")
		synctest.Wait()
		queued := enqueue(p, "b")
		p.stop()
		wantError(t, queued, tidemark.ErrStopping)
		wantError(t, enqueue(p, "c"), tidemark.ErrStopping)
		p.end(tidemark.ErrNotLeader)
		wantError(t, enqueue(p, "c"), tidemark.ErrStopping)
		if p.begin(2) != 0 {
			t.Fatal("an epoch began after the stop")
		}
		p.giveUp()
		p.wg.Wait()
		wantError(t, flying, tidemark.ErrOutcomeUnknown)
		p.abandoned = make(chan struct{})            // the cleanup closes it again
		(<-r.entries).answer <- raft.ErrRaftShutdown // lets the lost goroutine end
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	p := newPending([]byte("x"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, tidemark.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	p.resolve(tidemark.Proposal{Position: 3}, nil)
	if got, err := p.Wait(ctx); err != nil || got.Position != 3 {
		t.Fatal("a result that is there is not given to a caller whose context has ended")
	}
}

// Many callers, an epoch that ends at random: per caller, what failed is a suffix
// of each epoch, and nothing is resolved twice or lost.
func TestProposerUnderChangingLeadership(t *testing.T) {
	r := newFakeRaft()
	p := testProposer(t, r, nil)
	term := uint64(1)
	lead(t, p, term)
	stop := make(chan struct{})
	var appliedMu sync.Mutex
	var done [][]byte
	go func() { // Raft: every fiftieth entry ends the leadership
		for n := 1; ; n++ {
			select {
			case f := <-r.entries:
				if n%50 == 0 || f.fence != term {
					f.answer <- raft.ErrNotLeader
					if f.fence == term {
						term++
						p.end(tidemark.ErrNotLeader)
						p.open(p.begin(term))
					}
					continue
				}
				appliedMu.Lock()
				done = append(done, f.commands...)
				appliedMu.Unlock()
				f.answer <- nil
			case <-stop:
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() { // retries what failed, in order
			pipe := (&Node{proposer: p}).NewPipeline()
			var todo []string
			for i := range 500 {
				todo = append(todo, fmt.Sprintf("%d %04d", caller, i))
			}
			for len(todo) > 0 {
				n := min(20, len(todo))
				var pending []*Pending
				for _, c := range todo[:n] {
					pending = append(pending, pipe.ProposeAsync([]byte(c)))
				}
				failed := -1
				for i, one := range pending {
					<-one.Done()
					if one.refused() && failed < 0 {
						failed = i
					} else if !one.refused() && failed >= 0 {
						t.Errorf("%s was applied although %s before it was not", one.command, pending[failed].command)
					}
				}
				if failed >= 0 {
					n = failed
					pipe.Reset()
				}
				todo = todo[n:]
			}
		})
	}
	wg.Wait()
	close(stop)
	next := map[string][]string{}
	for _, c := range done {
		caller, _, _ := bytes.Cut(c, []byte(" "))
		next[string(caller)] = append(next[string(caller)], string(c))
	}
	for caller, got := range next {
		if len(got) != 500 || !slices.IsSorted(got) {
			t.Errorf("caller %s: %d commands, sorted %v", caller, len(got), slices.IsSorted(got))
		}
	}
}
