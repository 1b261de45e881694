package etcd

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"tidemark/bench/process"
	"tidemark/bench/system"
)

const nodes = 3

// System is etcd.
type System struct{ binary string }

// The ways.
const (
	wayPut          = "put"
	wayLinearizable = "linearizable range"
	waySerializable = "serializable range"
)

// Describe implements system.System.
func (s *System) Describe() system.Description {
	return system.Description{
		Name: "etcd", Title: "etcd", Nodes: nodes,
		Acknowledged: "fsynced by a majority and applied",
		Retry:        "not recognized: the key is new for each message",
		Config: "Three members with the default configuration. Append: a put of a new key `tl/N/ID`: without a counter and a check of the message id, which a transaction would add. " +
			"Four connections, to the leader; for serializable ranges, which any member answers by itself, to all members in turn.",
		Ways: map[system.Kind][]string{
			system.Append: {wayPut},
			system.Read:   {wayLinearizable, waySerializable},
		},
	}
}

// Prepare implements system.System.
func (s *System) Prepare(ctx context.Context, env system.Env) (version string, err error) {
	s.binary, version, err = env.BuildServer(ctx, "go.etcd.io/etcd/server/v3", "etcd")
	return version, err
}

type cluster struct {
	process.Group
	// endpoints are those of the members, and leader is one of them.
	endpoints []string
	leader    string
}

// Start implements system.System.
func (s *System) Start(ctx context.Context, dir string) (_ system.Cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			_ = c.Stop() // why it did not start says more
		}
	}()
	addresses, err := process.FreeAddresses(2 * nodes)
	if err != nil {
		return nil, err
	}
	names := []string{"n1", "n2", "n3"}
	dirs, err := system.Dirs(dir, names...)
	if err != nil {
		return nil, err
	}
	members := make([]string, nodes)
	for i, name := range names {
		members[i] = name + "=http://" + addresses[nodes+i]
		c.endpoints = append(c.endpoints, "http://"+addresses[i])
	}
	for i, name := range names {
		peer := "http://" + addresses[nodes+i]
		if _, err := c.Group.Start(process.Command{Name: name, Path: s.binary, Log: filepath.Join(dir, name+".log"), Args: []string{
			"--name", name, "--data-dir", dirs[i], "--log-level", "warn",
			"--listen-client-urls", c.endpoints[i], "--advertise-client-urls", c.endpoints[i],
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
		}}); err != nil {
			return nil, err
		}
	}
	return c, c.Group[0].WaitReady(ctx, c.findLeader)
}

// connect makes n clients with one connection each, to the endpoints in turn.
func connect(n int, endpoints ...string) ([]*clientv3.Client, func(), error) {
	var clients []*clientv3.Client
	closeAll := func() {
		for _, client := range clients {
			_ = client.Close() // what was measured is measured
		}
	}
	for i := range n {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{endpoints[i%len(endpoints)]}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		})
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, client)
	}
	return clients, closeAll, nil
}

// attemptTimeout bounds one attempt to find the leader.
const attemptTimeout = time.Second

// findLeader asks all members, and fails unless they know the same leader.
func (c *cluster) findLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	clients, closeAll, err := connect(nodes, c.endpoints...)
	if err != nil {
		return err
	}
	defer closeAll()
	leader := uint64(0)
	for i, client := range clients {
		status, err := client.Status(ctx, c.endpoints[i])
		if err != nil {
			return err
		}
		if status.Leader == 0 || i > 0 && status.Leader != leader {
			return fmt.Errorf("the members know no leader or different ones")
		}
		leader = status.Leader
		if status.Header.MemberId == leader {
			c.leader = c.endpoints[i]
		}
	}
	return nil
}

// Stop implements system.Cluster.
func (c *cluster) Stop() error { return c.Group.Stop(syscall.SIGTERM) }
