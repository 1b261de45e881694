package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tidemark/client"
	"tidemark/jepsen/history"
	pb "tidemark/rpc/tidemarkv1"
)

// Workload is one use of the API.
type Workload interface {
	Name() string
	// Threads is how many logical clients it has.
	Threads() int
	// Run is one thread. It begins operations until env.Stopped, and returns when its
	// last one has ended. When ctx ends, operations under way are given up.
	Run(ctx context.Context, t *Thread)
}

// All are the workloads, in a fixed order.
func All() []Workload {
	return []Workload{streams{}, unaries{}, batches{}, reuses{}, races{}, reads{}, syncs{}, tails{}, feeds{}, cursors{}, unreads{}, fanouts{}, retentions{}, revisions{}}
}

// Named returns the workloads with the names, or all for none.
func Named(names ...string) ([]Workload, error) {
	if len(names) == 0 {
		return All(), nil
	}
	known := append(All(), probes{})
	var chosen []Workload
	for _, name := range names {
		i := slices.IndexFunc(known, func(w Workload) bool { return w.Name() == name })
		if i < 0 {
			var there []string
			for _, w := range known {
				there = append(there, w.Name())
			}
			return nil, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(there, ", "))
		}
		chosen = append(chosen, known[i])
	}
	return chosen, nil
}

// Door is one way into the cluster. Threads that share a door share its SDK client,
// and so its session.
type Door struct {
	// Name names the SDK client, see history.Operation.Client.
	Name string
	// Node is the node that is asked, or "" if the SDK is free to choose.
	Node string
	SDK  *client.Client
	// Unary is the generated API at Node; nil if the SDK is free to choose.
	Unary pb.TimelineServiceClient
}

// Environment is what all threads share.
type Environment struct {
	Recorder *history.Recorder
	Board    *Board
	Seed     uint64
	// Pause is the mean time between two operations of one thread.
	Pause time.Duration
	// Patience bounds one operation.
	Patience time.Duration
	// Stop is closed when no operation is to be begun any more.
	Stop <-chan struct{}
	// Tally counts what has ended.
	Tally Tally

	mu    sync.Mutex
	doors []*Door
	// speech is closed when clients may begin operations again; nil if they may.
	speech chan struct{}
}

// Hush has all threads begin nothing until Speak. What is under way goes on.
func (e *Environment) Hush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.speech == nil {
		e.speech = make(chan struct{})
	}
}

// Speak has all threads go on.
func (e *Environment) Speak() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.speech != nil {
		close(e.speech)
		e.speech = nil
	}
}

// hushed is closed when threads may go on, or nil if they may now.
func (e *Environment) hushed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.speech
}

// Doors are those that are open now.
func (e *Environment) Doors() []*Door {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.doors
}

// SetDoors opens and closes doors: threads turn to those that are open with their
// next operation. There is always one that leads anywhere, and one that does not.
func (e *Environment) SetDoors(doors []*Door) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doors = slices.Clone(doors)
}

// Tally counts operations, and the messages among their items, as they end.
type Tally struct {
	OK, Failed, Unknown atomic.Int64
	// Acknowledged counts messages.
	Acknowledged atomic.Int64
}

func (t *Tally) count(op *history.Operation) {
	switch op.Outcome {
	case history.OK:
		t.OK.Add(1)
	case history.Fail:
		t.Failed.Add(1)
	default:
		t.Unknown.Add(1)
	}
	for i := range op.Items {
		if op.ItemOutcome(&op.Items[i]) == history.OK {
			t.Acknowledged.Add(1)
		}
	}
}

// Stopped reports whether no operation is to be begun any more.
func (e *Environment) Stopped() bool {
	select {
	case <-e.Stop:
		return true
	default:
		return false
	}
}

// Run runs all threads of the workloads, and returns when all have ended.
func Run(ctx context.Context, env *Environment, workloads []Workload) {
	var group sync.WaitGroup
	number := 0
	for _, w := range workloads {
		for range w.Threads() {
			t := newThread(env, number)
			number++
			group.Go(func() {
				if t.pause(ctx) {
					w.Run(ctx, t)
				}
			})
		}
	}
	group.Wait()
}

// Thread is one logical client. It is used by one goroutine.
type Thread struct {
	*Environment
	number int
	door   *Door
	rand   *rand.Rand
	// process is of the door that the thread uses now.
	process *history.Process
}

func newThread(env *Environment, number int) *Thread {
	t := &Thread{Environment: env, number: number, rand: rand.New(rand.NewPCG(env.Seed, uint64(number)))}
	doors := env.Doors()
	t.enter(doors[number%len(doors)])
	return t
}

// enter goes on through another door, as another process.
func (t *Thread) enter(door *Door) {
	if t.door != door {
		t.door, t.process = door, t.Recorder.NewProcess(door.Name)
	}
}

// stay goes on through the same door, or any if that was closed.
func (t *Thread) stay() {
	if !slices.Contains(t.Doors(), t.door) {
		t.enterAny(anyDoor)
	}
}

// enterAny goes on through a door that is chosen at random among those that may.
func (t *Thread) enterAny(may func(*Door) bool) {
	var doors []*Door
	for _, door := range t.Doors() {
		if may(door) {
			doors = append(doors, door)
		}
	}
	t.enter(doors[t.rand.IntN(len(doors))])
}

// pause waits between two operations, and reports whether there is to be another.
func (t *Thread) pause(ctx context.Context) bool {
	// Between half the mean and half as much again, so that threads do not fall into step.
	d := t.Pause/2 + time.Duration(t.rand.Int64N(int64(t.Pause)+1))
	select {
	case <-time.After(d):
	case <-t.Stop:
	case <-ctx.Done():
	}
	if speech := t.hushed(); speech != nil {
		select {
		case <-speech:
		case <-t.Stop:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil && !t.Stopped()
}

// end records the end of an operation.
func (t *Thread) end(op *history.Operation) {
	t.process.End(op)
	t.Tally.count(op)
}

// chance is true with the probability.
func (t *Thread) chance(probability float64) bool { return t.rand.Float64() < probability }
