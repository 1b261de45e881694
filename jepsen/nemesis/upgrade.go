//go:build linux

package nemesis

import (
	"context"
	"slices"
	"time"

	"tidemark/jepsen/host"
)

func upgrades() []named {
	return []named{{name: "rolling-upgrade", lane: Processes, needs: []host.Feature{host.FeatureUpgrade},
		what: "the nodes run the oldest kept version; each in turn is stopped by SIGTERM and started with the new one, " +
			"and the versions work together for a while before the next",
		inject: rollingUpgrade}}
}

// rollingUpgrade upgrades the nodes one after the other, as an operator would. It is
// done once: going back is not promised.
func rollingUpgrade(ctx context.Context, w *World) (Harm, error) {
	nodes := slices.DeleteFunc(shuffled(w.Cluster.Nodes(), w.Rand), func(n host.Node) bool { return !n.Outdated() })
	if len(nodes) == 0 {
		return Harm{}, errNothingToDo
	}
	harm := Harm{Target: names(nodes), Detail: "SIGTERM, the new program, start, one by one", Heal: func() error { return startAll(nodes) }}
	for _, n := range nodes {
		if err := restart(ctx, n, n.Upgrade); err != nil {
			return harm, err
		}
		if !wait(ctx, between(w, 2*time.Second, 4*time.Second)) {
			break
		}
	}
	return harm, nil
}
