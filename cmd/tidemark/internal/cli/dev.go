package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/internal/localcluster"
)

// startTimeout is how long the nodes of a local cluster have to become ready.
// Electing a leader takes a few seconds of it.
const startTimeout = 60 * time.Second

// stopTimeout is beyond what a node takes to stop in order.
const stopTimeout = 30 * time.Second

func (a *app) devCommand() *cobra.Command {
	var nodes, basePort int
	var dataDir string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a local cluster of real processes until Ctrl-C",
		Long: `Run a cluster of real processes on loopback until Ctrl-C or SIGTERM, which stop all of
them. Node i, from 0, listens for clients at --base-port + 10·i, for the other nodes
one above, and for HTTP two above. Data and logs are kept in --data-dir.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case nodes < 1 || nodes > 99:
				return exit.Usagef("--nodes must be 1 to 99; it is %d", nodes)
			case basePort < 1 || basePort+10*nodes > 65535:
				return exit.Usagef("--base-port must leave room for the nodes' ports below 65536; it is %d", basePort)
			case dataDir == "":
				return exit.Usagef("--data-dir must be given")
			}
			return a.runDev(cmd.Context(), nodes, basePort, dataDir)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&nodes, "nodes", 3, "number of nodes")
	flags.StringVar(&dataDir, "data-dir", "tidemark-dev", "`directory` for the data and logs of all nodes")
	flags.IntVar(&basePort, "base-port", 7400, "port of the first node for clients")
	return cmd
}

func (a *app) runDev(ctx context.Context, n, basePort int, dataDir string) (err error) {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	cluster, err := localcluster.New(binary, dataDir, n, basePort)
	if err != nil {
		return err
	}
	for _, node := range cluster.Nodes {
		node.Args = append(node.Args, "--log-level", a.global.logLevel, "--log-format", a.global.logFormat)
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		err = errors.Join(err, cluster.Stop(stopping))
	}()
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := cluster.Start(starting); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := a.printTable(func(t *table) {
		t.row("NODE", "CLIENTS", "HTTP", "DATA", "LOG", "PID")
		for _, node := range cluster.Nodes {
			t.row(node.ID, node.Listen, "http://"+node.HTTPListen, node.DataDir, node.LogPath, node.PID())
		}
	}); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "\nexport TIDEMARK_ENDPOINTS=%s\n\nCtrl-C stops all nodes.\n", strings.Join(cluster.Endpoints(), ","))
	return a.watchNodes(ctx, cluster)
}

// watchNodes returns when ctx or the last of the nodes ends. A node that ends by
// itself is told of and not started again, so that one can see why.
func (a *app) watchNodes(ctx context.Context, cluster *localcluster.Cluster) error {
	ended := make(chan *localcluster.Node, len(cluster.Nodes))
	for _, node := range cluster.Nodes {
		go func() {
			<-node.Exited()
			ended <- node
		}()
	}
	for range cluster.Nodes {
		select {
		case <-ctx.Done():
			fmt.Fprintln(a.Err, "stopping")
			return nil
		case node := <-ended:
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintf(a.Err, "node %s ended; see %s\n", node.ID, node.LogPath)
		}
	}
	return errors.New("all nodes have ended")
}
