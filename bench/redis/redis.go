package redis

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redis/rueidis"

	"tidemark/bench/process"
	"tidemark/bench/system"
)

// replicas is how many a replicated Redis has.
const replicas = 2

// System is Redis Streams.
type System struct {
	// Replicated has WAIT 1 behind each XADD, for one of two replicas.
	Replicated bool

	binary string
}

// The ways.
const (
	wayXAdd   = "XADD"
	wayXRange = "XRANGE"
)

// Describe implements system.System.
func (s *System) Describe() system.Description {
	if s.Replicated {
		return system.Description{
			Name: "redis-wait", Title: "Redis Streams (2 replicas, WAIT 1)", Nodes: 1 + replicas,
			Acknowledged: "fsynced by the primary and received, not fsynced, by one replica",
			Retry:        "not recognized",
			Config: "A primary and two replicas, each with `appendonly yes`, `appendfsync always` and no RDB snapshots. One connection for each caller, " +
				"because WAIT blocks its connection: XADD and WAIT 1 in one pipeline.",
			Ways: map[system.Kind][]string{system.Append: {wayXAdd}},
		}
	}
	return system.Description{
		Name: "redis", Title: "Redis Streams (one node)", Nodes: 1,
		Acknowledged: "fsynced by the only node",
		Retry:        "not recognized",
		Config: "One `redis-server` with `appendonly yes`, `appendfsync always` and no RDB snapshots; one stream for each timeline, all of it in memory. " +
			"The client, rueidis, puts concurrent calls on four pipelined connections.",
		Ways: map[system.Kind][]string{system.Append: {wayXAdd}, system.Read: {wayXRange}},
	}
}

// Prepare implements system.System.
func (s *System) Prepare(ctx context.Context, _ system.Env) (version string, err error) {
	if s.binary, err = exec.LookPath("redis-server"); err != nil {
		return "", fmt.Errorf("%w: %w", system.ErrNotInstalled, err)
	}
	out, err := exec.CommandContext(ctx, s.binary, "--version").Output()
	if err != nil {
		return "", err
	}
	for field := range strings.FieldsSeq(string(out)) {
		if version, found := strings.CutPrefix(field, "v="); found {
			return version, nil
		}
	}
	return "", fmt.Errorf("redis-server --version says %q", out)
}

type cluster struct {
	process.Group
	primary string
}

// Start implements system.System.
func (s *System) Start(ctx context.Context, dir string) (_ system.Cluster, err error) {
	names := []string{"primary"}
	if s.Replicated {
		names = append(names, "replica1", "replica2")
	}
	addresses, err := process.FreeAddresses(len(names))
	if err != nil {
		return nil, err
	}
	dirs, err := system.Dirs(dir, names...)
	if err != nil {
		return nil, err
	}
	c := &cluster{primary: addresses[0]}
	defer func() {
		if err != nil {
			_ = c.Stop() // why it did not start says more
		}
	}()
	for i, name := range names {
		host, port, err := net.SplitHostPort(addresses[i])
		if err != nil {
			return nil, err
		}
		args := []string{"--bind", host, "--port", port, "--dir", dirs[i], "--appendonly", "yes", "--appendfsync", "always", "--save", "",
			// A replica that connects need not wait for others.
			"--repl-diskless-sync-delay", "0"}
		if i > 0 {
			primaryHost, primaryPort, err := net.SplitHostPort(c.primary)
			if err != nil {
				return nil, err
			}
			args = append(args, "--replicaof", primaryHost, primaryPort)
		}
		if _, err := c.Group.Start(process.Command{Name: name, Path: s.binary, Args: args, Log: filepath.Join(dir, name+".log")}); err != nil {
			return nil, err
		}
	}
	for i, server := range c.Group {
		if err := server.WaitReady(ctx, func(ctx context.Context) error { return serves(ctx, addresses[i], i > 0) }); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// serves is nil for a server that answers and, if it is a replica, follows its primary.
func serves(ctx context.Context, address string, replica bool) error {
	client, err := connect(address, 1)
	if err != nil {
		return err
	}
	defer client.Close()
	info, err := client.Do(ctx, client.B().Info().Section("replication").Build()).ToString()
	if err == nil && replica && !strings.Contains(info, "master_link_status:up") {
		err = fmt.Errorf("the replica does not follow: %s", info)
	}
	return err
}

// connect makes a client. dedicated is how many connections may be taken out of it.
func connect(address string, dedicated int) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{address}, ForceSingleClient: true, DisableCache: true, BlockingPoolSize: dedicated,
	})
}

// Stop implements system.Cluster.
func (c *cluster) Stop() error { return c.Group.Stop(syscall.SIGTERM) }
