//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"tidemark/jepsen/host"
)

func clocks() []named {
	needs := []host.Feature{host.FeatureClock}
	var all []named
	for _, c := range choosers() {
		all = append(all, named{name: "clock-" + c.who, lane: Clocks, needs: needs,
			what:   "the clock of " + c.who + " steps by milliseconds to hours, each by its own; stepped back when healed",
			inject: func(ctx context.Context, w *World) (Harm, error) { return stepClocks(ctx, w, c) }})
	}
	return append(all, named{name: "clock-strobe", lane: Clocks, needs: needs,
		what: "the clocks of all step forth and back, over and over", inject: strobeClocks})
}

// The smallest and the largest step of a clock.
const (
	leastStep = time.Millisecond
	mostStep  = 6 * time.Hour
)

// step is a time by which a clock is wrong, ahead or behind. Each order of magnitude
// is as likely as any other.
func step(w *World) time.Duration {
	spread := math.Log(float64(mostStep) / float64(leastStep))
	d := time.Duration(float64(leastStep) * math.Exp(w.Rand.Float64()*spread)).Round(time.Millisecond)
	if w.Rand.IntN(2) == 0 {
		return -d
	}
	return d
}

func stepClocks(ctx context.Context, w *World, c chooser) (Harm, error) {
	nodes, err := c.pick(ctx, w)
	if err != nil {
		return Harm{}, err
	}
	harm := Harm{Target: names(nodes), Heal: func() error { return setClocks(nodes, 0) }}
	var steps []string
	for _, n := range nodes {
		offset := step(w)
		if err := n.SetClock(offset); err != nil {
			return harm, err
		}
		steps = append(steps, fmt.Sprintf("%s by %v", n.ID(), offset))
	}
	harm.Detail = strings.Join(steps, ", ")
	return harm, nil
}

// strobeClocks lets all clocks step forth and back by the same offset, each time
// longer than a node takes to notice.
func strobeClocks(ctx context.Context, w *World) (Harm, error) {
	nodes := w.Cluster.Nodes()
	offset, times := step(w), 5+w.Rand.IntN(10)
	harm := Harm{
		Target: names(nodes), Detail: fmt.Sprintf("by %v and back %d times", offset, times),
		Heal: func() error { return setClocks(nodes, 0) },
	}
	for range times {
		for _, off := range []time.Duration{offset, 0} {
			if err := setClocks(nodes, off); err != nil {
				return harm, err
			}
			if !wait(ctx, between(w, 60*time.Millisecond, 300*time.Millisecond)) {
				return harm, nil
			}
		}
	}
	return harm, nil
}

func setClocks(nodes []host.Node, offset time.Duration) error {
	var errs []error
	for _, n := range nodes {
		errs = append(errs, n.SetClock(offset))
	}
	return errors.Join(errs...)
}
