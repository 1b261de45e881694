//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/jepsen/host"
)

func processes() []named {
	var all []named
	for _, c := range choosers() {
		all = append(all,
			named{name: "kill-" + c.who, lane: Processes, what: "SIGKILL of " + c.who + "; started again when healed",
				inject: func(ctx context.Context, w *World) (Harm, error) { return kill(ctx, w, c) }},
			named{name: "pause-" + c.who, lane: Processes, what: "SIGSTOP of " + c.who + "; SIGCONT when healed",
				inject: func(ctx context.Context, w *World) (Harm, error) { return pause(ctx, w, c) }},
		)
	}
	return append(all, named{
		name: "rolling-restart", lane: Processes, what: "SIGTERM of each node in turn, which is started again and awaited before the next",
		inject: rollingRestart,
	})
}

func kill(ctx context.Context, w *World, c chooser) (Harm, error) {
	nodes, err := c.pick(ctx, w)
	if err != nil {
		return Harm{}, err
	}
	harm := Harm{Target: names(nodes), Detail: "SIGKILL", Heal: func() error { return startAll(nodes) }}
	return harm, w.Cluster.Kill(ids(nodes)...)
}

func pause(ctx context.Context, w *World, c chooser) (Harm, error) {
	nodes, err := c.pick(ctx, w)
	if err != nil {
		return Harm{}, err
	}
	harm := Harm{Target: names(nodes), Detail: "SIGSTOP", Heal: func() error { return startAll(nodes) }}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Pause())
	}
	return harm, errors.Join(errs...)
}

const (
	// stopTimeout is how long a node may take to stop in order, and readyTimeout how
	// long until it serves again.
	stopTimeout  = 20 * time.Second
	readyTimeout = 30 * time.Second
)

// rollingRestart restarts the nodes one after the other, as an operator would.
func rollingRestart(ctx context.Context, w *World) (Harm, error) {
	nodes := w.Cluster.Nodes()
	harm := Harm{Target: names(nodes), Detail: "SIGTERM and start, one by one", Heal: func() error { return startAll(nodes) }}
	for _, n := range nodes {
		if err := restart(ctx, n, func() {}); err != nil {
			return harm, err
		}
	}
	return harm, nil
}

// restart stops a node in order, lets between change it, and starts it again.
func restart(ctx context.Context, n host.Node, between func()) error {
	stopping, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := n.Terminate(stopping); err != nil {
		return err
	}
	between()
	if err := n.Start(); err != nil {
		return err
	}
	ready, cancelReady := context.WithTimeout(ctx, readyTimeout)
	defer cancelReady()
	if err := n.WaitReady(ready); err != nil {
		return fmt.Errorf("after a restart: %w", err)
	}
	return nil
}
