//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/jepsen/host"
)

func links() []named {
	cut := []host.Feature{host.FeatureCut}
	partition := func(name, what string, groups func(nodes []host.NodeID) [][]host.NodeID) named {
		return named{name: name, lane: Links, needs: cut, what: what, inject: func(_ context.Context, w *World) (Harm, error) {
			return part(w, groups(ids(shuffled(w.Cluster.Nodes(), w.Rand))))
		}}
	}
	return []named{
		partition("cut-one", "one node is cut off from the others", func(n []host.NodeID) [][]host.NodeID {
			return [][]host.NodeID{n[:1], n[1:]}
		}),
		partition("cut-minority", "a minority is cut off from the majority", func(n []host.NodeID) [][]host.NodeID {
			k := max(1, (len(n)-1)/2)
			return [][]host.NodeID{n[:k], n[k:]}
		}),
		{name: "cut-leader", lane: Links, needs: cut, what: "the leader is cut off from the others", inject: cutLeader},
		partition("ring", "each node sees a majority, and no two see the same one", ring),
		partition("bridge", "two halves that see each other only through one node", func(n []host.NodeID) [][]host.NodeID {
			half := len(n) / 2
			return [][]host.NodeID{n[:half+1], n[half:]}
		}),
		{name: "one-way", lane: Links, needs: cut, what: "one node is not heard by the others, or hears none of them", inject: oneWay},
		{name: "flapping", lane: Links, needs: cut, what: "one node is cut off and back, over and over", inject: flapping},
		{name: "slow", lane: Links, needs: []host.Feature{host.FeatureDelay}, what: "delay and jitter on all links, or of one node", inject: slow},
		{name: "lossy", lane: Links, needs: []host.Feature{host.FeatureLoss}, what: "lost packets on all links, or of one node", inject: lossy},
		{name: "narrow", lane: Links, needs: []host.Feature{host.FeatureBandwidth}, what: "one node gets little bandwidth", inject: narrow},
	}
}

// part makes the groups, and undoes them by joining all.
func part(w *World, groups [][]host.NodeID) (Harm, error) {
	return Harm{Target: fmt.Sprint(groups), Detail: "partition", Heal: w.Cluster.Heal}, w.Cluster.Partition(groups...)
}

// ring lets each node see its neighbours, so many that with itself it is a
// majority. Groups are the pairs that see each other.
func ring(nodes []host.NodeID) [][]host.NodeID {
	n := len(nodes)
	// Each sees as many neighbours ahead as behind; with three nodes that is all, so
	// that one pair is left out to make the ring a line.
	if n == 3 {
		return [][]host.NodeID{{nodes[0], nodes[1]}, {nodes[1], nodes[2]}}
	}
	reach := (n/2 + 1) / 2
	var groups [][]host.NodeID
	for i := range nodes {
		for d := 1; d <= reach; d++ {
			groups = append(groups, []host.NodeID{nodes[i], nodes[(i+d)%n]})
		}
	}
	return groups
}

func cutLeader(ctx context.Context, w *World) (Harm, error) {
	leader, ok := w.Cluster.Leader(ctx)
	if !ok {
		return Harm{}, errNoLeader
	}
	return part(w, alone(w, leader.ID()))
}

// alone are the groups in which one node stands alone.
func alone(w *World, id host.NodeID) [][]host.NodeID {
	var others []host.NodeID
	for _, n := range w.Cluster.Nodes() {
		if n.ID() != id {
			others = append(others, n.ID())
		}
	}
	return [][]host.NodeID{{id}, others}
}

func oneWay(ctx context.Context, w *World) (Harm, error) {
	nodes := shuffled(w.Cluster.Nodes(), w.Rand)
	deaf := w.Rand.IntN(2) == 0
	// Half of the time it is the leader, to which most happens.
	if leader, ok := w.Cluster.Leader(ctx); ok && w.Rand.IntN(2) == 0 {
		nodes[0] = leader
	}
	victim := nodes[0].ID()
	harm := Harm{Target: string(victim), Detail: "not heard by the others", Heal: w.Cluster.Heal}
	if deaf {
		harm.Detail = "hears none of the others"
	}
	for _, n := range w.Cluster.Nodes() {
		if n.ID() == victim {
			continue
		}
		from, to := victim, n.ID()
		if deaf {
			from, to = to, from
		}
		if err := w.Cluster.Cut(from, to, true); err != nil {
			return harm, err
		}
	}
	return harm, nil
}

// flapping cuts one node off and joins it again, for about as long as an election
// takes each time.
func flapping(ctx context.Context, w *World) (Harm, error) {
	nodes := shuffled(w.Cluster.Nodes(), w.Rand)
	victim := nodes[0].ID()
	times := 3 + w.Rand.IntN(5)
	harm := Harm{Target: string(victim), Detail: fmt.Sprintf("cut off and back %d times", times), Heal: w.Cluster.Heal}
	for range times {
		if err := w.Cluster.Partition(alone(w, victim)...); err != nil {
			return harm, err
		}
		if !wait(ctx, between(w, 100*time.Millisecond, 1500*time.Millisecond)) {
			break
		}
		if err := w.Cluster.Heal(); err != nil {
			return harm, err
		}
		if !wait(ctx, between(w, 100*time.Millisecond, 1500*time.Millisecond)) {
			break
		}
	}
	return harm, nil
}

// everyLink calls do with each link between nodes, or those of one node.
func everyLink(w *World, do func(from, to host.NodeID) error) (target string, err error) {
	nodes := shuffled(w.Cluster.Nodes(), w.Rand)
	victim := host.NodeID("")
	target = "all"
	if w.Rand.IntN(2) == 0 {
		victim = nodes[0].ID()
		target = string(victim)
	}
	var errs []error
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to && (victim == "" || from.ID() == victim || to.ID() == victim) {
				errs = append(errs, do(from.ID(), to.ID()))
			}
		}
	}
	return target, errors.Join(errs...)
}

func slow(_ context.Context, w *World) (Harm, error) {
	delay := between(w, 5*time.Millisecond, 150*time.Millisecond).Round(time.Millisecond)
	jitter := delay / 2
	target, err := everyLink(w, func(from, to host.NodeID) error { return w.Cluster.Slow(from, to, delay, jitter) })
	return Harm{Target: target, Detail: fmt.Sprintf("%v ± %v each way", delay, jitter), Heal: w.Cluster.Heal}, err
}

func lossy(_ context.Context, w *World) (Harm, error) {
	percent := float64(1 + w.Rand.IntN(15))
	target, err := everyLink(w, func(from, to host.NodeID) error { return w.Cluster.Lossy(from, to, percent) })
	return Harm{Target: target, Detail: fmt.Sprintf("%g %% of packets lost each way", percent), Heal: w.Cluster.Heal}, err
}

func narrow(_ context.Context, w *World) (Harm, error) {
	nodes := shuffled(w.Cluster.Nodes(), w.Rand)
	const bytesPerSecond = 128 << 10
	harm := Harm{Target: names(nodes[:1]), Detail: fmt.Sprintf("%d KiB/s", bytesPerSecond>>10), Heal: w.Cluster.Heal}
	return harm, w.Cluster.Bandwidth(nodes[0].ID(), bytesPerSecond)
}

// between is a time that is chosen at random.
func between(w *World, low, high time.Duration) time.Duration {
	return low + time.Duration(w.Rand.Int64N(int64(high-low)+1))
}

// wait waits, and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
