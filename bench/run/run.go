package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/bench/process"
	"tidemark/bench/result"
	"tidemark/bench/system"
	"tidemark/internal/load"
)

// Step is one system's work in one round. For each, the system is started with no data,
// and no other one runs.
type Step struct {
	Round  int
	Work   system.Work
	System system.System
}

// Schedule has all works in each round, and for each work the systems that do it in turn.
func Schedule(works []system.Work, systems []system.System, rounds int) []Step {
	var steps []Step
	for round := 1; round <= rounds; round++ {
		for _, work := range works {
			for _, s := range systems {
				if len(s.Describe().Ways[work.Kind]) > 0 {
					steps = append(steps, Step{round, work, s})
				}
			}
		}
	}
	return steps
}

// Runner measures.
type Runner struct {
	// Data is a directory on the disk to be measured.
	Data string
	// Report gets the runs. It is saved with Save after each step.
	Report *result.Report
	Save   func(*result.Report) error
	// Progress is told what is done.
	Progress func(string)
}

// Run does the steps that the report does not have. It ends with the first error that is not
// about the system under measurement, such as that of ctx.
func (r *Runner) Run(ctx context.Context, steps []Step) error {
	for i, step := range steps {
		name := step.System.Describe().Name
		if r.Report.Done(step.Round, step.Work.Name, name) {
			continue
		}
		runs := r.step(ctx, step)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, run := range runs {
			r.Progress(fmt.Sprintf("%d of %d: round %d, %s, %s", i+1, len(steps), run.Round, run.Work, summary(&run)))
		}
		r.Report.Runs = append(r.Report.Runs, runs...)
		if err := r.Save(r.Report); err != nil {
			return err
		}
	}
	return nil
}

func summary(run *result.Run) string {
	if run.Failed != "" {
		return fmt.Sprintf("%s, %s: %s", run.System, run.Way, run.Failed)
	}
	latency := ""
	if run.Latency.Count > 0 {
		latency = fmt.Sprintf("p50 %v, p99 %v, ", run.Latency.P50, run.Latency.P99)
	}
	return fmt.Sprintf("%s, %s: %.0f messages/s, %s%v of processors, %d MiB, %.0f bytes written",
		run.System, run.Way, run.Messages, latency, run.Processor, run.Memory>>20, run.Written)
}

// startTimeout bounds starting a system and filling its timelines.
const startTimeout = 2 * time.Minute

// step measures all ways of a system to do a work. If the system does not come up, all ways
// have failed.
func (r *Runner) step(ctx context.Context, step Step) []result.Run {
	d := step.System.Describe()
	var runs []result.Run
	for _, way := range d.Ways[step.Work.Kind] {
		runs = append(runs, result.Run{Round: step.Round, Work: step.Work.Name, System: d.Name, Way: way, Begun: time.Now()})
	}
	fail := func(err error) {
		for i := range runs {
			runs[i] = failed(&runs[i], err)
		}
	}
	// What was measured is measured, also if something is left behind.
	tidy := func(err error) {
		if err != nil {
			r.Progress(fmt.Sprintf("after %s of %s: %v", step.Work.Name, d.Name, err))
		}
	}
	dir, err := os.MkdirTemp(r.Data, d.Name+"-")
	if err != nil {
		fail(err)
		return runs
	}
	defer func() { tidy(os.RemoveAll(dir)) }()
	if err := r.settle(dir); err != nil {
		fail(err)
		return runs
	}
	cluster, err := r.start(ctx, step, dir)
	if err != nil {
		fail(err)
		return runs
	}
	defer func() { tidy(cluster.Stop()) }()
	for i := range runs {
		r.measure(ctx, step.Work, cluster, &runs[i])
	}
	return runs
}

// settle makes the directory one that the user of a server may enter, and waits until what
// earlier runs wrote is on the disk, so that it does not get in the way.
func (r *Runner) settle(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	disk, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	return unix.Syncfs(int(disk.Fd()))
}

func (r *Runner) start(ctx context.Context, step Step, dir string) (system.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cluster, err := step.System.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	if step.Work.Kind.NeedsBacklog() {
		err := cluster.Fill(ctx)
		if err == nil {
			err = rest(ctx, cluster)
		}
		if err != nil {
			return nil, errors.Join(err, cluster.Stop())
		}
	}
	return cluster, nil
}

const (
	// restInterval is how often servers are asked whether they rest, which they do if they
	// use less than restShare of a processor; restTimeout is how long they have.
	restInterval = 500 * time.Millisecond
	restShare    = 0.1
	restTimeout  = 15 * time.Second
)

// rest waits until the servers have done what filling the timelines left them to do, such as
// compactions, as far as that comes to an end.
func rest(ctx context.Context, cluster system.Cluster) error {
	before, err := process.ReadUsage(cluster.PIDs())
	for deadline := time.Now().Add(restTimeout); err == nil && time.Now().Before(deadline); {
		if err = load.SleepUntil(ctx, time.Now().Add(restInterval)); err != nil {
			return err
		}
		var now process.Usage
		if now, err = process.ReadUsage(cluster.PIDs()); now.Since(before).Processor.Seconds() < restShare*restInterval.Seconds() {
			break
		}
		before = now
	}
	return err
}

// patience is how much longer than planned a run may take before its calls are ended.
const patience = 30 * time.Second

// measure fills in the run.
func (r *Runner) measure(ctx context.Context, work system.Work, cluster system.Cluster, run *result.Run) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Report.Warmup+r.Report.Duration+patience, errors.New("calls that were begun did not end"))
	defer cancel()
	driver, err := cluster.Open(ctx, work.Kind, run.Way, work.Callers)
	if err != nil {
		*run = failed(run, err)
		return
	}
	defer driver.Close()
	runtime.GC() // of what filling the timelines and the run before have left
	run.Begun = time.Now()
	if work.Kind == system.Tail {
		err = r.catchUp(ctx, driver, cluster, run)
	} else {
		err = r.load(ctx, work, driver, cluster, run)
	}
	if err == nil {
		run.Memory, err = process.LargestMemory(cluster.PIDs())
	}
	if err != nil {
		*run = failed(run, err)
	}
}

// load makes calls in a closed loop.
func (r *Runner) load(ctx context.Context, work system.Work, driver *system.Driver, cluster system.Cluster, run *result.Run) error {
	var before, after process.Usage
	sample := func(u *process.Usage) func() error {
		return func() (err error) {
			*u, err = process.ReadUsage(cluster.PIDs())
			return err
		}
	}
	l := load.Load{Callers: work.Callers, Warmup: r.Report.Warmup, Duration: r.Report.Duration}
	measured, err := l.Run(ctx, driver.Call, sample(&before), sample(&after))
	if err != nil {
		return err
	}
	each := 1
	if work.Kind == system.Read {
		each = system.Page
	}
	run.Messages, run.Latency = measured.PerSecond*float64(each), measured.Latency
	use(run, after.Since(before), measured.Calls*int64(each))
	return nil
}

// catchUp catches up once to warm up, and then as often as the duration takes.
func (r *Runner) catchUp(ctx context.Context, driver *system.Driver, cluster system.Cluster, run *result.Run) error {
	if err := driver.CatchUp(ctx); err != nil {
		return err
	}
	before, err := process.ReadUsage(cluster.PIDs())
	if err != nil {
		return err
	}
	messages, start := int64(0), time.Now()
	for time.Since(start) < r.Report.Duration {
		if err := driver.CatchUp(ctx); err != nil {
			return err
		}
		messages += system.Timelines * system.Backlog
	}
	took := time.Since(start)
	after, err := process.ReadUsage(cluster.PIDs())
	if err != nil {
		return err
	}
	run.Messages = float64(messages) / took.Seconds()
	use(run, after.Since(before), messages)
	return nil
}

// use fills in what the servers used.
func use(run *result.Run, used process.Usage, messages int64) {
	run.Processor = used.Processor / time.Duration(messages)
	run.Written = float64(used.Written) / float64(messages)
}

// failed is the run without figures.
func failed(run *result.Run, err error) result.Run {
	f := result.Run{Round: run.Round, Work: run.Work, System: run.System, Way: run.Way, Begun: run.Begun, Failed: err.Error()}
	if calls := (*load.FailedError)(nil); errors.As(err, &calls) {
		f.FailedShare = float64(calls.Failed) / float64(calls.Calls)
	}
	return f
}
