package raftnode

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// freshness remembers up to which moment this node is known to hold everything.
type freshness struct{ at atomic.Pointer[time.Time] }

// Never is what Staleness says of a node that was never in touch.
const Never = time.Duration(math.MaxInt64)

// Staleness says how old the data of this node may be: everything that was
// acknowledged longer ago is there. It is 0 on a leader with a valid lease, and
// Never if the node has not caught up since it started.
//
// Raft's LastContact would not do: heartbeats come through while the log does not.
func (n *Node) Staleness() time.Duration {
	if n.raft.State() == raft.Leader {
		return 0
	}
	at := n.fresh.at.Load()
	if at == nil {
		return Never
	}
	return time.Since(*at)
}

// probe asks for a read index again and again. When this node has applied it, it
// holds all that was acknowledged before the question.
func (n *Node) probe() {
	for {
		if asked, ok := n.probeOnce(); ok {
			n.fresh.at.Store(&asked)
		}
		if !sleep(n.ctx, n.cfg.ProbeInterval) {
			return
		}
	}
}

func (n *Node) probeOnce() (asked time.Time, ok bool) {
	asked = time.Now()
	index, err := n.ReadIndex(n.ctx)
	if err != nil {
		return asked, false
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.PeerTimeout)
	defer cancel()
	return asked, n.WaitApplied(ctx, index) == nil
}
