package raftnode

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

// Leader says who leads.
type Leader struct {
	ID, RaftAddress string
	// ClientAddress is empty until the leader has been asked for it.
	ClientAddress string
	// Term is this node's at the time of the answer.
	Term uint64
}

// Member is one member of the cluster, as this node sees it.
type Member struct {
	ID, RaftAddress string
	// Voter is false for a member that only receives the log.
	Voter, Leader bool
	// Reachable says that the member answered just now; what follows is unset otherwise.
	Reachable                           bool
	ClientAddress, HTTPAddress, Version string
	AppliedIndex, LastLogIndex          uint64
	// Lag counts the entries from AppliedIndex to the commit index that this node knows.
	Lag uint64
}

// Status is how a node is, and how the cluster looks from it.
type Status struct {
	NodeID, Version string
	// Role is leader, follower, candidate or stopped.
	Role   string
	Leader Leader
	Term   uint64
	// CommitIndex is the last index that is known to be committed, AppliedIndex
	// the last that the state machine holds. No-op entries never reach it, so
	// AppliedIndex can stay one below for a moment after an election.
	CommitIndex, AppliedIndex   uint64
	FirstLogIndex, LastLogIndex uint64
	// SnapshotIndex is the applied index that a crash cannot take back.
	SnapshotIndex uint64
	Members       []Member
	StartedAt     time.Time
	// NotServing says why the node cannot serve; nil if it can.
	NotServing error
	LogStore   string
}

// Peer is a member for Recover.
type Peer struct {
	ID, Address string
	NonVoter    bool
}

// role is what Status and Info call Raft's state.
func (n *Node) role() string {
	if state := n.raft.State(); state != raft.Shutdown {
		return strings.ToLower(state.String())
	}
	return "stopped"
}

// Ready is nil if the node can serve: it knows a leader, and it has caught up, once
// since it started, with all that was committed then. The error wraps
// tidemark.ErrStopping, ErrNoLeader or ErrNotCaughtUp.
func (n *Node) Ready() error {
	if n.stopping.Load() {
		return tidemark.ErrStopping
	}
	if err := n.notMember(); err != nil {
		return err
	}
	if _, id := n.raft.LeaderWithID(); id == "" {
		return tidemark.ErrNoLeader
	}
	if n.fresh.last.Load() == nil {
		return tidemark.ErrNotCaughtUp
	}
	return nil
}

// statusPatience is how long Status waits for members that do not answer. It is
// less than the second that a client gives a node that it asks for the leader, and
// much more than a member that is well takes.
const statusPatience = 500 * time.Millisecond

// Status reports how the node is, and asks the other members. It returns within
// half a second or when ctx ends; members that have not answered then are not
// reachable.
func (n *Node) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	leader, _ := n.Leader()
	s := Status{
		NodeID: n.cfg.NodeID, Version: n.cfg.Version, Role: n.role(), Leader: leader,
		Term: n.raft.CurrentTerm(), CommitIndex: n.raft.CommitIndex(), AppliedIndex: n.machine.Applied().Index,
		FirstLogIndex: n.logs.FirstIndex(), LastLogIndex: n.raft.LastIndex(), SnapshotIndex: n.machine.DurableIndex(),
		StartedAt: n.started, NotServing: n.Ready(), LogStore: string(n.cfg.LogStore),
	}
	c := n.members.configuration()
	infos := n.survey(ctx, c)
	for _, server := range c.Servers {
		m := Member{
			ID: string(server.ID), RaftAddress: string(server.Address),
			Voter: server.Suffrage == raft.Voter, Leader: string(server.ID) == leader.ID,
		}
		if m.ID == n.cfg.NodeID {
			m.Reachable, m.ClientAddress, m.HTTPAddress, m.Version = true, n.cfg.ClientAddress, n.cfg.HTTPAddress, n.cfg.Version
			m.AppliedIndex, m.LastLogIndex = s.AppliedIndex, s.LastLogIndex
		} else if info, ok := infos[m.ID]; ok {
			m.Reachable, m.ClientAddress, m.HTTPAddress, m.Version = true, info.ClientAddress, info.HTTPAddress, info.Version
			m.AppliedIndex, m.LastLogIndex = info.AppliedIndex, info.LastIndex
		}
		if m.Reachable && s.CommitIndex > m.AppliedIndex {
			m.Lag = s.CommitIndex - m.AppliedIndex
		}
		s.Members = append(s.Members, m)
	}
	return s
}

// checkPeers refuses a membership that no cluster can have.
func checkPeers(peers []Peer) (c raft.Configuration, err error) {
	ids, addresses, votes := map[string]bool{}, map[string]bool{}, 0
	for _, p := range peers {
		switch {
		case p.ID == "" || p.Address == "":
			return c, tidemark.Invalid("peers", "has an empty id or address")
		case ids[p.ID]:
			return c, tidemark.Invalid("peers", "names %s twice", p.ID)
		case addresses[p.Address]:
			return c, tidemark.Invalid("peers", "gives the address %s twice", p.Address)
		}
		ids[p.ID], addresses[p.Address] = true, true
		suffrage := raft.Nonvoter
		if !p.NonVoter {
			suffrage = raft.Voter
			votes++
		}
		c.Servers = append(c.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	if votes == 0 {
		return c, errors.Join(tidemark.ErrMembershipUnsafe, tidemark.Invalid("peers", "names no voter"))
	}
	return c, nil
}
