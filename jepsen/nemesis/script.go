//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark/jepsen/host"
)

// scripts are exact in what they do one after the other, and so run alone, not as part
// of "all". The first two find acknowledgements that came before a majority had fsynced.
func scripts() []named {
	return []named{
		{name: "part-kill", lane: Processes, needs: []host.Feature{host.FeatureCut},
			what:   "a minority is cut off; one of the majority loses power; then it and the stale minority are the majority",
			inject: partKill},
		{name: "pause-kill", lane: Processes,
			what:   "a minority is paused; one of the majority loses power; then it and the stale minority are the majority, the others being paused",
			inject: pauseKill},
		{name: "usurp", lane: Processes, needs: []host.Feature{host.FeatureCut},
			what:   "a node is elected without the leader knowing, which learns of that by a heartbeat alone, and is written to",
			inject: usurp},
	}
}

// roles are who does what in a script: the minority misses writes; the victim, one of
// the rest, crashes; then minority and victim are a majority, without the others.
type roles struct {
	minority, others []host.Node
	victim           host.Node
}

func cast(w *World) (roles, error) {
	nodes := shuffled(w.Cluster.Nodes(), w.Rand)
	if len(nodes) < 3 {
		return roles{}, fmt.Errorf("needs three nodes; there are %d", len(nodes))
	}
	k := (len(nodes) - 1) / 2
	return roles{minority: nodes[:k], victim: nodes[k], others: nodes[k+1:]}, nil
}

// crash takes the victim's power, or kills it where there is no disk to lose
// anything of.
func (r roles) crash(w *World) (string, error) {
	if r.victim.Disk() == nil {
		return "SIGKILL", w.Cluster.Kill(r.victim.ID())
	}
	return cutPower(w, []host.Node{r.victim})
}

// writing is how long clients write in each act.
func writing(w *World) time.Duration { return between(w, 1500*time.Millisecond, 3*time.Second) }

func partKill(ctx context.Context, w *World) (Harm, error) {
	r, err := cast(w)
	if err != nil {
		return Harm{}, err
	}
	harm := Harm{
		Target: fmt.Sprintf("minority %s, victim %s", names(r.minority), r.victim.ID()),
		Heal:   func() error { return errors.Join(w.Cluster.Heal(), startAll([]host.Node{r.victim})) },
	}
	rest := append(ids(r.others), r.victim.ID())
	if err := w.Cluster.Partition(ids(r.minority), rest); err != nil || !wait(ctx, writing(w)) {
		return harm, err
	}
	if harm.Detail, err = r.crash(w); err != nil {
		return harm, err
	}
	if err := w.Cluster.Partition(append(ids(r.minority), r.victim.ID()), ids(r.others)); err != nil {
		return harm, err
	}
	if err := r.victim.Start(); err != nil {
		return harm, err
	}
	wait(ctx, writing(w)+2*time.Second)
	return harm, nil
}

func pauseKill(ctx context.Context, w *World) (Harm, error) {
	r, err := cast(w)
	if err != nil {
		return Harm{}, err
	}
	harm := Harm{
		Target: fmt.Sprintf("minority %s, victim %s", names(r.minority), r.victim.ID()),
		Heal:   func() error { return startAll(w.Cluster.Nodes()) },
	}
	if err := pauseAll(r.minority); err != nil || !wait(ctx, writing(w)) {
		return harm, err
	}
	if harm.Detail, err = r.crash(w); err != nil {
		return harm, err
	}
	if err := pauseAll(r.others); err != nil {
		return harm, err
	}
	if err := startAll(append(r.minority, r.victim)); err != nil {
		return harm, err
	}
	wait(ctx, writing(w)+2*time.Second)
	return harm, nil
}

func pauseAll(nodes []host.Node) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.Pause())
	}
	return errors.Join(errs...)
}
