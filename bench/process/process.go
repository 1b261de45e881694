package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Command says what to run.
type Command struct {
	// Name is what errors call it.
	Name string
	Path string
	Args []string
	// Log gets its standard output and standard error.
	Log string
	// As is whom it runs as; nil for the runner's own user.
	As *syscall.Credential
	// Death is the signal that it gets when the runner is gone; SIGKILL if 0.
	Death syscall.Signal
}

// Process is a server that was started.
type Process struct {
	name, log string
	cmd       *exec.Cmd
	exited    chan struct{}
}

// Start starts the process and does not wait until it serves.
func Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if c.Death == 0 {
		c.Death = syscall.SIGKILL
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches the runner alone, which stops it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: c.Death, Credential: c.As}
	if err := startBound(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, log: c.Log, cmd: cmd, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the outcome is in cmd.ProcessState
		close(p.exited)
	}()
	return p, nil
}

var starts = sync.OnceValue(func() chan<- func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request()
		}
	}()
	return requests
})

// startBound starts the command from a thread that lives as long as the runner: Linux
// ties the signal at the parent's death to the thread that forked.
func startBound(cmd *exec.Cmd) error {
	result := make(chan error)
	starts() <- func() { result <- cmd.Start() }
	return <-result
}

// Run runs a command that ends by itself, as another user if that is not nil, and returns
// what it wrote if it fails.
func Run(ctx context.Context, as *syscall.Credential, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", path, err, out)
	}
	return nil
}

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// pollInterval is how often a server is asked whether it serves.
const pollInterval = 20 * time.Millisecond

// WaitReady asks ready until it returns nil. It fails when the process or ctx ends.
func (p *Process) WaitReady(ctx context.Context, ready func(context.Context) error) error {
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended with %v; the end of its log:\n%s", p.name, p.cmd.ProcessState, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; the end of its log:\n%s", p.name, last, tail(p.log))
		case <-time.After(pollInterval):
		}
	}
}

// tail is the end of a log.
func tail(path string) string {
	const most = 2000
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// stopTimeout is how long a process has to end by itself. What it wrote is thrown away, so
// being killed does no harm.
const stopTimeout = 10 * time.Second

// stop sends the signal and waits until the process has ended, by force at last. What it
// leaves behind in its group is killed.
func (p *Process) stop(signal syscall.Signal) error {
	defer func() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) }()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}

// Group is the processes of one cluster.
type Group []*Process

// Start starts one more.
func (g *Group) Start(c Command) (*Process, error) {
	p, err := Start(c)
	if err == nil {
		*g = append(*g, p)
	}
	return p, err
}

// PIDs are the ids of all.
func (g Group) PIDs() []int {
	pids := make([]int, len(g))
	for i, p := range g {
		pids[i] = p.PID()
	}
	return pids
}

// Stop sends all of them the signal and waits until they have ended.
func (g Group) Stop(signal syscall.Signal) error {
	errs := make([]error, len(g))
	var stopping sync.WaitGroup
	for i, p := range g {
		stopping.Go(func() { errs[i] = p.stop(signal) })
	}
	stopping.Wait()
	return errors.Join(errs...)
}
