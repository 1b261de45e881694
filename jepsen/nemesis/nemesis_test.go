//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
)

func everything(host.Feature) bool { return true }
func nothing(host.Feature) bool    { return false }

func TestChoose(t *testing.T) {
	names := func(list []Nemesis) (out []string) {
		for _, n := range list {
			out = append(out, n.Name())
		}
		return out
	}
	chosen, err := Choose([]string{"kill", "kill-one", "slow"}, everything)
	if err != nil || len(chosen) != len(Mixes["kill"])+1 {
		t.Errorf("kill and slow are %v (%v)", names(chosen), err)
	}
	all, err := Choose([]string{"all"}, everything)
	if err != nil || slices.ContainsFunc(all, onlyByName) || len(all) != len(All())-4 {
		t.Errorf("all are %v (%v)", names(all), err)
	}
	few, err := Choose([]string{"all"}, nothing)
	if err != nil || len(few) == 0 || slices.ContainsFunc(few, func(n Nemesis) bool { return len(n.Needs()) > 0 }) {
		t.Errorf("all on a host that can do nothing are %v (%v)", names(few), err)
	}
	if _, err := Choose([]string{"power"}, nothing); err == nil || !strings.Contains(err.Error(), "power-one") {
		t.Errorf("power without disks: %v", err)
	}
	if _, err := Choose([]string{"earthquake"}, everything); err == nil || !strings.Contains(err.Error(), "earthquake") {
		t.Errorf("an unknown nemesis: %v", err)
	}
	for mix, members := range Mixes {
		for _, name := range members {
			if !slices.ContainsFunc(All(), func(n Nemesis) bool { return n.Name() == name }) {
				t.Errorf("mix %s has %q, which is no nemesis", mix, name)
			}
		}
	}
}

// Each node of a ring sees a majority, and no two see the same.
func TestRingOfMajorities(t *testing.T) {
	for _, n := range []int{3, 5, 7} {
		var nodes []host.NodeID
		for i := range n {
			nodes = append(nodes, host.NodeID(fmt.Sprintf("n%d", i+1)))
		}
		views := map[string]bool{}
		for _, node := range nodes {
			sees := map[host.NodeID]bool{node: true}
			for _, group := range ring(nodes) {
				if slices.Contains(group, node) {
					for _, other := range group {
						sees[other] = true
					}
				}
			}
			if len(sees) <= n/2 {
				t.Errorf("of %d nodes %s sees only %d", n, node, len(sees))
			}
			views[fmt.Sprint(sees)] = true
		}
		if len(views) != n {
			t.Errorf("%d nodes have %d views", n, len(views))
		}
	}
}

// cluster is a Cluster that notes what is done to it.
type cluster struct {
	host.Cluster
	nodes []host.Node
	mu    sync.Mutex
	done  []string
}

func newCluster(n int) *cluster {
	c := &cluster{}
	for i := range n {
		c.nodes = append(c.nodes, &node{c: c, id: host.NodeID(fmt.Sprintf("n%d", i+1)), running: true})
	}
	return c
}

func (c *cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = append(c.done, fmt.Sprintf(format, args...))
}

func (c *cluster) Nodes() []host.Node                       { return slices.Clone(c.nodes) }
func (c *cluster) Leader(context.Context) (host.Node, bool) { return c.nodes[0], true }
func (c *cluster) Heal() error                              { c.note("heal"); return nil }
func (c *cluster) Partition(groups ...[]host.NodeID) error {
	c.note("partition %v", groups)
	return nil
}
func (c *cluster) Cut(from, to host.NodeID, oneWay bool) error {
	c.note("cut %s %s %v", from, to, oneWay)
	return nil
}
func (c *cluster) Kill(ids ...host.NodeID) error {
	for _, n := range c.nodes {
		if slices.Contains(ids, n.ID()) {
			n.(*node).running = false
		}
	}
	c.note("kill %v", ids)
	return nil
}

type node struct {
	host.Node
	c        *cluster
	id       host.NodeID
	running  bool
	paused   bool
	upgraded bool
	clock    time.Duration
}

func (n *node) ID() host.NodeID { return n.id }
func (n *node) Disk() host.Disk { return nil }
func (n *node) Running() bool   { return n.running }
func (n *node) Start() error    { n.running = true; n.c.note("start %s", n.id); return nil }
func (n *node) Pause() error    { n.paused = true; n.c.note("pause %s", n.id); return nil }
func (n *node) Outdated() bool  { return !n.upgraded }
func (n *node) Upgrade()        { n.upgraded = true; n.c.note("upgrade %s", n.id) }
func (n *node) Terminate(context.Context) error {
	n.running = false
	n.c.note("terminate %s", n.id)
	return nil
}
func (n *node) WaitReady(context.Context) error { n.c.note("ready %s", n.id); return nil }
func (n *node) SetClock(offset time.Duration) error {
	n.clock = offset
	n.c.note("clock %s %v", n.id, offset)
	return nil
}
func (n *node) Resume() error { n.paused = false; n.c.note("resume %s", n.id); return nil }

// play runs nemeses for a minute of virtual time.
func play(t *testing.T, seed uint64, names ...string) (*cluster, []history.Fault) {
	t.Helper()
	c := newCluster(5)
	var faults []history.Fault
	synctest.Test(t, func(t *testing.T) {
		nemeses, err := Choose(names, everything)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		var mu sync.Mutex
		s := Schedule{
			Cluster: c, Nemeses: nemeses, Seed: seed, Calm: time.Second, Hold: 2 * time.Second,
			Now:   func() time.Duration { return time.Since(begun) },
			Begun: func(history.Fault) {},
			Ended: func(f history.Fault) {
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, f)
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return c, faults
}

// After a schedule nothing is left: all nodes run, none is paused, links are healed.
func TestAScheduleHealsWhatItInjects(t *testing.T) {
	c, faults := play(t, 1, "kill", "pause", "partition")
	for _, n := range c.nodes {
		if n := n.(*node); !n.running || n.paused {
			t.Errorf("%s: running %v, paused %v", n.id, n.running, n.paused)
		}
	}
	if i := slices.IndexFunc(c.done, func(s string) bool { return strings.HasPrefix(s, "partition") }); i < 0 {
		t.Error("there was no partition")
	}
	last := ""
	for _, done := range c.done {
		if strings.HasPrefix(done, "partition") || strings.HasPrefix(done, "cut") || done == "heal" {
			last = done
		}
	}
	if last != "heal" {
		t.Errorf("the last thing done to links is %q", last)
	}
	seen := map[string]bool{}
	for _, f := range faults {
		seen[f.Name] = true
		if f.To < f.From || f.Target == "" {
			t.Errorf("fault %+v", f)
		}
	}
	// In a minute each nemesis of both lanes has its turn at least once.
	for _, mix := range []string{"kill", "pause", "partition"} {
		for _, name := range Mixes[mix] {
			if !seen[name] {
				t.Errorf("%s never came", name)
			}
		}
	}
}

func TestTheSameSeedDoesTheSame(t *testing.T) {
	_, one := play(t, 7, "kill")
	_, two := play(t, 7, "kill")
	_, other := play(t, 8, "kill")
	if !slices.Equal(one, two) {
		t.Errorf("seed 7 did\n%v\nand\n%v", one, two)
	}
	if slices.Equal(one, other) {
		t.Error("seeds 7 and 8 did the same")
	}
}

func TestScriptsFollowTheirOrder(t *testing.T) {
	for _, name := range []string{"part-kill", "pause-kill"} {
		c, faults := play(t, 3, name)
		if len(faults) < 2 {
			t.Fatalf("%s came %d times", name, len(faults))
		}
		kills := 0
		for _, done := range c.done {
			if strings.HasPrefix(done, "kill") {
				kills++
			}
		}
		if kills < len(faults)-1 {
			t.Errorf("%s: %d faults and %d kills: %v", name, len(faults), kills, c.done)
		}
		for _, n := range c.nodes {
			if n := n.(*node); !n.running || n.paused {
				t.Errorf("after %s %s: running %v, paused %v", name, n.id, n.running, n.paused)
			}
		}
	}
}

// A harm that could not be done is on record, with the reason.
func TestWhatCouldNotBeDoneIsToldAndNotHeld(t *testing.T) {
	cause := errors.New("no such link")
	var ended []history.Fault
	synctest.Test(t, func(t *testing.T) {
		s := Schedule{Now: func() time.Duration { return 0 }, Begun: func(history.Fault) {}, Ended: func(f history.Fault) { ended = append(ended, f) }}
		begun := time.Now()
		broken := named{name: "broken", inject: func(context.Context, *World) (Harm, error) { return Harm{Target: "n1"}, cause }}
		if err := s.once(t.Context(), &World{}, broken, time.Hour); err != nil {
			t.Error(err)
		}
		if time.Since(begun) != 0 {
			t.Error("a harm that was not done was held")
		}
	})
	if len(ended) != 1 || !strings.Contains(ended[0].Detail, cause.Error()) {
		t.Errorf("faults are %+v", ended)
	}
}
