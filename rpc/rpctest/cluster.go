package rpctest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark/raftnode"
	"tidemark/rpc"
)

// patience is how long the helpers wait for what must happen.
const patience = 30 * time.Second

// Options change what a cluster is made of. The zero value is what most tests want.
type Options struct {
	// Raft changes the configuration of a node before it starts; may be nil.
	Raft func(id string, cfg *raftnode.Config)
	// Server changes the options of a node's server before it starts; may be nil.
	Server func(id string, o *rpc.Options)
	// Logger gets the log of all nodes; nil discards it, unless the environment
	// variable TIDEMARK_TEST_LOG is set, which sends it to the test's output.
	Logger *slog.Logger
}

// Cluster is some nodes, n1, n2, …, which are members from the start, and those
// added by Join.
type Cluster struct {
	tb      testing.TB
	options Options
	links   *links
	initial map[string]string
	nodes   []*Node
}

// Start starts a cluster of n nodes and waits until one of them leads and all are
// ready. It is stopped when the test ends.
func Start(tb testing.TB, n int, o Options) *Cluster {
	tb.Helper()
	if o.Logger == nil {
		out := io.Discard
		if os.Getenv("TIDEMARK_TEST_LOG") != "" {
			out = tb.Output()
		}
		o.Logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c := &Cluster{tb: tb, options: o, links: newLinks(), initial: map[string]string{}}
	dir := tb.TempDir()
	for i := range n {
		id := fmt.Sprintf("n%d", i+1)
		node := c.newNode(id, filepath.Join(dir, id))
		c.initial[id] = node.RaftAddress
	}
	for _, node := range c.nodes {
		node.start(c.initial)
	}
	c.WaitReady()
	return c
}

// Join starts a further node, which waits to be added by AddMember.
func (c *Cluster) Join(id string) *Node {
	c.tb.Helper()
	node := c.newNode(id, filepath.Join(c.tb.TempDir(), id))
	node.start(nil)
	return node
}

// Nodes are all nodes, running or not, in the order of their start.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node is the node with the id.
func (c *Cluster) Node(id string) *Node {
	c.tb.Helper()
	for _, node := range c.nodes {
		if node.ID == id {
			return node
		}
	}
	c.tb.Fatalf("cluster has no node %s", id)
	return nil
}

// Addresses are where the nodes serve the API, in the order of Nodes.
func (c *Cluster) Addresses() []string {
	addresses := make([]string, len(c.nodes))
	for i, node := range c.nodes {
		addresses[i] = node.Address
	}
	return addresses
}

// Leader waits for a running node that leads, and that a majority follows.
func (c *Cluster) Leader() *Node {
	c.tb.Helper()
	var leader *Node
	c.eventually("a node leads", func() bool {
		for _, node := range c.nodes {
			if node.Raft == nil || node.isolated || !node.Raft.IsLeader() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := node.Raft.ReadIndex(ctx)
			cancel()
			if err == nil && node.Raft.IsLeader() {
				leader = node
				return true
			}
		}
		return false
	})
	return leader
}

// Followers are the running nodes but the leader.
func (c *Cluster) Followers() []*Node {
	c.tb.Helper()
	leader := c.Leader()
	var followers []*Node
	for _, node := range c.nodes {
		if node.Raft != nil && node != leader {
			followers = append(followers, node)
		}
	}
	return followers
}

// WaitReady waits until every running node that is not cut off is ready, and knows
// where the leader serves the API.
func (c *Cluster) WaitReady() {
	c.tb.Helper()
	c.Leader()
	for _, node := range c.nodes {
		c.eventually(node.ID+" is ready", func() bool {
			if node.Raft == nil || node.isolated {
				return true
			}
			leader, known := node.Raft.Leader()
			return known && leader.ClientAddress != "" && node.Raft.Ready() == nil
		})
	}
}

// WaitApplied waits until all running nodes that are not cut off have applied what
// the leader has.
func (c *Cluster) WaitApplied() {
	c.tb.Helper()
	index := c.Leader().Store.Applied().Index
	for _, node := range c.nodes {
		c.eventually(fmt.Sprintf("%s has applied %d", node.ID, index), func() bool {
			return node.Raft == nil || node.isolated || node.Store.Applied().Index >= index
		})
	}
}

func (c *Cluster) eventually(what string, condition func() bool) {
	c.tb.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.tb.Fatalf("still not after %v: %s", patience, what)
		}
	}
}

// listen takes a port of loopback, or the one that a node had before.
func (c *Cluster) listen(address string) net.Listener {
	c.tb.Helper()
	var l net.Listener
	c.eventually("listen on "+address, func() bool {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	return l
}
