package raftnode

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/peer"
)

// memberView is what this node knows of who is a member.
type memberView struct {
	raft atomic.Pointer[raft.Raft]
	// doubts has a token when a stranger was refused or the members changed.
	doubts chan struct{}

	mu sync.Mutex
	// applied is the configuration that the state machine holds.
	applied raft.Configuration
	// learned holds members that others told of. A node that was away while the
	// cluster changed must let them in, or a leader that it does not know yet could
	// never tell it.
	learned map[string]bool
}

func newMemberView(a tidemark.Applied) (*memberView, error) {
	v := &memberView{doubts: make(chan struct{}, 1)}
	if a.Index > 0 {
		c, err := decodeMembership(a.Membership)
		if err != nil {
			return nil, err
		}
		v.applied = c
	}
	return v, nil
}

// follow makes Raft's newest configuration, committed or not, the one that counts.
func (v *memberView) follow(r *raft.Raft) { v.raft.Store(r) }

// configuration returns the newest configuration that this node has.
func (v *memberView) configuration() raft.Configuration {
	if r := v.raft.Load(); r != nil {
		return r.GetConfiguration().Configuration()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.applied
}

// peers is configuration as package peer knows it.
func (v *memberView) peers() []peer.Member {
	var out []peer.Member
	for _, s := range v.configuration().Servers {
		out = append(out, peer.Member{ID: string(s.ID), RaftAddress: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return out
}

// contains says whether a node may connect: a member, or anybody while this node
// belongs to no cluster.
func (v *memberView) contains(id string) bool {
	c := v.configuration()
	if len(c.Servers) == 0 {
		return true
	}
	if _, ok := findServer(c, id); ok {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.learned[id]
}

// doubt has learn ask the members soon.
func (v *memberView) doubt() {
	select {
	case v.doubts <- struct{}{}:
	default:
	}
}

// learnEvery bounds how often strangers can make this node ask its peers.
const learnEvery = time.Second

// learn asks the members for theirs when a stranger was refused or the members changed.
func (v *memberView) learn(n *Node) func() {
	return func() {
		for {
			select {
			case <-v.doubts:
			case <-n.ctx.Done():
				return
			}
			v.believe(n.survey(n.ctx, v.configuration()), n.machine)
			if !sleep(n.ctx, learnEvery) {
				return
			}
		}
	}
}

// believe takes what the members told for learned. One that has applied less than
// this node may still count members that left, and whoever is let in is remembered
// with its data directory: a node that left could keep its id from the next one.
func (v *memberView) believe(infos map[string]peer.Info, machine StateMachine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	// Read under the lock: a removal that is applied later has replace drop who left.
	applied := machine.Applied().Index
	v.learned = map[string]bool{}
	for _, info := range infos {
		if info.AppliedIndex < applied {
			continue
		}
		for _, m := range info.Members {
			v.learned[m.ID] = true
		}
	}
}

// sleep waits, and says whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// replace records the configuration that was applied, and returns who left.
func (v *memberView) replace(c raft.Configuration) (left []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.applied.Servers {
		if _, ok := findServer(c, string(s.ID)); !ok {
			left = append(left, string(s.ID))
			delete(v.learned, string(s.ID))
		}
	}
	v.applied = c
	return left
}

// membershipApplied forgets the members that left: their ids are free for new
// nodes. It runs on every node, when the change is applied.
func (n *Node) membershipApplied(c raft.Configuration) {
	for _, id := range n.members.replace(c) {
		if id == n.cfg.NodeID {
			n.logger.Warn("this node was removed from the cluster: stop it, and empty its data directory before it joins again")
			continue
		}
		if err := n.registry.Forget(id); err != nil {
			n.logger.Error("cannot forget a removed member; a node that takes its id will be refused here", "peer", id, "error", err)
		}
		n.clients.Remove(id)
		n.mux.Disconnect(id)
		n.logger.Info("member removed", "peer", id)
	}
	n.members.doubt()
	n.leader.kick()
}

// forgetStrangers forgets who is no member when the node starts: a crash may have
// come between a removal and membershipApplied.
func (n *Node) forgetStrangers() error {
	c := n.members.applied
	if len(c.Servers) == 0 {
		return nil // which members there are is not known yet
	}
	return n.registry.Keep(func(id string) bool {
		_, member := findServer(c, id)
		return member
	})
}

// membershipMissed forgets the data directories of all members, since one of them
// may have left and come back with another: only the log tells of that, and a
// snapshot takes the log's place. It runs before the snapshot is the state, so that
// a crash cannot leave the new members with what was known of the old ones. Those
// that have not changed are met again within a second.
func (n *Node) membershipMissed(c raft.Configuration) {
	for _, s := range c.Servers {
		if err := n.registry.Forget(string(s.ID)); err != nil {
			n.logger.Error("cannot forget a member that may have been replaced; if it was, it will be refused here", "peer", s.ID, "error", err)
		}
	}
}

// notMember is why a node that no configuration names cannot serve.
func (n *Node) notMember() error {
	c := n.members.configuration()
	if len(c.Servers) == 0 {
		return fmt.Errorf("%w: this node waits to be added to a cluster", tidemark.ErrNoLeader)
	}
	if _, ok := findServer(c, n.cfg.NodeID); !ok {
		return fmt.Errorf("%w: this node is not a member of the cluster any more", tidemark.ErrNoLeader)
	}
	return nil
}
