//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tidemark/jepsen/history"
	"tidemark/jepsen/nemesis"
)

const (
	// settleTimeout is how long a trial waits for a calm cluster before it begins, and
	// successorTimeout how long for another leader before it ends.
	settleTimeout    = 2 * time.Minute
	successorTimeout = time.Minute
	// phaseTime is the longest that a calm cluster is left alone, so that the harm comes
	// at any time between two heartbeats.
	phaseTime = time.Second
	// holdTime is how long a fault stays after appends flow again.
	holdTime = time.Second
	// flowing is how many acknowledgements show that appends flow.
	flowing = 100
	// injectAttempts is how often a harm is tried for which there was no leader.
	injectAttempts = 5
	// askInterval is how often the cluster is asked how it is.
	askInterval = 20 * time.Millisecond
)

// try makes the trials: each round has one of each nemesis, so that a slow hour of
// the machine falls on all of them alike.
func (r *run) try(ctx context.Context) {
	w := &nemesis.World{Cluster: r.host, Operator: r.operator, Rand: rand.New(rand.NewPCG(r.Seed, 1<<33))}
	for range r.Trials {
		for _, n := range r.nemeses {
			if err := r.trial(ctx, w, n); err != nil {
				r.troubles.note("failover-time", n.Name(), err)
				return
			}
		}
	}
}

// trial takes the leader of a calm cluster away, and lets it come back when another
// one serves. Only an error that makes further trials useless is returned.
func (r *run) trial(ctx context.Context, w *nemesis.World, n nemesis.Nemesis) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	sleep(ctx, time.Duration(w.Rand.Int64N(int64(phaseTime))))
	fault := history.Fault{Name: n.Name(), To: history.NeverHealed}
	var harm nemesis.Harm
	var err error
	for range injectAttempts {
		fault.From = r.recorder.Now()
		if harm, err = n.Inject(ctx, w); err == nil || harm.Heal != nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("inject: %w", err)
		if harm.Heal != nil {
			err = errors.Join(err, harm.Heal())
		}
		return err
	}
	fault.Target, fault.Detail = harm.Target, harm.Detail
	r.faultBegun(fault)
	if r.awaitSuccessor(ctx, harm.Target) {
		sleep(ctx, holdTime)
	}
	healed := harm.Heal()
	fault.To = r.recorder.Now()
	r.faultEnded(fault)
	return healed
}

// settle waits until all nodes serve, have applied what the leader had committed, and
// appends flow.
func (r *run) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for _, n := range r.host.Nodes() {
		if err := r.revive(ctx, n); err != nil {
			return fmt.Errorf("before a trial: %w", err)
		}
	}
	if !r.await(ctx, func() bool { return r.caughtUp(ctx) }) || !r.awaitFlow(ctx) {
		return fmt.Errorf("the cluster did not become calm before a trial: %w", ctx.Err())
	}
	return nil
}

// caughtUp reports whether every node has applied all that the leader had committed
// when it was asked.
func (r *run) caughtUp(ctx context.Context) bool {
	leader, ok := r.host.Leader(ctx)
	if !ok {
		return false
	}
	stats, err := leader.Stats(ctx)
	if err != nil {
		return false
	}
	for _, n := range r.host.Nodes() {
		other, err := n.Stats(ctx)
		if err != nil || other.Term != stats.Term || other.AppliedIndex < stats.CommitIndex {
			return false
		}
	}
	return true
}

// awaitSuccessor waits until another node than the victim leads, and appends flow.
func (r *run) awaitSuccessor(ctx context.Context, victim string) bool {
	ctx, cancel := context.WithTimeout(ctx, successorTimeout)
	defer cancel()
	return r.await(ctx, func() bool {
		leader, ok := r.host.Leader(ctx)
		return ok && string(leader.ID()) != victim
	}) && r.awaitFlow(ctx)
}

func (r *run) awaitFlow(ctx context.Context) bool {
	from := r.env.Tally.Acknowledged.Load()
	return r.await(ctx, func() bool { return r.env.Tally.Acknowledged.Load() >= from+flowing })
}

// await asks until the answer is yes, or ctx ends.
func (r *run) await(ctx context.Context, yes func() bool) bool {
	for !yes() {
		if sleep(ctx, askInterval); ctx.Err() != nil {
			return false
		}
	}
	return true
}
