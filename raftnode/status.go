package raftnode

import "time"

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
