package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/peer"
)

// AddMember adds a member that receives the log and does not vote. Adding one that
// is there already, under the same address, is no error; another address is
// tidemark.ErrMemberExists. Like all changes of membership it works on the leader
// only (tidemark.ErrNotLeader elsewhere); it returns when the change is committed,
// and its outcome is unknown if the error wraps tidemark.ErrOutcomeUnknown.
func (n *Node) AddMember(ctx context.Context, id, raftAddress string) error {
	if id == "" || len(id) > peer.MaxNodeIDBytes {
		return tidemark.Invalid("node_id", "has %d bytes; limit is 1 to %d bytes", len(id), peer.MaxNodeIDBytes)
	}
	if raftAddress == "" {
		return tidemark.Invalid("raft_address", "must not be empty")
	}
	return n.change(func() error {
		c := n.members.configuration()
		for _, s := range c.Servers {
			same := string(s.ID) == id
			if same && string(s.Address) == raftAddress {
				return nil
			}
			if same || string(s.Address) == raftAddress {
				return fmt.Errorf("%w: %s at %s", tidemark.ErrMemberExists, s.ID, s.Address)
			}
		}
		// Whoever had the id before is no member, and must not keep it from this one.
		if err := n.registry.Forget(id); err != nil {
			return err
		}
		return n.reconfigure(ctx, "add "+id, func(timeout time.Duration) raft.IndexFuture {
			return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(raftAddress), 0, timeout)
		})
	})
}

// PromoteMember makes a member a voter. It fails with tidemark.ErrMemberNotReady
// unless the member answers and lags behind by at most Config.PromoteMaxLag
// entries, and with tidemark.ErrMembershipUnsafe if the voters that answer would
// then be no majority.
func (n *Node) PromoteMember(ctx context.Context, id string) error {
	return n.change(func() error {
		c := n.members.configuration()
		server, ok := findServer(c, id)
		if !ok {
			return fmt.Errorf("%w: %s", tidemark.ErrMemberNotFound, id)
		}
		if server.Suffrage == raft.Voter {
			return nil
		}
		commit := n.raft.CommitIndex()
		infos := n.survey(ctx, c)
		info, ok := infos[id]
		if !ok {
			return fmt.Errorf("%w: %s does not answer at %s", tidemark.ErrMemberNotReady, id, server.Address)
		}
		if !n.understands(info.Level) {
			return fmt.Errorf("%w: %s runs version %s, which does not understand feature level %d of this cluster",
				tidemark.ErrMemberNotReady, id, info.Version, n.cfg.Levels.InForce())
		}
		if info.AppliedIndex+n.cfg.PromoteMaxLag < commit {
			return fmt.Errorf("%w: %s has applied %d of %d entries; at most %d may be missing",
				tidemark.ErrMemberNotReady, id, info.AppliedIndex, commit, n.cfg.PromoteMaxLag)
		}
		if err := n.checkQuorum(append(voters(c), server), infos, "promoting "+id); err != nil {
			return err
		}
		return n.reconfigure(ctx, "promote "+id, func(timeout time.Duration) raft.IndexFuture {
			return n.raft.AddVoter(server.ID, server.Address, 0, timeout)
		})
	})
}

// RemoveMember removes a member for good: what its data directory holds can never
// come back. It fails with tidemark.ErrMembershipUnsafe if the voters that remain
// and answer would be no majority. A leader that is asked to remove itself hands
// leadership over and returns tidemark.ErrNotLeader: ask the new one.
func (n *Node) RemoveMember(ctx context.Context, id string) error {
	err := n.change(func() error {
		c := n.members.configuration()
		server, ok := findServer(c, id)
		if !ok {
			return fmt.Errorf("%w: %s", tidemark.ErrMemberNotFound, id)
		}
		if server.Suffrage == raft.Voter {
			var rest []raft.Server
			for _, v := range voters(c) {
				if v.ID != server.ID {
					rest = append(rest, v)
				}
			}
			if err := n.checkQuorum(rest, n.survey(ctx, c), "removing "+id); err != nil {
				return err
			}
		}
		if id == n.cfg.NodeID {
			return errRemovesItself
		}
		return n.reconfigure(ctx, "remove "+id, func(timeout time.Duration) raft.IndexFuture {
			return n.raft.RemoveServer(server.ID, 0, timeout)
		})
	})
	if errors.Is(err, errRemovesItself) {
		next, err := n.TransferLeadership(ctx, "")
		if err != nil {
			return fmt.Errorf("hand leadership over before leaving: %w", err)
		}
		return fmt.Errorf("%w: it was handed to %s, which can remove %s now", tidemark.ErrNotLeader, next, id)
	}
	return err
}

var errRemovesItself = errors.New("the leader removes itself")

// change lets one change at a time be decided on what the one before left.
func (n *Node) change(decide func() error) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	if n.stopping.Load() {
		return tidemark.ErrStopping
	}
	if !n.IsLeader() {
		return tidemark.ErrNotLeader
	}
	return decide()
}

// checkQuorum refuses a set of voters of which no majority answers.
func (n *Node) checkQuorum(next []raft.Server, infos map[string]peer.Info, what string) error {
	alive := 0
	for _, v := range next {
		if _, ok := infos[string(v.ID)]; ok || string(v.ID) == n.cfg.NodeID {
			alive++
		}
	}
	if len(next) == 0 || alive < len(next)/2+1 {
		return fmt.Errorf("%w: %s leaves %d voters, of which %d answer", tidemark.ErrMembershipUnsafe, what, len(next), alive)
	}
	return nil
}

// reconfigure has Raft change the configuration and waits until that is committed.
func (n *Node) reconfigure(ctx context.Context, what string, change func(timeout time.Duration) raft.IndexFuture) error {
	timeout := 4 * n.cfg.ElectionTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(deadline), time.Millisecond)
	}
	done := make(chan error, 1)
	go func() { done <- change(timeout).Error() }()
	select {
	case err := <-done:
		if err = outcome(err); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		n.logger.Info("membership changed", "change", what)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", what, tidemark.ErrOutcomeUnknown, context.Cause(ctx))
	case <-n.raftDone:
		return fmt.Errorf("%s: %w: %w", what, tidemark.ErrOutcomeUnknown, tidemark.ErrStopping)
	}
}
