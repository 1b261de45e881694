package localcluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Cluster is a set of nodes that were told of each other at their first start.
type Cluster struct {
	Nodes []*Node

	binary, dir string
}

// New describes a cluster of n nodes n1, n2, … that run the binary and keep their
// data in dir/n1, dir/n2, … Node i listens at basePort+10·i for clients, +1 for
// peers and +2 for HTTP, i from 0; with basePort 0 the ports are free ones.
// It starts nothing.
func New(binary, dir string, n, basePort int) (*Cluster, error) {
	c := &Cluster{binary: binary, dir: dir}
	for i := range n {
		var addresses []string
		if basePort == 0 {
			var err error
			if addresses, err = freeAddresses(3); err != nil {
				return nil, err
			}
		} else {
			base := basePort + 10*i
			addresses = []string{loopback(base), loopback(base + 1), loopback(base + 2)}
		}
		c.add(addresses)
	}
	members := make([]string, n)
	for i, node := range c.Nodes {
		members[i] = node.ID + "=" + node.RaftListen
	}
	for _, node := range c.Nodes {
		node.Args = []string{"--initial-cluster", strings.Join(members, ",")}
	}
	return c, nil
}

// Join describes one more node, which asks the others to be added when it starts.
func (c *Cluster) Join() (*Node, error) {
	addresses, err := freeAddresses(3)
	if err != nil {
		return nil, err
	}
	join := strings.Join(c.Endpoints(), ",")
	node := c.add(addresses)
	node.Args = []string{"--join", join}
	return node, nil
}

func (c *Cluster) add(addresses []string) *Node {
	id := fmt.Sprintf("n%d", len(c.Nodes)+1)
	node := &Node{
		ID: id, binary: c.binary,
		DataDir: filepath.Join(c.dir, id),
		LogPath: filepath.Join(c.dir, id+".log"),
		Listen:  addresses[0], RaftListen: addresses[1], HTTPListen: addresses[2],
	}
	c.Nodes = append(c.Nodes, node)
	return node
}

// Endpoints are the client addresses of all nodes.
func (c *Cluster) Endpoints() []string {
	endpoints := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		endpoints[i] = node.Listen
	}
	return endpoints
}

// Node returns the node with the id, or nil.
func (c *Cluster) Node(id string) *Node {
	for _, node := range c.Nodes {
		if node.ID == id {
			return node
		}
	}
	return nil
}

// Start starts all nodes that do not run, and waits until they are ready.
func (c *Cluster) Start(ctx context.Context) error {
	for _, node := range c.Nodes {
		if node.Running() {
			continue
		}
		if err := node.Start(); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// WaitReady waits until all nodes that run are ready.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for _, node := range c.Nodes {
		if !node.Running() {
			continue
		}
		if err := node.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// KillAll sends SIGKILL to all nodes before it waits for any of them.
func (c *Cluster) KillAll() error {
	var errs []error
	for _, node := range c.Nodes {
		errs = append(errs, node.Signal(syscall.SIGKILL))
	}
	for _, node := range c.Nodes {
		errs = append(errs, node.Kill())
	}
	return errors.Join(errs...)
}

// Stop stops all nodes at once, in order as long as ctx lasts, and then by force.
func (c *Cluster) Stop(ctx context.Context) error {
	errs := make([]error, len(c.Nodes))
	var group sync.WaitGroup
	for i, node := range c.Nodes {
		group.Go(func() { errs[i] = node.Stop(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}
