//go:build linux

package nemesis

import (
	"context"
	"fmt"
	"time"

	"tidemark/jepsen/host"
)

// interruptions is how often a node is killed while it gets a snapshot.
const interruptions = 3

// install keeps one node away until the log that it lacks is gone, and kills it
// again and again while it is sent a snapshot. It depends on nodes that keep little
// of their logs.
func install(ctx context.Context, w *World) (Harm, error) {
	leader, ok := w.Cluster.Leader(ctx)
	if !ok {
		return Harm{}, errNoLeader
	}
	victim := shuffled(w.Cluster.Nodes(), w.Rand)[0]
	if victim.ID() == leader.ID() {
		return Harm{}, fmt.Errorf("%s leads, and is not sent snapshots", victim.ID())
	}
	harm := Harm{
		Target: string(victim.ID()), Detail: fmt.Sprintf("away, then killed %d times while it catches up", interruptions),
		Heal: func() error { return startAll([]host.Node{victim}) },
	}
	if err := victim.Kill(); err != nil || !wait(ctx, between(w, 4*time.Second, 6*time.Second)) {
		return harm, err
	}
	asking, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	if _, _, err := w.Operator.Cluster().At(leader.Endpoint()).TakeSnapshot(asking); err != nil {
		return harm, err
	}
	for range interruptions {
		if err := victim.Start(); err != nil || !wait(ctx, between(w, 100*time.Millisecond, 800*time.Millisecond)) {
			return harm, err
		}
		if err := victim.Kill(); err != nil {
			return harm, err
		}
	}
	return harm, nil
}
