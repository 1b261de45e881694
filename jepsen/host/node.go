//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// node is a Node: its identity and settings. What it runs is in process.go.
type node struct {
	host      *Host
	id        NodeID
	addresses addresses
	// dir gets the logs, and the data if dataDir is not on a disk of its own.
	dir, dataDir string
	disk         Disk
	// found are the arguments by which it finds the others when it has no data.
	found []string

	// starting is held while a process is started and while what one left is inspected.
	// It comes before mu.
	starting sync.Mutex
	// mu guards what follows.
	mu     sync.Mutex
	binary string
	args   []string
	env    []string
	// process is the last one that was started, or nil.
	process *process
	logs    []string
	exits   []Exit
	// retired says that it was removed, or the host closed.
	retired bool
}

func (n *node) ID() NodeID          { return n.id }
func (n *node) Endpoint() string    { return n.addresses.advertise }
func (n *node) RaftAddress() string { return n.addresses.raftAdvertise }
func (n *node) DataDir() string     { return n.dataDir }
func (n *node) Disk() Disk          { return n.disk }

func (n *node) LogPaths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.logs)
}

func (n *node) Exits() []Exit {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.exits)
}

func (n *node) SetBinary(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.binary = path
}

func (n *node) Outdated() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host.options.OldBinary != "" && n.binary == n.host.options.OldBinary
}

func (n *node) Upgrade() { n.SetBinary(n.host.options.Binary) }

func (n *node) SetArgs(args ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.args = slices.Clone(args)
}

func (n *node) SetEnv(env ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.env = slices.Clone(env)
}

// clockFile holds the offset of the node's clock. It is not on the node's disk, which
// may be made to fail.
func (n *node) clockFile() string { return filepath.Join(n.dir, "clock-offset") }

func (n *node) SetClock(offset time.Duration) error {
	// By a rename, so that it is never read half written.
	next := n.clockFile() + ".next"
	if err := os.WriteFile(next, []byte(offset.String()+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(next, n.clockFile())
}

// retire keeps the node from being started again.
func (n *node) retire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.retired = true
}

// inspect lets Options.Inspect see what the last process left, if it has ended and was
// not seen. The caller holds starting.
func (n *node) inspect() {
	n.mu.Lock()
	p := n.process
	fresh := p != nil && n.runningLocked() == nil && !p.inspected
	if fresh {
		p.inspected = true
	}
	n.mu.Unlock()
	if fresh && n.host.options.Inspect != nil {
		n.host.options.Inspect(n)
	}
}

// closeDisk closes the disk, if there is one. The node does not run.
func (n *node) closeDisk() error {
	if n.disk == nil {
		return nil
	}
	if err := n.disk.Close(); err != nil {
		return fmt.Errorf("disk of %s: %w", n.id, err)
	}
	return nil
}

// pollInterval is how often something that has no signal of its own is asked.
const pollInterval = 20 * time.Millisecond

func (n *node) WaitReady(ctx context.Context) error {
	n.mu.Lock()
	p := n.process
	n.mu.Unlock()
	if p == nil {
		return fmt.Errorf("node %s was not started", n.id)
	}
	for {
		last := n.ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("node %s ended with exit status %d; see %s", n.id, p.exit.Status, p.exit.LogPath)
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %w (%w); see %s", n.id, last, ctx.Err(), p.exit.LogPath)
		case <-time.After(pollInterval):
		}
	}
}

func (n *node) ready(ctx context.Context) error {
	status, body, err := n.get(ctx, "/readyz", 1<<10)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return errors.New(strings.TrimSpace(string(body)))
	}
	return nil
}

// getTimeout bounds one question to a node's HTTP port.
const getTimeout = 2 * time.Second

// get asks the node's HTTP port, and returns the status and the first limit bytes.
func (n *node) get(ctx context.Context, path string, limit int64) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.addresses.http+path, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := n.host.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit))
	return response.StatusCode, body, err
}
