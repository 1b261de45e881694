package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"tidemark/client"
	"tidemark/internal/localcluster"
)

// growing is a cluster that grows.
type growing struct {
	GrowthConfig
	cluster *localcluster.Cluster
	writer  *client.Client
	// random is what payloads are taken from.
	random []byte
	// messages is how many there are, and timelines how many there are of those by number.
	messages  atomic.Int64
	timelines int
	// followed is how many timelines there are to be followed by tails, and joined how many
	// nodes have joined, and gone again.
	followed, joined int
}

// onCluster runs grow on a new cluster, and stops it. What the nodes wrote is removed unless
// something failed; the error then says where it is.
func (c *GrowthConfig) onCluster(ctx context.Context, grow func(*growing) error) error {
	dir, err := os.MkdirTemp(c.Dir, "tidemark-growth-")
	if err != nil {
		return err
	}
	if err := c.inDirectory(ctx, dir, grow); err != nil {
		return fmt.Errorf("%w\nthe nodes' logs and data are kept in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

func (c *GrowthConfig) inDirectory(ctx context.Context, dir string, grow func(*growing) error) (err error) {
	cluster, err := localcluster.New(c.Binary, dir, c.Nodes, 0)
	if err != nil {
		return err
	}
	g := &growing{GrowthConfig: *c, cluster: cluster, random: newPayload(randomBytes)}
	g.Endpoints, g.HTTP, g.Prefix = cluster.Endpoints(), nil, "growth"
	for _, node := range cluster.Nodes {
		g.HTTP = append(g.HTTP, node.HTTPListen)
		g.configure(node)
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = errors.Join(err, cluster.Stop(stopping))
	}()
	if err := cluster.Start(ctx); err != nil {
		return err
	}
	if g.writer, err = client.New(g.Endpoints); err != nil {
		return err
	}
	defer g.writer.Close()
	return grow(g)
}

// configure gives a node the flags that it shares with the others.
func (g *growing) configure(node *localcluster.Node) {
	node.Args = append(node.Args, "--trailing-bytes", logBytes)
	node.Args = append(node.Args, g.ServeFlags...)
}

// leader is the node that leads now, and follower the process of one that does not.
func (g *growing) leader(ctx context.Context) (leader askedNode, follower *localcluster.Node, err error) {
	asked, err := g.nodes(ctx, g.writer)
	if err != nil {
		return leader, nil, err
	}
	for _, node := range g.cluster.Nodes {
		if node.HTTPListen == asked[1].http {
			return asked[0], node, nil
		}
	}
	return leader, nil, fmt.Errorf("%s is not of the cluster", asked[1].http)
}

const (
	// longTimeout bounds what takes as long as a node is large: starting, catching up, copying.
	longTimeout = 10 * time.Minute
	// growthPoll is how often a node is asked how far it is.
	growthPoll = 50 * time.Millisecond
	// settleLimit bounds how long the nodes may go on with compactions before what they wrote
	// is counted, and calm is how often in a row they must be found without any. To ask costs
	// them processor time, which is counted too.
	settleLimit = time.Minute
	settlePoll  = 250 * time.Millisecond
	calm        = 3
)

// until asks again and again until the answer is yes. An error means not yet.
func until(ctx context.Context, every time.Duration, ask func(context.Context) (bool, error)) error {
	for {
		yes, err := ask(ctx)
		if err == nil && yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(every):
		}
	}
}

// number is a metric of the node at the HTTP address.
func number(ctx context.Context, address, name string) (float64, error) {
	m, err := readMetrics(ctx, address)
	if err != nil {
		return 0, err
	}
	return m.value(name)
}

const (
	metricApplied   = "tidemark_store_applied_index"
	metricCompacts  = "tidemark_store_compactions_running"
	metricInstalled = "tidemark_raft_snapshots_installed_total"
)

// waitApplied waits until the nodes have applied all that the leader has.
func (g *growing) waitApplied(ctx context.Context, leader askedNode, addresses ...string) error {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	index, err := number(ctx, leader.http, metricApplied)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if err := until(ctx, growthPoll, func(ctx context.Context) (bool, error) {
			applied, err := number(ctx, address, metricApplied)
			return applied >= index, err
		}); err != nil {
			return fmt.Errorf("%s has not caught up: %w", address, err)
		}
	}
	return nil
}

// settle has all nodes make everything durable, and waits until they have compacted it, as
// far as they do within settleLimit.
func (g *growing) settle(ctx context.Context) error {
	leader, _, err := g.leader(ctx)
	if err != nil {
		return err
	}
	if err := g.waitApplied(ctx, leader, g.HTTP...); err != nil {
		return err
	}
	for _, endpoint := range g.Endpoints {
		if _, err := g.snapshot(ctx, endpoint); err != nil {
			return err
		}
	}
	settling, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	quiet := 0
	err = until(settling, settlePoll, func(ctx context.Context) (bool, error) {
		quiet++
		for _, address := range g.HTTP {
			running, err := number(ctx, address, metricCompacts)
			if err != nil || running > 0 {
				quiet = 0
				return false, err
			}
		}
		return quiet >= calm, nil
	})
	if settling.Err() != nil && ctx.Err() == nil {
		g.say("compactions go on after %v", settleLimit)
		return nil
	}
	return err
}
