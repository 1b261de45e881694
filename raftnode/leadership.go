package raftnode

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

// followLeadership opens and ends the proposer's epochs. Raft's main loop waits
// until each change is received here (the channel is unbuffered), so an epoch has
// ended before this node can lead again. Nothing here may wait for Raft.
func (n *Node) followLeadership(ready <-chan struct{}) {
	<-ready
	for {
		select {
		case leads := <-n.notify:
			if leads {
				n.elected()
			} else {
				n.proposer.end(tidemark.ErrNotLeader)
			}
			n.leader.kick()
		case <-n.raftDone:
			return
		}
	}
}

func (n *Node) elected() {
	term := n.raft.CurrentTerm()
	epoch := n.proposer.begin(term)
	n.tasks.Go(func() { n.establish(epoch, term) })
}

// retryTransferEvery is how often a leader asks whether a transfer of leadership
// that has failed is over; Raft does not tell.
const retryTransferEvery = 5 * time.Millisecond

// establish proposes the leadership's first command, and opens the epoch when it
// is applied. From then on every entry of this term up to the commit index is one
// that reaches the state machine. If that fails, this node does not lead, and the
// epoch ends: Raft may have told of it before the epoch began (a transfer that
// fails begins one too), and what waits in it would wait for ever.
func (n *Node) establish(epoch, term uint64) {
	if epoch == 0 {
		return
	}
	if !n.establishWith(epoch, term, func(l raft.Log) raft.ApplyFuture { return n.raft.ApplyLog(l, 0) }) {
		n.proposer.endEpoch(epoch, tidemark.ErrNotLeader)
		n.leader.kick()
	}
}

func (n *Node) establishWith(epoch, term uint64, apply func(raft.Log) raft.ApplyFuture) (led bool) {
	start := time.Now()
	data := sealEntry(term, n.cfg.EncodeEntry(n.cfg.Clock(), [][]byte{n.cfg.Noop}))
	for n.raft.CurrentTerm() == term {
		future := apply(raft.Log{Data: data})
		err := await(future, n.raftDone)
		switch {
		case err == nil && !future.Response().(applied).void:
			if n.proposer.open(epoch) {
				n.logger.Info("this node leads", "term", term, "after", time.Since(start))
				n.leader.kick()
			}
			return true
		case !errors.Is(err, raft.ErrLeadershipTransferInProgress):
			return false
		case time.Since(start) > n.transferLimit():
			n.cfg.Fatal(fmt.Errorf("a transfer of leadership hangs since %s, and raft refuses all writes meanwhile; "+
				"the process ends so that another node can lead: start it again", time.Since(start).Round(time.Millisecond)))
			return false
		}
		if !sleep(n.ctx, retryTransferEvery) {
			return false
		}
	}
	return false
}

// transferLimit is how long a transfer of leadership may take. Raft gives up
// after one election timeout, or two if the target was told already.
func (n *Node) transferLimit() time.Duration { return 8 * n.cfg.ElectionTimeout }

// leaderView is what this node knows of who leads.
type leaderView struct {
	mu      sync.Mutex
	current Leader
	// accepts says that this node leads and takes proposals.
	accepts bool
	changed chan struct{}
	kicked  chan struct{}
}

func newLeaderView() *leaderView {
	return &leaderView{changed: make(chan struct{}), kicked: make(chan struct{}, 1)}
}

// kick has watchLeader look again.
func (v *leaderView) kick() {
	select {
	case v.kicked <- struct{}{}:
	default:
	}
}

// update replaces the view, and says whether the leader is another one.
func (v *leaderView) update(leader Leader, accepts bool) (another bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	another = leader.ID != v.current.ID || leader.RaftAddress != v.current.RaftAddress
	if !another && leader.ClientAddress == "" {
		leader.ClientAddress = v.current.ClientAddress
	}
	if another || accepts != v.accepts || leader.ClientAddress != v.current.ClientAddress {
		close(v.changed)
		v.changed = make(chan struct{})
	}
	v.current, v.accepts = leader, accepts
	return another
}

// Leader says who leads, as far as this node knows.
func (n *Node) Leader() (Leader, bool) {
	n.leader.mu.Lock()
	defer n.leader.mu.Unlock()
	leader := n.leader.current
	leader.Term = n.raft.CurrentTerm()
	return leader, leader.ID != ""
}

// IsLeader says whether this node takes proposals. They wait in the queue until
// its leadership is established.
func (n *Node) IsLeader() bool { return n.proposer.accepts() }

// LeaderChanged is closed when what Leader or IsLeader say changes next. Take the
// channel before asking them.
func (n *Node) LeaderChanged() <-chan struct{} {
	n.leader.mu.Lock()
	defer n.leader.mu.Unlock()
	return n.leader.changed
}

// watchLeader keeps the view, and asks a new leader where its clients reach it.
func (n *Node) watchLeader() {
	observations := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	n.leader.kick()
	for {
		// Raft drops observations when the channel is full, and clears the leader
		// of a node that steps down without one; a late look finds it.
		var again <-chan time.Time
		if !n.look() {
			again = time.After(n.cfg.ProbeInterval)
		}
		select {
		case <-observations:
		case <-n.leader.kicked:
		case <-again:
		case <-n.ctx.Done():
			return
		}
	}
}

// look updates the view, and says whether nothing is missing in it.
func (n *Node) look() bool {
	address, id := n.raft.LeaderWithID()
	leader := Leader{ID: string(id), RaftAddress: string(address)}
	if leader.ID == n.cfg.NodeID {
		leader.ClientAddress = n.cfg.ClientAddress
	}
	if n.leader.update(leader, n.proposer.accepts()) {
		n.metrics.leadershipChanges.Inc()
		n.logger.Info("leader changed", "leader", leader.ID, "term", n.raft.CurrentTerm())
	}
	if leader.ID == "" {
		return false
	}
	if leader.ID == n.cfg.NodeID || n.leaderClientAddress() != "" {
		return true
	}
	info, err := n.askInfo(n.ctx, leader.ID, leader.RaftAddress)
	if err != nil || info.ClientAddress == "" {
		return false
	}
	leader.ClientAddress = info.ClientAddress
	if _, now := n.raft.LeaderWithID(); string(now) != leader.ID {
		return false
	}
	n.leader.update(leader, n.proposer.accepts())
	return true
}

func (n *Node) leaderClientAddress() string {
	n.leader.mu.Lock()
	defer n.leader.mu.Unlock()
	return n.leader.current.ClientAddress
}
