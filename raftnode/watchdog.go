package raftnode

import (
	"time"

	"github.com/hashicorp/raft"

	"tidemark/raftnode/peer"
)

// stalledAfter is how many looks in a row a follower's log may stand still before
// the node says so.
const stalledAfter = 3

// watchFollowers looks, on a leader, for members that answer while their log does
// not follow: replication to them is wedged (hashicorp/raft #612), which Raft
// itself never notices. MaxRPCsInFlight 1 avoids the known way into it; this tells
// of an unknown one.
func (n *Node) watchFollowers() {
	var watch followerWatch
	every := time.NewTicker(max(5*time.Second, 2*n.cfg.HeartbeatTimeout))
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-n.ctx.Done():
			return
		}
		if n.raft.State() != raft.Leader || n.snapshots.sending() {
			watch = followerWatch{}
			n.metrics.stalledFollowers.Reset()
			continue
		}
		last := n.raft.LastIndex()
		for id, stalled := range watch.look(last, n.survey(n.ctx, n.members.configuration())) {
			value := 0.0
			if stalled {
				value = 1
				n.logger.Error("a member answers, but its log does not follow; restart it, and this node if that does not help",
					"peer", id, "its_last_index", watch.seen[id].last, "last_index", last)
			}
			n.metrics.stalledFollowers.WithLabelValues(id).Set(value)
		}
	}
}

// followerWatch remembers how far each follower's log had come.
type followerWatch struct{ seen map[string]followerSeen }

type followerSeen struct {
	last uint64
	// stood counts the looks in a row that found the log at last, and the leader's beyond it.
	stood int
}

// look compares the followers with the look before, and says of each whether it is
// stalled. leaderLast is the end of the leader's log before they were asked.
func (w *followerWatch) look(leaderLast uint64, infos map[string]peer.Info) map[string]bool {
	stalled := map[string]bool{}
	next := map[string]followerSeen{}
	for id, info := range infos {
		now := followerSeen{last: info.LastIndex}
		if before, ok := w.seen[id]; ok && before.last == info.LastIndex && info.LastIndex < leaderLast {
			now.stood = before.stood + 1
		}
		next[id] = now
		stalled[id] = now.stood >= stalledAfter
	}
	w.seen = next
	return stalled
}
