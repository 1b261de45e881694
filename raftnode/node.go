// Package raftnode is one node of the cluster: it makes one log of what many
// callers propose, keeps it on a majority of disks, and applies it to a state
// machine. It knows nothing of messages.
package raftnode

import (
	"context"
	"errors"
	"time"

	"tidemark"
)

var errUnfinished = errors.New("raftnode: not built yet")

// Node is one running member of the cluster. All methods are safe for concurrent use.
type Node struct{}

// Open starts a node.
func Open(cfg Config) (*Node, error) { return nil, errUnfinished }

// Propose has a command replicated and applied, and returns its result.
func (n *Node) Propose(ctx context.Context, command []byte) (tidemark.Proposal, error) {
	return n.ProposeAsync(command).Wait(ctx)
}

// Pending is a proposal that is under way.
type Pending struct{}

// ProposeAsync queues a command. The order of calls is the order in the log.
func (n *Node) ProposeAsync(command []byte) *Pending { return &Pending{} }

// Done is closed once the outcome is known.
func (p *Pending) Done() <-chan struct{} { return nil }

// Wait returns the outcome.
func (p *Pending) Wait(ctx context.Context) (tidemark.Proposal, error) {
	return tidemark.Proposal{}, errUnfinished
}

// ReadIndex returns an index that covers every write acknowledged before the call.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) { return 0, errUnfinished }

// WaitApplied returns once this node has applied index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error { return errUnfinished }

// Staleness says how old the data of this node may be.
func (n *Node) Staleness() time.Duration { return 0 }

// Leader says who leads, if this node knows.
func (n *Node) Leader() (Leader, bool) { return Leader{}, false }

// IsLeader says whether this node takes proposals.
func (n *Node) IsLeader() bool { return false }

// LeaderChanged is closed when what Leader or IsLeader say changes next.
func (n *Node) LeaderChanged() <-chan struct{} { return nil }

// Status reports how the node is.
func (n *Node) Status(ctx context.Context) Status { return Status{} }

// AddMember adds a non-voting member.
func (n *Node) AddMember(ctx context.Context, id, raftAddress string) error { return errUnfinished }

// RemoveMember removes a member for good.
func (n *Node) RemoveMember(ctx context.Context, id string) error { return errUnfinished }

// PromoteMember makes a member that has caught up a voter.
func (n *Node) PromoteMember(ctx context.Context, id string) error { return errUnfinished }

// TransferLeadership hands leadership to a voter, the best one if id is empty.
func (n *Node) TransferLeadership(ctx context.Context, id string) (string, error) {
	return "", errUnfinished
}

// TakeSnapshot makes the state durable and shortens the log.
func (n *Node) TakeSnapshot(ctx context.Context) (index, term uint64, err error) {
	return 0, 0, errUnfinished
}

// Ready is nil if the node can serve.
func (n *Node) Ready() error { return errUnfinished }

// Shutdown stops the node.
func (n *Node) Shutdown(ctx context.Context) error { return nil }

// Recover makes one node of a dead majority the start of a new cluster.
func Recover(cfg Config, peers []Peer) error { return errUnfinished }
