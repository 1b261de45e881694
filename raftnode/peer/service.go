package peer

import (
	"context"

	"google.golang.org/grpc"
)

// Service is what a node answers to its peers. Errors that wrap
// tidemark.ErrNotLeader, ErrNoLeader, ErrStopping, ErrOverloaded or
// ErrNotCaughtUp arrive as the same on the other side.
type Service interface {
	// Term returns the current Raft term. It must not be served from a cache.
	Term(ctx context.Context) (uint64, error)
	// ReadIndex returns an index that covers every write acknowledged before the
	// call, and the leader's term. Only a leader answers it, others with
	// tidemark.ErrNotLeader: a call is never passed on, so it never loops.
	ReadIndex(ctx context.Context) (index, term uint64, err error)
	// Info describes the node.
	Info(ctx context.Context) (Info, error)
}

// Info describes a node at one moment.
type Info struct {
	NodeID, ClientAddress, HTTPAddress, Version string
	Term, AppliedIndex, CommitIndex, LastIndex  uint64
	// Role is leader, follower, candidate or stopped.
	Role     string
	LeaderID string
	// NotServingReason is empty if the node can serve.
	NotServingReason string
	// Members is the node's latest configuration.
	Members []Member
}

// Member is one server of a configuration.
type Member struct {
	ID, RaftAddress string
	Voter           bool
}

// NewServer starts a gRPC server for svc on m's peer connections. Stop it before
// closing m.
func NewServer(m *Mux, svc Service) *grpc.Server { return nil }
