//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/jepsen/host"
)

// Clients can be made silent, so that a script says when something is written.
type Clients interface {
	// Hush has clients begin nothing, and Speak has them go on. Both may be called twice.
	Hush()
	Speak()
}

// The numbers of usurp, which come from those of the nodes and of TCP. A node calls
// itself a candidate 2 to 4 s after it last heard of its leader, and a leader goes on
// for 2 s without a majority. What opens a connection over a link that is cut is sent
// again after 1 s.
const (
	// deafFor makes sure that the next leader's patience is over.
	deafFor = 4200 * time.Millisecond
	// restartedAfter is when the others are restarted: they are back when it is over,
	// and the old leader has heard of them not long before.
	restartedAfter = 3500 * time.Millisecond
	// heartbeatsOnly after the election, its request for a vote and its first entry were sent
	// in vain, and wait for that second; its first heartbeat, 200 to 400 ms after the
	// election, is still to come.
	heartbeatsOnly = 80 * time.Millisecond
	// usurpPatience bounds each wait for something that comes about soon or never.
	usurpPatience = 2 * time.Second
)

// usurp has a node elected without the leader knowing, and sees to it that the leader
// first hears of that by a heartbeat, while nothing else happens. Then clients write to
// it. Here a leader that takes heartbeats beside its main loop stamps their entry with
// the term of the other one (hashicorp/raft #695).
func usurp(ctx context.Context, w *World) (Harm, error) {
	leader, ok := w.Cluster.Leader(ctx)
	if !ok {
		return Harm{}, errNoLeader
	}
	var rest []host.Node
	for _, n := range shuffled(w.Cluster.Nodes(), w.Rand) {
		if n.ID() != leader.ID() {
			rest = append(rest, n)
		}
	}
	if len(rest) < 2 {
		return Harm{}, fmt.Errorf("needs three nodes; there are %d", len(rest)+1)
	}
	next, others := rest[0], rest[1:]
	harm := Harm{
		Target: fmt.Sprintf("leader %s, next %s", leader.ID(), next.ID()),
		Detail: "the next leader was not elected in time",
		Heal: func() error {
			w.Clients.Speak()
			return errors.Join(w.Cluster.Heal(), startAll(w.Cluster.Nodes()))
		},
	}
	stats, err := leader.Stats(ctx)
	if err != nil {
		return harm, err
	}
	w.Clients.Hush()
	if !wait(ctx, time.Second) {
		return harm, nil
	}
	if elected, err := elect(ctx, w, leader, next, others, stats.Term); err != nil || !elected || !wait(ctx, heartbeatsOnly) {
		return harm, err
	}
	harm.Detail = "it stepped down, or heard nothing in time"
	both := append(ids(others), next.ID())
	if err := w.Cluster.Partition([]host.NodeID{leader.ID(), next.ID()}, both); err != nil {
		return harm, err
	}
	if eventually(ctx, usurpPatience, func() bool { return termOf(ctx, leader) > stats.Term }) {
		harm.Detail = fmt.Sprintf("%s learned of term %d", leader.ID(), termOf(ctx, leader))
	}
	w.Clients.Speak()
	return harm, nil
}

// elect makes next the leader while the old one still leads in its term, and reports
// whether it did: next is silent until its patience is over, and the others are restarted, so
// that they know of no leader.
func elect(ctx context.Context, w *World, leader, next host.Node, others []host.Node, term uint64) (bool, error) {
	begun := time.Now()
	apart := append(ids(others), next.ID())
	if err := w.Cluster.Partition(append(ids(others), leader.ID()), apart); err != nil {
		return false, err
	}
	if err := next.Pause(); err != nil || !wait(ctx, restartedAfter) {
		return false, err
	}
	if err := w.Cluster.Partition([]host.NodeID{leader.ID()}, apart); err != nil {
		return false, err
	}
	if err := w.Cluster.Kill(ids(others)...); err != nil {
		return false, err
	}
	if err := startAll(others); err != nil {
		return false, err
	}
	for _, n := range others {
		if !eventually(ctx, usurpPatience, func() bool { return termOf(ctx, n) > 0 }) {
			return false, nil
		}
	}
	if !wait(ctx, deafFor-time.Since(begun)) {
		return false, nil
	}
	if err := next.Resume(); err != nil {
		return false, err
	}
	return eventually(ctx, usurpPatience, func() bool { return termOf(ctx, next) > term }), nil
}

// termOf is the term that a node is in, or 0 if it does not say.
func termOf(ctx context.Context, n host.Node) uint64 {
	stats, err := n.Stats(ctx)
	if err != nil {
		return 0
	}
	return stats.Term
}
