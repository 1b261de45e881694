package raftnode

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"tidemark/internal/planted"
)

// freshness remembers up to which moment this node is known to hold everything.
type freshness struct{ last atomic.Pointer[freshAt] }

// freshAt is a moment, and the term of the leader that confirmed it.
type freshAt struct {
	at   time.Time
	term uint64
}

// Never is what Staleness says of a node that was never in touch.
const Never = time.Duration(math.MaxInt64)

// Staleness says how old the data of this node may be: everything that was
// acknowledged longer ago is there, and everything that a linearizable read showed.
// It is 0 on a leader that a majority confirmed within half a lease and that has
// applied all that is committed, and Never if the node has not caught up since it
// started.
//
// A leader may apply later than its followers, which then show what it has not. That
// Raft calls this node the leader would not do either: one that was just elected may
// not have applied yet what was acknowledged before, and one that is cut off or was
// paused has a successor before it knows. Nor would Raft's LastContact: heartbeats
// come through while the log does not.
func (n *Node) Staleness() time.Duration {
	fresh := n.fresh.last.Load()
	if fresh == nil {
		return Never
	}
	age := time.Since(fresh.at)
	// Only the leader of a term confirms anything in it. No node shows an entry before
	// its leader has committed it.
	if age < n.cfg.LeaderLeaseTimeout/2 && n.leads(fresh.term) && n.machine.Applied().Index >= n.raft.CommitIndex() {
		return 0
	}
	return age
}

// probe asks for a read index again and again. When this node has applied it, it
// holds all that was acknowledged before the question.
func (n *Node) probe() {
	for {
		if fresh, ok := n.probeOnce(); ok {
			n.fresh.last.Store(&fresh)
		}
		if !sleep(n.ctx, n.cfg.ProbeInterval) {
			return
		}
	}
}

func (n *Node) probeOnce() (fresh freshAt, ok bool) {
	asked := time.Now()
	point, err := n.readIndex(n.ctx)
	if err != nil {
		return fresh, false
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.PeerTimeout)
	defer cancel()
	err = n.WaitApplied(ctx, point.index)
	if planted.Is(planted.FreshOnArrival) {
		asked = time.Now()
	}
	return freshAt{asked, point.term}, err == nil
}
