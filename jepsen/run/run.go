//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"

	"tidemark/client"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/workload"
)

// run is one run under way.
type run struct {
	Options
	host     *host.Host
	operator *client.Client

	// mu guards what follows.
	mu      sync.Mutex
	clients []*client.Client
	conns   []*grpc.ClientConn
	// free are the doors that lead anywhere, doors those to each node that there ever
	// was, and everyNode the ids of those in the order in which they came.
	free      []*workload.Door
	doors     map[string]*workload.Door
	everyNode []string
	recorder  *history.Recorder
	nemeses   []nemesis.Nemesis
	env       *workload.Environment
	logs      *logs
	watch     *watch
	// troubles are what the run itself found wrong, beside what checkers find.
	troubles troubles
}

// Run does a run, and judges it. An error says that there is no verdict: the
// cluster could not be formed, or ctx ended.
func Run(ctx context.Context, options Options) (_ *Result, err error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if err := options.validate(); err != nil {
		return nil, err
	}
	release, err := takeFolder(options.Out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	r := &run{Options: options, doors: map[string]*workload.Door{}}
	h, err := r.lead(ctx)
	if h != nil {
		// Also of a run that was interrupted: it may show why.
		err = errors.Join(err, history.Write(r.path("history.jsonl.gz"), h))
	}
	if err != nil {
		return nil, err
	}
	return r.judge(h)
}

func (r *run) path(name string) string { return filepath.Join(r.Out, name) }

// lead does everything for which the cluster must be there, and leaves nothing of it.
// The history comes also beside an error, if there is any.
func (r *run) lead(ctx context.Context) (h *history.History, err error) {
	defer func() { err = errors.Join(err, r.leave()) }()
	if err := r.form(ctx); err != nil {
		return nil, fmt.Errorf("form: %w", err)
	}
	err = r.live(ctx)
	return r.recorder.History(), err
}

// live is the cluster's life from the first operation to the last.
func (r *run) live(ctx context.Context) error {
	sampling, stopSampling := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stopSampling()
	group.Go(func() { r.sample(sampling) })
	group.Go(func() { r.watch.run(sampling) })

	workloads, err := workload.Named(r.Workloads...)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	r.env.Stop = stop
	r.env.Pause = pauseFor(r.Rate, workloads)
	r.watch.enter(Loading)
	var clients sync.WaitGroup
	clients.Go(func() { workload.Run(ctx, r.env, workloads) })

	if err := r.harm(ctx); err != nil {
		close(stop)
		clients.Wait()
		return err
	}
	r.watch.enter(Healing)
	r.healAll(ctx)
	sleep(ctx, r.Tail)
	close(stop)
	clients.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	r.watch.enter(Reading)
	if err := r.readBack(ctx); err != nil {
		return err
	}
	// The last logs are read when no node runs any more.
	r.troubles.note("not-stopped", "cluster", r.host.Stop())
	return ctx.Err()
}

// pauseFor is the pause between two operations of a thread with which all threads
// together begin rate operations a second, if each took no time.
func pauseFor(rate int, workloads []workload.Workload) time.Duration {
	threads := 0
	for _, w := range workloads {
		threads += w.Threads()
	}
	return time.Duration(threads) * time.Second / time.Duration(rate)
}

// harm lets the nemeses work. An error says that they could not do what they were to.
func (r *run) harm(ctx context.Context) error {
	if r.Trials > 0 {
		r.try(ctx)
		return nil
	}
	within, cancel := context.WithTimeout(ctx, r.Duration)
	defer cancel()
	if len(r.nemeses) == 0 {
		<-within.Done()
		return nil
	}
	schedule := nemesis.Schedule{
		Cluster: r.host, Operator: r.operator, Clients: r.env, Nemeses: r.nemeses, Seed: r.Seed,
		Rounds: r.Rounds, Calm: r.Calm, Hold: r.Hold, Now: r.recorder.Now,
		Begun: r.faultBegun, Ended: r.faultEnded,
	}
	// What could not be healed is healed again later, when all harm has ended.
	err := schedule.Run(within)
	if err != nil {
		r.Logger.Warn("some faults were not injected or not healed at once", "error", err)
	}
	if r.Rounds > 0 && ctx.Err() == nil {
		if within.Err() != nil {
			return fmt.Errorf("%d rounds took longer than --duration %v", r.Rounds, r.Duration)
		}
		return err
	}
	return nil
}

func (r *run) faultBegun(f history.Fault) {
	r.Logger.Info("fault", "name", f.Name, "target", f.Target, "detail", f.Detail, "at", f.From)
	r.watch.begun(f)
}

func (r *run) faultEnded(f history.Fault) {
	r.Logger.Info("fault healed", "name", f.Name, "target", f.Target, "detail", f.Detail, "from", f.From, "to", f.To)
	r.watch.ended(f)
	r.recorder.Fault(f)
}

// recoverTimeout is how long the nodes may take to serve again when all is healed.
const recoverTimeout = 60 * time.Second

// healAll undoes everything that nemeses may have left, and waits until all nodes serve.
func (r *run) healAll(ctx context.Context) {
	r.troubles.note("not-healed", "links", r.host.Heal())
	for _, n := range r.host.Nodes() {
		if control, ok := n.Disk().(interface{ Heal() }); ok {
			control.Heal()
		}
		r.troubles.note("not-healed", string(n.ID()), n.Resume())
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	for _, n := range r.host.Nodes() {
		err := r.revive(ctx, n)
		if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
			r.troubles.note("not-recovered", string(n.ID()), err)
		}
	}
}

// revive starts a node if it does not run, and waits until it serves. One that ends
// meanwhile, for what was done to its disk, is started once more.
func (r *run) revive(ctx context.Context, n host.Node) error {
	for attempt := 0; ; attempt++ {
		if !n.Running() {
			if err := n.Start(); err != nil && !n.Running() {
				return err
			}
		}
		err := n.WaitReady(ctx)
		if err == nil || attempt > 0 || n.Running() || ctx.Err() != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
