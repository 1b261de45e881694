package raftnode

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
)

// TransferLeadership hands leadership to a voter, to the one that has come
// furthest if id is empty, and returns the id of the new leader. Proposals are
// refused with tidemark.ErrNotLeader from the moment in which it begins. It fails
// with tidemark.ErrMemberNotReady if the voter does not answer or does not catch
// up within an election timeout; this node then goes on to lead.
func (n *Node) TransferLeadership(ctx context.Context, id string) (string, error) {
	if n.stopping.Load() {
		return "", tidemark.ErrStopping
	}
	return n.transfer(ctx, id)
}

func (n *Node) transfer(ctx context.Context, id string) (string, error) {
	if !n.transferring.TryLock() {
		return "", fmt.Errorf("%w: leadership is being handed over already", tidemark.ErrNotLeader)
	}
	defer n.transferring.Unlock()
	if !n.IsLeader() {
		return "", tidemark.ErrNotLeader
	}
	if id == n.cfg.NodeID {
		return id, nil
	}
	target, err := n.chooseSuccessor(ctx, id)
	if err != nil {
		return "", err
	}
	term := n.raft.CurrentTerm()
	n.proposer.end(fmt.Errorf("%w: leadership is being handed to %s", tidemark.ErrNotLeader, target.ID))
	n.leader.kick()
	if err := n.handOver(ctx, target); err != nil {
		// Raft may still lead; it then takes proposals again as soon as it says so.
		if n.leads(term) {
			n.elected()
			n.leader.kick()
		}
		return "", err
	}
	return n.awaitSuccessor(ctx)
}

// chooseSuccessor returns the voter with that id, or the one whose log is longest,
// if it answers and is close enough.
func (n *Node) chooseSuccessor(ctx context.Context, id string) (raft.Server, error) {
	c := n.members.configuration()
	if id != "" {
		if server, ok := findServer(c, id); !ok {
			return raft.Server{}, fmt.Errorf("%w: %s", tidemark.ErrMemberNotFound, id)
		} else if server.Suffrage != raft.Voter {
			return raft.Server{}, fmt.Errorf("%w: %s does not vote", tidemark.ErrMemberNotReady, id)
		}
	}
	infos := n.survey(ctx, c)
	var best raft.Server
	var longest uint64
	for _, v := range voters(c) {
		info, ok := infos[string(v.ID)]
		if !ok || id != "" && string(v.ID) != id {
			continue
		}
		if best.ID == "" || info.LastIndex > longest {
			best, longest = v, info.LastIndex
		}
	}
	if best.ID == "" {
		return best, fmt.Errorf("%w: no voter answers that leadership could be handed to", tidemark.ErrMemberNotReady)
	}
	if last := n.raft.LastIndex(); longest+n.cfg.PromoteMaxLag < last {
		return best, fmt.Errorf("%w: %s has %d of %d log entries", tidemark.ErrMemberNotReady, best.ID, longest, last)
	}
	return best, nil
}

// handOver waits until the successor has all that was proposed, and has Raft make it stand.
func (n *Node) handOver(ctx context.Context, target raft.Server) error {
	ready, cancel := context.WithTimeout(ctx, n.cfg.ElectionTimeout)
	defer cancel()
	if !n.proposer.drained(ready.Done()) {
		return fmt.Errorf("%w: what was proposed before is not committed yet", tidemark.ErrMemberNotReady)
	}
	if err := n.awaitLog(ready, target); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- n.raft.LeadershipTransferToServer(target.ID, target.Address).Error() }()
	limit := time.NewTimer(n.transferLimit())
	defer limit.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%w: hand leadership to %s: %w", tidemark.ErrMemberNotReady, target.ID, err)
		}
		return nil
	case <-limit.C:
		return fmt.Errorf("%w: the transfer to %s does not end", tidemark.ErrMemberNotReady, target.ID)
	case <-ctx.Done():
		return fmt.Errorf("hand leadership to %s: %w", target.ID, context.Cause(ctx))
	case <-n.raftDone:
		return tidemark.ErrStopping
	}
}

// askLogEvery is how often the successor is asked for the end of its log.
const askLogEvery = 2 * time.Millisecond

// awaitLog waits until the target's log is as long as this node's, which does not grow.
func (n *Node) awaitLog(ctx context.Context, target raft.Server) error {
	for {
		info, err := n.askInfo(ctx, string(target.ID), string(target.Address))
		if err == nil && info.LastIndex >= n.raft.LastIndex() {
			return nil
		}
		select {
		case <-time.After(askLogEvery):
		case <-ctx.Done():
			return fmt.Errorf("%w: %s has %d of %d log entries", tidemark.ErrMemberNotReady, target.ID, info.LastIndex, n.raft.LastIndex())
		}
	}
}

// awaitSuccessor waits until this node knows who leads now.
func (n *Node) awaitSuccessor(ctx context.Context) (string, error) {
	limit := time.NewTimer(n.transferLimit())
	defer limit.Stop()
	for {
		changed := n.LeaderChanged()
		n.leader.kick()
		if leader, ok := n.Leader(); ok && leader.ID != n.cfg.NodeID {
			return leader.ID, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return "", fmt.Errorf("%w: leadership was handed over, but nobody has taken it", tidemark.ErrNoLeader)
		case <-ctx.Done():
			return "", fmt.Errorf("wait for the new leader: %w", context.Cause(ctx))
		case <-n.raftDone:
			return "", tidemark.ErrStopping
		}
	}
}
