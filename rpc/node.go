package rpc

import (
	"context"
	"time"

	"tidemark"
	"tidemark/raftnode"
)

// Node is what rpc needs of a Raft node; FromRaft makes one of a *raftnode.Node.
// All methods are safe for concurrent use.
type Node interface {
	// Propose commits and applies one command. Its error wraps ErrNotLeader,
	// ErrOverloaded or ErrStopping (not applied), or ErrOutcomeUnknown.
	Propose(ctx context.Context, command []byte) (tidemark.Proposal, error)
	// NewPipeline returns a pipeline for proposals of which none may overtake
	// another. It needs no closing.
	NewPipeline() Pipeline
	// ReadIndex returns an index that covers every write acknowledged before the call.
	ReadIndex(ctx context.Context) (uint64, error)
	// WaitApplied returns when this node has applied index, or the error of ctx.
	WaitApplied(ctx context.Context, index uint64) error
	// Staleness is how long ago this node last heard from a leader; 0 on the leader.
	Staleness() time.Duration
	// Leader is the leader that this node knows of, if any.
	Leader() (raftnode.Leader, bool)
	IsLeader() bool
	// LeaderChanged returns a channel that is closed at the next change of Leader or IsLeader.
	LeaderChanged() <-chan struct{}
	// Ready is nil if the node can serve, or says why not.
	Ready() error
	Status(ctx context.Context) raftnode.Status

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

// Pipeline proposes commands of one caller in order: after one that is not applied,
// no later one is, so a caller that retries what failed keeps its order.
type Pipeline interface {
	// ProposeAsync hands in a command, which must not be changed until it is
	// Done, and does not wait. A command that is refused at once is Done when
	// ProposeAsync returns.
	ProposeAsync(command []byte) Pending
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
	// GetHead returns the head and an applied index that covers it, or ErrTimelineNotFound
	// if there is no such timeline, as do the other reads of one timeline.
	GetHead(tidemark.TimelineID) (tidemark.Head, uint64, error)
	Read(tidemark.Range) (tidemark.Page, error)
	// Pull returns what is new in many timelines.
	Pull(tidemark.Pull) (tidemark.PullPage, error)
	// Digests returns those of messages in rising order, as far as the timeline goes.
	Digests(tidemark.TimelineID, []tidemark.SeqID) ([]tidemark.Digest, tidemark.Head, uint64, error)
	// Get and GetByID return ErrMessageNotFound for a message that the timeline does not hold.
	Get(tidemark.TimelineID, tidemark.SeqID) (tidemark.Message, uint64, error)
	GetByID(tidemark.TimelineID, tidemark.MessageID) (tidemark.Message, uint64, error)
	// CursorsByTimeline pages in byte order of the readers, after one of them ("" for the start).
	CursorsByTimeline(timeline tidemark.TimelineID, readAtLeast tidemark.SeqID, after tidemark.ReaderID, limit int) (tidemark.CursorPage, error)
	CountCursors(timeline tidemark.TimelineID, readAtLeast tidemark.SeqID) (count, applied uint64, err error)
	// CursorsByReader pages in the order of the timelines' numbers, after one of them (0 for the start).
	CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (tidemark.CursorPage, error)
	// Conversations pages by newest activity, behind a place of an earlier page (nil for the start).
	Conversations(reader tidemark.ReaderID, after *tidemark.Activity, limit int) (tidemark.CursorPage, error)
	Timelines(prefix string, after tidemark.TimelineID, limit int) (tidemark.TimelinePage, error)
	CountTimelines(prefix string) (count, applied uint64, err error)
	// Describe is GetHead with the attributes.
	Describe(tidemark.TimelineID) (tidemark.Described, uint64, error)
	// Recipients pages the recipient set of a timeline, after one of its inboxes ("" for the start).
	Recipients(timeline, after tidemark.TimelineID, limit int) (tidemark.RecipientPage, error)
	// Explain says what is known of a message, by its SeqID or, if that is 0, by its id.
	Explain(timeline tidemark.TimelineID, seq tidemark.SeqID, id tidemark.MessageID, limit int) (tidemark.Explained, error)
	// CountDeliveries says how many inboxes a revision of a message would reach: 0 if there
	// is no such message.
	CountDeliveries(timeline tidemark.TimelineID, seq tidemark.SeqID) (int, error)
	// CountRecipients is 0 for a timeline that does not exist.
	CountRecipients(timeline tidemark.TimelineID) (uint64, error)
	// Policies are all retention policies, in byte order of their prefixes.
	Policies() (policies []tidemark.Policy, applied uint64, err error)
	// TrimPoint is the first message of a timeline that a policy keeps, with its head.
	TrimPoint(tidemark.TimelineID, *tidemark.Policy, tidemark.Time) (tidemark.SeqID, tidemark.Head, error)
	// Changes returns a page of the change feed.
	Changes(tidemark.ChangesQuery) (tidemark.ChangesPage, error)
	// ChangesEnd is the place behind all changes that were applied.
	ChangesEnd() (tidemark.ChangePosition, error)
	// ChangesTrimPoint is the first log entry whose changes are to be kept, or 0 if none are to
	// be trimmed; more says that there may be more to trim afterwards.
	ChangesTrimPoint(maxEntries uint64, oldest tidemark.Time) (keep uint64, more bool, err error)
	// ArmPin has the state pinned as it is behind a log entry that was not applied yet,
	// PinnedPart reads from it when it is, and Unpin ends it. The errors wrap
	// ErrPlacePassed or ErrOverloaded.
	ArmPin(id string, at uint64) error
	PinnedPart(ctx context.Context, id string, after []byte, max int) (tidemark.StatePart, error)
	Unpin(id string)
	Applied() tidemark.Applied
	// Level is the feature level of the cluster, as far as this node has applied.
	Level() uint32
}

// FromRaft makes a Node of a Raft node.
func FromRaft(n *raftnode.Node) Node { return raftNode{n} }

// raftNode and raftPipeline say Pending where raftnode says *raftnode.Pending.
type raftNode struct{ *raftnode.Node }

func (n raftNode) NewPipeline() Pipeline { return raftPipeline{n.Node.NewPipeline()} }

type raftPipeline struct{ *raftnode.Pipeline }

func (p raftPipeline) ProposeAsync(command []byte) Pending { return p.Pipeline.ProposeAsync(command) }
