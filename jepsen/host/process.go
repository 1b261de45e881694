//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one start of a node.
type process struct {
	cmd *exec.Cmd
	// exited is closed when the process has ended; exit is complete then. Before,
	// only its LogPath may be read.
	exited chan struct{}
	exit   Exit
	// What follows is guarded by the node's mu.
	asked, paused, inspected bool
}

func (n *node) Start() error {
	n.starting.Lock()
	defer n.starting.Unlock()
	n.inspect()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.retired {
		return fmt.Errorf("node %s was removed", n.id)
	}
	if n.runningLocked() != nil {
		return fmt.Errorf("node %s runs already", n.id)
	}
	path := filepath.Join(n.dir, fmt.Sprintf("start-%d.log", len(n.logs)+1))
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.binary, n.commandLine()...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(n.environment(), "TIDEMARK_CLOCK_OFFSET_FILE="+n.clockFile())
	p := &process{cmd: cmd, exited: make(chan struct{}), exit: Exit{Started: time.Now(), LogPath: path}}
	if err := n.host.network.start(n.id, cmd); err != nil {
		return fmt.Errorf("start node %s: %w", n.id, err)
	}
	n.process = p
	n.logs = append(n.logs, path)
	go n.wait(p)
	return nil
}

// environment is that of the node's program. mu is held.
func (n *node) environment() []string {
	return append(append(os.Environ(), n.host.options.Env...), n.env...)
}

func (n *node) commandLine() []string {
	a := n.addresses
	args := []string{
		"serve", "--node-id", string(n.id), "--data-dir", n.dataDir,
		"--listen", a.listen, "--advertise", a.advertise,
		"--raft-listen", a.raftListen, "--raft-advertise", a.raftAdvertise,
		"--http-listen", a.http,
	}
	return append(append(args, n.found...), n.args...)
}

// wait notes the end of a process.
func (n *node) wait(p *process) {
	// The outcome is in cmd.ProcessState.
	_ = p.cmd.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	p.exit.Ended = time.Now()
	p.exit.Status = p.cmd.ProcessState.ExitCode()
	p.exit.Asked = p.asked
	n.exits = append(n.exits, p.exit)
	close(p.exited)
}

// running returns the process, or nil if none runs.
func (n *node) running() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runningLocked()
}

func (n *node) runningLocked() *process {
	if n.process == nil {
		return nil
	}
	select {
	case <-n.process.exited:
		return nil
	default:
		return n.process
	}
}

func (n *node) Running() bool { return n.running() != nil }

func (n *node) Paused() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.runningLocked()
	return p != nil && p.paused
}

func (n *node) PID() int {
	if p := n.running(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// signal sends a signal to the process, which it returns, or nil if none runs.
// note is called first, under the lock.
func (n *node) signal(signal syscall.Signal, note func(*process)) (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.runningLocked()
	if p == nil {
		return nil, nil
	}
	note(p)
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return p, fmt.Errorf("signal node %s: %w", n.id, err)
	}
	return p, nil
}

func (n *node) Kill() error { return kill(n) }

// killPatience is how long a process may take to die of SIGKILL. Only one that
// hangs in a call of its disk takes longer.
const killPatience = 10 * time.Second

// kill sends SIGKILL to all before it waits for any of them.
func kill(nodes ...*node) error {
	var errs []error
	processes := make([]*process, len(nodes))
	for i, n := range nodes {
		var err error
		processes[i], err = n.signal(syscall.SIGKILL, func(p *process) { p.asked = true })
		errs = append(errs, err)
	}
	deadline := time.NewTimer(killPatience)
	defer deadline.Stop()
	for i, p := range processes {
		if p == nil {
			continue
		}
		select {
		case <-p.exited:
		case <-deadline.C:
			return errors.Join(append(errs, fmt.Errorf("node %s did not end %v after SIGKILL; does it hang in a call of its disk?", nodes[i].id, killPatience))...)
		}
	}
	return errors.Join(errs...)
}

func (n *node) Terminate(ctx context.Context) error {
	p, err := n.signal(syscall.SIGTERM, func(p *process) { p.asked = true })
	if p == nil || err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("node %s did not stop: %w; see %s", n.id, ctx.Err(), p.exit.LogPath), n.Kill())
	}
	if p.exit.Status != 0 {
		return fmt.Errorf("node %s ended with exit status %d; see %s", n.id, p.exit.Status, p.exit.LogPath)
	}
	return nil
}

// pausePatience is how long Pause waits. A thread that is in a call of a disk that
// hangs stands still as well, and stops for the signal when the call returns.
const pausePatience = 2 * time.Second

func (n *node) Pause() error {
	p, err := n.signal(syscall.SIGSTOP, func(p *process) { p.paused = true })
	if p == nil || err != nil {
		return err
	}
	for begin := time.Now(); time.Since(begin) < pausePatience && !stopped(p.cmd.Process.Pid); {
		select {
		case <-p.exited:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (n *node) Resume() error {
	_, err := n.signal(syscall.SIGCONT, func(p *process) { p.paused = false })
	return err
}

// stopped reports whether all threads of a process are stopped, or gone.
func stopped(pid int) bool {
	states, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	if err != nil {
		return false
	}
	for _, path := range states {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// PID (NAME) STATE …, and the name may hold anything.
		_, state, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		if !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}
