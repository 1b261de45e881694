package tidemark

import (
	"context"
	"time"

	"tidemark/bench/system"
	"tidemark/internal/localcluster"
)

const nodes = 3

// System is Tidemark.
type System struct {
	binary string
	// version is what the binary says of itself.
	version string
}

// New returns it; version is what git says.
func New(version string) *System { return &System{version: version} }

// The ways.
const (
	waySDK          = "SDK"
	wayUnary        = "unary gRPC"
	wayLinearizable = "linearizable"
	wayLocal        = "local"
)

// Describe implements system.System.
func (s *System) Describe() system.Description {
	return system.Description{
		Name: "tidemark", Title: "Tidemark", Ours: true, Nodes: nodes,
		Acknowledged: "fsynced by a majority and applied",
		Retry:        "recognized by its message id for as long as the message is kept",
		Config: "Three `tidemark serve` with the default configuration. SDK: one `client.Client` with the defaults; concurrent `Append` calls share its one pipelined stream. " +
			"Unary gRPC: what any gRPC client does, `TimelineService/Append` on one connection to the leader. " +
			"Reads: `client.Read` of one client, which asks the three nodes in turn. Tail: one `client.Tail` that follows all timelines.",
		Ways: map[system.Kind][]string{
			system.Append:    {waySDK, wayUnary},
			system.Pipelined: {waySDK},
			system.Read:      {wayLinearizable, wayLocal},
			system.Tail:      {waySDK},
		},
	}
}

// Prepare implements system.System.
func (s *System) Prepare(ctx context.Context, env system.Env) (version string, err error) {
	s.binary, err = env.GoBuild(ctx, "..", "./cmd/tidemark", "tidemark", "-ldflags", "-X main.version="+s.version)
	return s.version, err
}

// Start implements system.System.
func (s *System) Start(ctx context.Context, dir string) (system.Cluster, error) {
	local, err := localcluster.New(s.binary, dir, nodes, 0)
	if err != nil {
		return nil, err
	}
	c := &cluster{local}
	if err := local.Start(ctx); err != nil {
		_ = c.Stop() // why it did not start says more
		return nil, err
	}
	return c, nil
}

type cluster struct{ *localcluster.Cluster }

// PIDs implements system.Cluster.
func (c *cluster) PIDs() []int {
	pids := make([]int, len(c.Nodes))
	for i, node := range c.Nodes {
		pids[i] = node.PID()
	}
	return pids
}

// stopTimeout is beyond what a node takes to stop in order.
const stopTimeout = 30 * time.Second

// Stop implements system.Cluster.
func (c *cluster) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return c.Cluster.Stop(ctx)
}
