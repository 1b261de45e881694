package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Node is one member's identity, addresses and, while it runs, process. Its
// methods are for one goroutine at a time.
type Node struct {
	ID string
	// DataDir holds its data, and LogPath what it wrote to standard output and
	// standard error, over all starts.
	DataDir, LogPath string
	// Listen, RaftListen and HTTPListen are its HOST:PORTs for clients, peers and operators.
	Listen, RaftListen, HTTPListen string
	// Args follow the arguments that every node gets. They may be changed between starts.
	Args []string

	binary string
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts the process, and returns without waiting for it to be ready.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("node %s runs already", n.ID)
	}
	if err := os.MkdirAll(filepath.Dir(n.LogPath), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(n.LogPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{
		"serve", "--node-id", n.ID, "--data-dir", n.DataDir,
		"--listen", n.Listen, "--raft-listen", n.RaftListen, "--http-listen", n.HTTPListen,
	}, n.Args...)
	n.cmd = exec.Command(n.binary, args...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := startBound(n.cmd); err != nil {
		n.cmd = nil
		return fmt.Errorf("start node %s: %w", n.ID, err)
	}
	exited := make(chan struct{})
	n.exited = exited
	go func(cmd *exec.Cmd) {
		// The outcome is in cmd.ProcessState.
		_ = cmd.Wait()
		close(exited)
	}(n.cmd)
	return nil
}

// Running reports whether the process was started and has not ended.
func (n *Node) Running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// PID is the id of the process, or 0 if it never ran.
func (n *Node) PID() int {
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// Exited is closed when the process of the last start has ended.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Wait waits until the process has ended and returns its exit status, which is
// -1 if a signal ended it.
func (n *Node) Wait(ctx context.Context) (int, error) {
	if n.cmd == nil {
		return 0, fmt.Errorf("node %s was not started", n.ID)
	}
	select {
	case <-n.exited:
		return n.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("node %s did not end: %w", n.ID, ctx.Err())
	}
}

// Kill sends SIGKILL and waits until the process has ended. It is a no-op if it does not run.
func (n *Node) Kill() error {
	if err := n.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	if n.cmd != nil {
		<-n.exited
	}
	return nil
}

// Signal sends a signal to the process if it runs.
func (n *Node) Signal(signal os.Signal) error {
	if !n.Running() {
		return nil
	}
	if err := n.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal node %s: %w", n.ID, err)
	}
	return nil
}

// Stop sends SIGTERM and waits until the process has ended, or kills it when ctx is done.
func (n *Node) Stop(ctx context.Context) error {
	if !n.Running() {
		return nil
	}
	if err := n.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	status, err := n.Wait(ctx)
	if err != nil {
		return errors.Join(err, n.Kill())
	}
	if status != 0 {
		return fmt.Errorf("node %s ended with exit status %d; see %s", n.ID, status, n.LogPath)
	}
	return nil
}

// pollInterval is how often something that has no signal of its own is asked.
const pollInterval = 20 * time.Millisecond

// WaitReady waits until the node says that it serves. It fails when the process ends.
func (n *Node) WaitReady(ctx context.Context) error {
	for {
		last := n.ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-n.exited:
			return fmt.Errorf("node %s ended with exit status %d; see %s", n.ID, n.cmd.ProcessState.ExitCode(), n.LogPath)
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %w; see %s", n.ID, last, n.LogPath)
		case <-time.After(pollInterval):
		}
	}
}

func (n *Node) ready(ctx context.Context) error {
	status, body, err := n.HTTPGet(ctx, "/readyz")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return errors.New(strings.TrimSpace(body))
	}
	return nil
}

// HTTPGet asks the node's HTTP port, and returns the status and the body.
func (n *Node) HTTPGet(ctx context.Context, path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTPListen+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// Log returns what the process wrote so far.
func (n *Node) Log() string {
	text, err := os.ReadFile(n.LogPath)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
