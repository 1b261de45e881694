package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tidemark/internal/localcluster"
)

// stopTimeout is beyond what a node takes to stop in order.
const stopTimeout = 30 * time.Second

// Local runs measure against n nodes of the binary on loopback, which it starts and
// stops. It removes what they wrote unless something failed; the error then says where it is.
func Local(ctx context.Context, binary string, n int, measure func(endpoints, http []string) error) error {
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	cluster, err := localcluster.New(binary, dir, n, 0)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err = cluster.Start(ctx); err == nil {
		var http []string
		for _, node := range cluster.Nodes {
			http = append(http, node.HTTPListen)
		}
		err = measure(cluster.Endpoints(), http)
	}
	stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err = errors.Join(err, cluster.Stop(stopping)); err != nil {
		return fmt.Errorf("%w\nthe nodes' logs and data are kept in %s", err, dir)
	}
	return os.RemoveAll(dir)
}
