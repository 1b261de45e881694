package workload

import (
	"context"

	"tidemark/jepsen/history"
)

// probes append through SDK clients that choose their nodes themselves, so that the
// times of their acknowledgements tell when the cluster could be written to. They
// run only when asked for by name.
type probes struct{}

func (probes) Name() string { return "probe" }
func (probes) Threads() int { return 12 }

func (probes) Run(ctx context.Context, t *Thread) {
	var free []*Door
	for _, door := range t.Doors() {
		if door.Node == "" {
			free = append(free, door)
		}
	}
	t.enter(free[t.number%len(free)])
	for {
		t.appendOne(ctx, history.ViaStream, t.draft(t.Board.choose(t.rand)), nil)
		if !t.pause(ctx) {
			return
		}
	}
}
