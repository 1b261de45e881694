//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"tidemark/jepsen/host"
)

// errNoLeader is returned when a harm is meant for the leader and there is none now.
var errNoLeader = errors.New("nobody leads now")

// errNothingToDo is returned by a nemesis whose work is done for good.
var errNothingToDo = errors.New("nothing is left to do")

// shuffled are the nodes in a random order.
func shuffled(nodes []host.Node, random *rand.Rand) []host.Node {
	random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

// chooser picks whom to harm.
type chooser struct {
	// who ends the name of a nemesis: one, minority, majority, all or leader.
	who  string
	pick func(ctx context.Context, w *World) ([]host.Node, error)
}

func choosers() []chooser {
	some := func(count func(n int) int) func(context.Context, *World) ([]host.Node, error) {
		return func(_ context.Context, w *World) ([]host.Node, error) {
			nodes := shuffled(w.Cluster.Nodes(), w.Rand)
			return nodes[:count(len(nodes))], nil
		}
	}
	return []chooser{
		{"one", some(func(int) int { return 1 })},
		{"minority", some(func(n int) int { return max(1, (n-1)/2) })},
		{"majority", some(func(n int) int { return n/2 + 1 })},
		{"all", some(func(n int) int { return n })},
		{"leader", func(ctx context.Context, w *World) ([]host.Node, error) {
			leader, ok := w.Cluster.Leader(ctx)
			if !ok {
				return nil, errNoLeader
			}
			return []host.Node{leader}, nil
		}},
	}
}

func ids(nodes []host.Node) []host.NodeID {
	out := make([]host.NodeID, len(nodes))
	for i, n := range nodes {
		out[i] = n.ID()
	}
	return out
}

func names(nodes []host.Node) string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = string(n.ID())
	}
	return strings.Join(out, " ")
}

// startAll starts the nodes that do not run, and resumes those that are paused.
func startAll(nodes []host.Node) error {
	var errs []error
	for _, n := range nodes {
		if n.Running() {
			errs = append(errs, n.Resume())
			continue
		}
		if err := n.Start(); err != nil {
			errs = append(errs, fmt.Errorf("start %s again: %w", n.ID(), err))
		}
	}
	return errors.Join(errs...)
}

// eventuallyPoll is how often a condition is looked at.
const eventuallyPoll = 10 * time.Millisecond

// eventually waits for a condition, and reports whether it came about within patience.
func eventually(ctx context.Context, patience time.Duration, condition func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !condition() {
		if !wait(ctx, eventuallyPoll) {
			return false
		}
	}
	return true
}
