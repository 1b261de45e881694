//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tidemark/client"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
)

// Schedule says how often and for how long. Times are chosen between half and one
// and a half times the mean.
type Schedule struct {
	Cluster  host.Cluster
	Operator *client.Client
	Clients  Clients
	Nemeses  []Nemesis
	Seed     uint64
	// Rounds is how often each nemesis has its turn. 0 goes on until ctx ends.
	Rounds int
	// Calm is the mean time between two faults of a lane, Hold that until one is healed.
	Calm, Hold time.Duration
	// Now is the time since the run began.
	Now func() time.Duration
	// Begun is told of each fault when it was injected, Ended when it was healed. They
	// are called by several goroutines.
	Begun, Ended func(history.Fault)
}

// Run injects and heals until ctx ends or all rounds are done, heals what is left,
// and returns what could not be healed. If there are Rounds, it also returns what
// could not be injected.
func (s *Schedule) Run(ctx context.Context) error {
	var lanes []Lane
	for _, n := range s.Nemeses {
		if !slices.Contains(lanes, n.Lane()) {
			lanes = append(lanes, n.Lane())
		}
	}
	errs := make([]error, len(lanes))
	var group sync.WaitGroup
	for i, lane := range lanes {
		group.Go(func() { errs[i] = s.runLane(ctx, lane, uint64(i)) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// runLane plays the nemeses of one lane: all of them once in a random order, then
// all of them again, so that each of them gets its turn in a short run.
func (s *Schedule) runLane(ctx context.Context, lane Lane, number uint64) error {
	w := &World{Cluster: s.Cluster, Operator: s.Operator, Clients: s.Clients, Rand: rand.New(rand.NewPCG(s.Seed, 1<<32+number))}
	var nemeses []Nemesis
	for _, n := range s.Nemeses {
		if n.Lane() == lane {
			nemeses = append(nemeses, n)
		}
	}
	var errs []error
	for round := 0; s.Rounds == 0 || round < s.Rounds; round++ {
		for _, i := range w.Rand.Perm(len(nemeses)) {
			if !wait(ctx, around(w, s.Calm)) {
				return errors.Join(errs...)
			}
			hold := around(w, s.Hold)
			if err := s.once(ctx, w, nemeses[i], hold); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func around(w *World, mean time.Duration) time.Duration { return between(w, mean/2, mean*3/2) }

// once injects one fault, waits, and heals it. Injecting may fail, as when there is
// no leader to harm; that healing fails is an error.
func (s *Schedule) once(ctx context.Context, w *World, n Nemesis, hold time.Duration) error {
	fault := history.Fault{Name: n.Name(), From: s.Now(), To: history.NeverHealed}
	harm, err := n.Inject(ctx, w)
	if errors.Is(err, errNothingToDo) {
		return nil
	}
	fault.Target, fault.Detail = harm.Target, harm.Detail
	if err != nil {
		fault.Detail = fmt.Sprintf("%s (%v)", fault.Detail, err)
	}
	s.Begun(fault)
	if err == nil && harm.Heal != nil {
		wait(ctx, hold)
	}
	var failed error
	if harm.Heal != nil {
		failed = harm.Heal()
	}
	if harm.Outcome != nil {
		fault.Detail = fmt.Sprintf("%s; %s", fault.Detail, *harm.Outcome)
	}
	if fault.To = s.Now(); failed != nil {
		fault.Detail = fmt.Sprintf("%s; not healed: %v", fault.Detail, failed)
		failed = fmt.Errorf("heal %s of %s: %w", fault.Name, fault.Target, failed)
	}
	s.Ended(fault)
	if s.Rounds > 0 && err != nil {
		failed = errors.Join(failed, fmt.Errorf("inject %s: %w", fault.Name, err))
	}
	return failed
}
