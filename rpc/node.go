package rpc

import (
	"context"
	"time"

	"tidemark"
)

// Node is what rpc needs of a Raft node; FromRaft makes one of a *raftnode.Node.
// All methods are safe for concurrent use.
type Node interface {
	// Propose commits and applies one command. Its error wraps ErrNotLeader,
	// ErrOverloaded or ErrStopping (not applied), or ErrOutcomeUnknown.
	Propose(ctx context.Context, command []byte) (tidemark.Proposal, error)
	// ProposeAsync hands in a command and does not wait. Commands of one
	// goroutine enter the log in the order of its calls. A command that was
	// refused at once is Done when ProposeAsync returns.
	ProposeAsync(command []byte) Pending
	// ReadIndex returns an index that covers every write acknowledged before the call.
	ReadIndex(ctx context.Context) (uint64, error)
	// WaitApplied returns when this node has applied index, or the error of ctx.
	WaitApplied(ctx context.Context, index uint64) error
	// Staleness is how long ago this node last heard from a leader; 0 on the leader.
	Staleness() time.Duration
	// Leader is the leader that this node knows of, if any.
	Leader() (Leader, bool)
	IsLeader() bool
	// LeaderChanged returns a channel that is closed at the next change of Leader or IsLeader.
	LeaderChanged() <-chan struct{}
	// Ready is nil if the node can serve, or says why not.
	Ready() error
	Status(ctx context.Context) (Status, error)

	// These run on the leader, and return ErrNotLeader elsewhere.
	AddMember(ctx context.Context, id, raftAddress string) error
	RemoveMember(ctx context.Context, id string) error
	PromoteMember(ctx context.Context, id string) error
	// TransferLeadership hands over to the voter with the id, or to the best if
	// it is empty, and returns who leads then.
	TransferLeadership(ctx context.Context, id string) (string, error)

	// TakeSnapshot makes this node's state durable and shortens its log.
	TakeSnapshot(ctx context.Context) (index, term uint64, err error)
}

// Pending is a command that was handed in.
type Pending interface {
	// Done is closed when the outcome is known.
	Done() <-chan struct{}
	// Wait returns the outcome. Its errors are those of Node.Propose; if ctx ends
	// first the error wraps ErrOutcomeUnknown and the error of ctx.
	Wait(ctx context.Context) (tidemark.Proposal, error)
}

// Store is what rpc reads from; a *pebblestore.Store is one. Each call sees one
// consistent view. All methods are safe for concurrent use.
type Store interface {
	// Head returns ErrTimelineNotFound for a timeline that was never appended to, as do the other reads of one timeline.
	Head(tidemark.TimelineID) (tidemark.Head, error)
	Read(tidemark.Range) (tidemark.Page, error)
	// Get and GetByID return ErrMessageNotFound for a message that the timeline does not hold.
	Get(tidemark.TimelineID, tidemark.SeqID) (tidemark.Message, uint64, error)
	GetByID(tidemark.TimelineID, tidemark.MessageID) (tidemark.Message, uint64, error)
	// CursorsByTimeline pages in byte order of the readers, after one of them ("" for the start).
	CursorsByTimeline(timeline tidemark.TimelineID, readAtLeast tidemark.SeqID, after tidemark.ReaderID, limit int) (tidemark.CursorPage, error)
	CountCursors(timeline tidemark.TimelineID, readAtLeast tidemark.SeqID) (count, applied uint64, err error)
	// CursorsByReader pages in the order of the timelines' numbers, after one of them (0 for the start).
	CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (tidemark.CursorPage, error)
	Timelines(prefix string, after tidemark.TimelineID, limit int) (tidemark.TimelinePage, error)
	Applied() tidemark.Applied
}

// Leader is who leads.
type Leader struct {
	ID, RaftAddress string
	// ClientAddress is where it serves this API; empty while it is not known.
	ClientAddress string
	Term          uint64
}

// Member is one member of the cluster as a node sees it.
type Member struct {
	ID, RaftAddress, ClientAddress string
	Voter, Leader                  bool
	// Reachable says that the member answered just now; what follows is unset if not.
	Reachable    bool
	AppliedIndex uint64
	// Lag is in entries behind the leader's commit index.
	Lag     uint64
	Version string
}

// Status is what a node knows of itself and of its cluster.
type Status struct {
	NodeID, Version string
	// Role is leader, follower, candidate or stopped.
	Role                        string
	Leader                      Leader
	Term                        uint64
	CommitIndex, AppliedIndex   uint64
	FirstLogIndex, LastLogIndex uint64
	SnapshotIndex               uint64
	Members                     []Member
	LogStore                    string
}
