//go:build linux

package nemesis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"tidemark/client"
	"tidemark/jepsen/host"
)

// Lane says which nemeses must take turns.
type Lane string

// The lanes.
const (
	Processes Lane = "processes"
	Links     Lane = "links"
	Leaders   Lane = "leaders"
	Clocks    Lane = "clocks"
)

// World is what a nemesis works on. It is used by one goroutine at a time.
type World struct {
	Cluster host.Cluster
	// Operator asks for changes of members and leaders.
	Operator *client.Client
	Clients  Clients
	Rand     *rand.Rand
}

// Harm is something that was done.
type Harm struct {
	// Target names the nodes or links, Detail says what was done to them.
	Target, Detail string
	// Heal undoes it, also after ctx has ended. Nil if there is nothing to undo.
	Heal func() error
	// Outcome says, once Heal has returned, what came of it. Nil if Detail says it all.
	Outcome *string
}

// Nemesis is one way to do harm.
type Nemesis interface {
	Name() string
	Lane() Lane
	// Needs are the features of the host without which it cannot work.
	Needs() []host.Feature
	// Inject does harm. What it did before an error is undone by the Heal that it
	// returns beside the error.
	Inject(ctx context.Context, w *World) (Harm, error)
}

// named is a Nemesis by its parts.
type named struct {
	name   string
	lane   Lane
	needs  []host.Feature
	what   string
	inject func(ctx context.Context, w *World) (Harm, error)
}

func (n named) Name() string          { return n.name }
func (n named) Lane() Lane            { return n.lane }
func (n named) Needs() []host.Feature { return n.needs }

func (n named) Inject(ctx context.Context, w *World) (Harm, error) { return n.inject(ctx, w) }

// All are the nemeses, in a fixed order.
func All() []Nemesis {
	var all []Nemesis
	for _, list := range [][]named{processes(), upgrades(), links(), disks(), corruption(), members(), clocks(), scripts()} {
		for _, n := range list {
			all = append(all, n)
		}
	}
	return all
}

// Describe says in one line what a nemesis does.
func Describe(n Nemesis) string {
	if n, ok := n.(named); ok {
		return n.what
	}
	return n.Name()
}

// Mixes are names for several nemeses together.
var Mixes = map[string][]string{
	"kill":      {"kill-one", "kill-minority", "kill-majority", "kill-all", "kill-leader"},
	"pause":     {"pause-one", "pause-minority", "pause-majority", "pause-all", "pause-leader"},
	"partition": {"cut-one", "cut-minority", "cut-leader", "ring", "bridge", "one-way", "flapping"},
	"links":     {"slow", "lossy", "narrow"},
	"power":     {"power-one", "power-minority", "power-majority", "power-all", "power-leader"},
	"disk":      {"disk-full", "disk-slow", "disk-hang", "disk-failing"},
	"corrupt":   {"disk-corrupt"},
	"members":   {"transfer", "remove", "replace", "grow-shrink"},
	"clock":     {"clock-one", "clock-minority", "clock-majority", "clock-all", "clock-leader", "clock-strobe", "transfer"},
	"rolling":   {"rolling-restart", "rolling-upgrade"},
	"snapshot":  {"install"},
	"none":      {},
}

// Choose returns the nemeses with the names, each of a nemesis or a mix; "all"
// stands for all that the supports function allows. Those that it does not allow
// are an error otherwise.
func Choose(names []string, supports func(host.Feature) bool) ([]Nemesis, error) {
	able := func(n Nemesis) bool {
		return !slices.ContainsFunc(n.Needs(), func(f host.Feature) bool { return !supports(f) })
	}
	var chosen []Nemesis
	for _, name := range names {
		members, isMix := Mixes[name]
		if !isMix {
			members = []string{name}
		}
		for _, n := range All() {
			wanted := slices.Contains(members, n.Name()) || name == "all" && !onlyByName(n)
			if !wanted || slices.ContainsFunc(chosen, func(c Nemesis) bool { return c.Name() == n.Name() }) {
				continue
			}
			if !able(n) {
				if name == "all" {
					continue
				}
				return nil, fmt.Errorf("nemesis %q needs %v, which this host cannot do", n.Name(), n.Needs())
			}
			chosen = append(chosen, n)
		}
		if name != "all" && !isMix && !slices.ContainsFunc(All(), func(n Nemesis) bool { return n.Name() == name }) {
			return nil, fmt.Errorf("there is no nemesis or mix %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	return chosen, nil
}

// onlyByName reports whether a nemesis is no part of "all": the steps of scripts must
// not be disturbed, and rolling-upgrade would let an old version be judged.
func onlyByName(n Nemesis) bool {
	return slices.Contains([]string{"part-kill", "pause-kill", "usurp", "rolling-upgrade"}, n.Name())
}

// Want reports whether one of the nemeses with the names needs the feature.
func Want(names []string, feature host.Feature) bool {
	chosen, err := Choose(names, func(host.Feature) bool { return true })
	return err == nil && slices.ContainsFunc(chosen, func(n Nemesis) bool { return slices.Contains(n.Needs(), feature) })
}

// MixNames are the names of the mixes, in order.
func MixNames() []string { return slices.Sorted(maps.Keys(Mixes)) }

// Names are those of all mixes and nemeses.
func Names() []string {
	names := append([]string{"all"}, MixNames()...)
	for _, n := range All() {
		names = append(names, n.Name())
	}
	return names
}
