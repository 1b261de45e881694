//go:build linux

package nemesis

import (
	"context"
	"fmt"
	"time"

	"tidemark/jepsen/host"
)

const (
	// interruptions is how often a node is killed while it gets a snapshot.
	interruptions = 3
	// snapshotPatience is how long a node waits for one: a leader tries one that was away
	// less and less often.
	snapshotPatience = 8 * time.Second
)

// install keeps one node away until the log that it lacks is gone, and kills it
// again and again while it is sent a snapshot, or soon after that has come. It depends
// on nodes that keep little of their logs.
func install(ctx context.Context, w *World) (Harm, error) {
	leader, ok := w.Cluster.Leader(ctx)
	if !ok {
		return Harm{}, errNoLeader
	}
	nodes := shuffled(w.Cluster.Nodes(), w.Rand)
	victim := nodes[0]
	if victim.ID() == leader.ID() && len(nodes) > 1 {
		victim = nodes[1] // a leader is not sent snapshots
	}
	harm := Harm{
		Target: string(victim.ID()), Detail: "away",
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
	receives := func() bool {
		stats, err := victim.Stats(ctx)
		return err == nil && stats.SnapshotBytes > 0
	}
	for i := range interruptions {
		if err := victim.Start(); err != nil {
			return harm, err
		}
		if !eventually(ctx, snapshotPatience, receives) {
			return harm, nil // the log was enough, also after a snapshot that came before
		}
		harm.Detail = fmt.Sprintf("away, then killed %d times when it was sent a snapshot", i+1)
		if !wait(ctx, between(w, 0, 600*time.Millisecond)) {
			return harm, nil
		}
		if err := victim.Kill(); err != nil {
			return harm, err
		}
	}
	return harm, nil
}
