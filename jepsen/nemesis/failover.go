//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tidemark/jepsen/disk"
	"tidemark/jepsen/host"
)

// Failovers are the ways in which a cluster loses its leader, each of the leader and
// of nobody else, in a fixed order. They serve to measure how long nothing can be
// appended, and are not part of any mix.
func Failovers() []Nemesis {
	var all []Nemesis
	for _, n := range All() {
		if n.Name() == "kill-leader" || n.Name() == "pause-leader" {
			all = append(all, n)
		}
	}
	return append(all,
		named{name: "disk-hang-leader", lane: Processes, needs: []host.Feature{host.FeatureDisk},
			what: "fsync of the leader does not return", inject: hangLeader},
		named{name: "mute-leader", lane: Links, needs: []host.Feature{host.FeatureCut},
			what:   "the leader is not heard by the others, and hears them",
			inject: cutLeaderOneWay(func(leader, other host.NodeID) (from, to host.NodeID) { return leader, other })},
		named{name: "deaf-leader", lane: Links, needs: []host.Feature{host.FeatureCut},
			what:   "the leader hears none of the others, and is heard by them",
			inject: cutLeaderOneWay(func(leader, other host.NodeID) (from, to host.NodeID) { return other, leader })},
	)
}

// ChooseFailovers returns those with the names. One that the supports function does
// not allow is an error.
func ChooseFailovers(names []string, supports func(host.Feature) bool) ([]Nemesis, error) {
	var chosen []Nemesis
	for _, name := range names {
		i := slices.IndexFunc(Failovers(), func(n Nemesis) bool { return n.Name() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no failover %q; there are %s", name, strings.Join(FailoverNames(), ", "))
		}
		n := Failovers()[i]
		for _, feature := range n.Needs() {
			if !supports(feature) {
				return nil, fmt.Errorf("failover %q needs %s, which this host cannot do", name, feature)
			}
		}
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// FailoverNames are the names of Failovers.
func FailoverNames() []string {
	var names []string
	for _, n := range Failovers() {
		names = append(names, n.Name())
	}
	return names
}

func hangLeader(ctx context.Context, w *World) (Harm, error) {
	leader, ok := w.Cluster.Leader(ctx)
	if !ok {
		return Harm{}, errNoLeader
	}
	control, err := controlOf(leader)
	if err != nil {
		return Harm{}, err
	}
	_, err = control.Stall(disk.Rule{Ops: disk.OpsSync}, 0)
	return Harm{Target: string(leader.ID()), Detail: "fsync hangs", Heal: func() error {
		control.Heal()
		return settle(leader)
	}}, err
}

// cutLeaderOneWay cuts one direction of each of the leader's links.
func cutLeaderOneWay(direction func(leader, other host.NodeID) (from, to host.NodeID)) func(context.Context, *World) (Harm, error) {
	return func(ctx context.Context, w *World) (Harm, error) {
		leader, ok := w.Cluster.Leader(ctx)
		if !ok {
			return Harm{}, errNoLeader
		}
		var errs []error
		for _, n := range w.Cluster.Nodes() {
			if n.ID() != leader.ID() {
				from, to := direction(leader.ID(), n.ID())
				errs = append(errs, w.Cluster.Cut(from, to, true))
			}
		}
		return Harm{Target: string(leader.ID()), Detail: "cut off in one direction", Heal: w.Cluster.Heal}, errors.Join(errs...)
	}
}
