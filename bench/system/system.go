package system

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotInstalled is returned by Prepare when a server is not there and not built from
// source here.
var ErrNotInstalled = errors.New("not installed")

// Description is what the report says of a system.
type Description struct {
	// Name is that of --systems, and Title what tables call it.
	Name  string
	Title string
	// Ours says that it is Tidemark, and Ceiling that it is what Tidemark cannot exceed.
	Ours, Ceiling bool
	// NotDurable says that an acknowledged message can be lost when power fails.
	NotDurable bool
	// Nodes is how many servers there are.
	Nodes int
	// Acknowledged is what holds of a message once it is acknowledged, and Retry what becomes
	// of one that is sent again.
	Acknowledged, Retry string
	// Config is how it is configured and driven.
	Config string
	// Ways are those in which it does each kind of work; it is not measured at others. The
	// first one is the way that the system itself would recommend.
	Ways map[Kind][]string
}

// System is servers that can be started.
type System interface {
	Describe() Description
	// Prepare builds or finds the servers, and returns their version. The error wraps
	// ErrNotInstalled if there is nothing to be found.
	Prepare(ctx context.Context, env Env) (version string, err error)
	// Start starts the servers, without data, in an empty directory, and returns when they
	// serve. If it fails it leaves none running.
	Start(ctx context.Context, dir string) (Cluster, error)
}

// Cluster is servers that run.
type Cluster interface {
	// PIDs are the process of each node.
	PIDs() []int
	// Fill makes the backlog: Backlog messages in each of Timelines, as if they had come to
	// all timelines in turn.
	Fill(ctx context.Context) error
	// Open prepares one of Description.Ways.
	Open(ctx context.Context, kind Kind, way string, callers int) (*Driver, error)
	// Stop stops the servers. What they wrote is not needed any more.
	Stop() error
}

// Driver makes calls in one way.
type Driver struct {
	// Call does one call of Append, Pipelined or Read.
	Call func(ctx context.Context, caller int) error
	// CatchUp does Tail once.
	CatchUp func(ctx context.Context) error
	// Close ends the clients.
	Close func()
}

// UnknownWay is the error of Open for what is not in Description.Ways.
func UnknownWay(kind Kind, way string) error {
	return fmt.Errorf("there is no way %q to do %s", way, kind)
}

// Env is where servers are built.
type Env struct {
	// Module is the directory of this module, and Build that of what is built.
	Module, Build string
}

// GoBuild builds a main package, as seen from a directory below Module, into Build.
func (e Env) GoBuild(ctx context.Context, from, pkg, name string, flags ...string) (string, error) {
	binary := filepath.Join(e.Build, name)
	args := append(append([]string{"build", "-o", binary}, flags...), pkg)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(e.Module, from)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// BuildServer builds a server of the module servers, whose root package it is, and returns the
// module's version with the program.
func (e Env) BuildServer(ctx context.Context, module, name string) (binary, version string, err error) {
	if binary, err = e.GoBuild(ctx, "servers", module, name); err != nil {
		return "", "", err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "", "", err
	}
	return binary, info.Main.Version, nil
}

// Dirs makes directories for nodes in dir, and returns their paths.
func Dirs(dir string, names ...string) ([]string, error) {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, name)
		if err := os.Mkdir(paths[i], 0o755); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
