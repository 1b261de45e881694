//go:build linux

package run

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
	"tidemark/jepsen/nemesis"
)

// troubles are anomalies that no client sees: a node that ended by itself, or did
// not come back.
type troubles struct {
	mu   sync.Mutex
	list []checker.Anomaly
	// ended are the processes that ended without being asked.
	ended []ending
}

type ending struct {
	node host.NodeID
	exit host.Exit
}

// note adds an anomaly unless err is nil.
func (t *troubles) note(name, where string, err error) {
	if err == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, checker.Anomaly{Checker: name, Summary: fmt.Sprintf("%s: %v", where, err)})
}

// exits notes which processes ended without being asked.
func (t *troubles) exits(r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range append(r.host.Removed(), r.host.Nodes()...) {
		for _, exit := range n.Exits() {
			if !exit.Asked {
				t.ended = append(t.ended, ending{n.ID(), exit})
			}
		}
	}
}

// endingPatience is how long after a disk was healed its node may still end for
// what was done to it: its watch over a call that hangs goes off late.
const endingPatience = 15 * time.Second

// anomalies are what the run itself found, once the faults are known.
func (t *troubles) anomalies(h *history.History) []checker.Anomaly {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.list
	for _, e := range t.ended {
		at := e.exit.Ended.Sub(h.Meta.Started)
		if excused(h.Faults, e, at) {
			continue
		}
		list = append(list, checker.Anomaly{
			Checker: "unexpected-exit",
			Summary: fmt.Sprintf("%s ended by itself after %v, with exit status %d; see %s", e.node, at.Round(time.Millisecond), e.exit.Status, e.exit.LogPath),
		})
	}
	return list
}

// excused reports whether a node was allowed to end so at that time.
func excused(faults []history.Fault, e ending, at time.Duration) bool {
	for _, f := range faults {
		targeted := slices.Contains(strings.Fields(f.Target), string(e.node))
		if nemesis.MayEnd(f.Name, e.exit.Status) && targeted && at >= f.From && (f.To == history.NeverHealed || at <= f.To+endingPatience) {
			return true
		}
	}
	return false
}
