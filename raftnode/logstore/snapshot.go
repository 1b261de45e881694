package logstore

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// snapshotInstalled is Store.SnapshotInstalled.
func (g *log) snapshotInstalled(index, term uint64) (conflict bool, err error) {
	if durable := g.o.Durable(); durable < index {
		return false, fmt.Errorf("logstore: the state machine is durable up to %d, not up to the snapshot's %d", durable, index)
	}
	g.prune.Lock()
	defer g.prune.Unlock()
	g.write.Lock()
	defer g.write.Unlock()
	first, last := g.bounds()
	switch {
	case first == 0 || first == index+1:
		return false, g.stop.failed()
	case first > index:
		return false, fmt.Errorf("%w: snapshot at %d, log from %d to %d", ErrSnapshotTooOld, index, first, last)
	case last < index:
		g.o.Logger.Info("raft log: emptied, a snapshot reaches beyond it", "snapshot", index, "first", first, "last", last)
		return false, g.drop("delete all entries before a snapshot")
	}
	var l raft.Log
	if err := g.GetLog(index, &l); err != nil {
		return false, err
	}
	if l.Term == term {
		return false, nil
	}
	g.o.Logger.Warn("raft log: emptied, it conflicts with a snapshot",
		"snapshot", index, "snapshot_term", term, "log_term", l.Term, "first", first, "last", last)
	return true, g.drop("delete all entries, which conflict with a snapshot")
}

// reset is Store.Reset.
func (g *log) reset() error {
	g.prune.Lock()
	defer g.prune.Unlock()
	g.write.Lock()
	defer g.write.Unlock()
	_, last := g.bounds()
	if durable := g.o.Durable(); durable < last {
		return fmt.Errorf("logstore: the state machine is durable up to %d, but the log reaches %d", durable, last)
	}
	return g.drop("delete all entries")
}

// term is Store.Term.
func (g *log) term(index uint64) (uint64, bool, error) {
	var l raft.Log
	err := g.GetLog(index, &l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return 0, false, nil
	}
	return l.Term, err == nil, err
}
