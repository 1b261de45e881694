package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/internal/planted"
)

// A read index is an index such that a node that has applied it can answer a read
// linearizably. Raft's own VerifyLeader does not give one: it counts answers to
// requests that were sent before it was called. So a round on the leader is, all
// of it after the reads that wait for it have come:
//
//  1. T is the current term, this node leads, and its state machine has applied
//     an entry of term T.
//  2. R is the commit index.
//  3. A majority of the voters, this node among them, say that their term is at most T.
//  4. This node still leads, and its term is still T. The answer is R.
//
// Why R covers a write W that was acknowledged before the read came: W was
// committed by a leader of a term t. If t were above T, a majority would have been
// in a term above T when it voted for that leader, before step 3; but it shares a
// node with the majority of step 3, and terms never go down. If t is T, this node
// acknowledged W itself, when its commit index had reached it. If t is below T, W
// comes before the first entry of term T in the log, by Raft's leader completeness,
// and that entry was committed in step 1. What another node may have applied and
// shown to an earlier read it has learned from a commit index of this leader or of
// one before it, so the same holds for that.
//
// Why R reaches the state machine, so that WaitApplied(R) ends: Raft puts its own
// no-op at the beginning of a term and nowhere else, and this node asks for no
// barriers. So behind the entry of step 1 all entries of term T are commands and
// configurations, which reach the state machine, and R is that entry's or a later
// one's. R was read in term T, because the term is still T in step 4, and a
// commit index moves only after the term has.

// readPoint is the answer of a round.
type readPoint struct{ index, term uint64 }

// ReadIndex returns an index that covers every write that was acknowledged, and
// every linearizable read that was answered, before the call: this node's, if it
// leads, or the one that the leader gives. All calls that come while a round is
// under way share the next one. The error wraps tidemark.ErrNoLeader if no leader
// is known or the one that is known does not answer, and ErrStopping.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	point, err := n.readIndex(ctx)
	return point.index, err
}

func (n *Node) readIndex(ctx context.Context) (readPoint, error) {
	if n.stopping.Load() {
		return readPoint{}, tidemark.ErrStopping
	}
	if planted.Is(planted.NoReadIndex) {
		return readPoint{n.machine.Applied().Index, n.raft.CurrentTerm()}, nil
	}
	if term := n.raft.CurrentTerm(); planted.Is(planted.ClockLease) && n.lease.held(term) {
		return readPoint{n.machine.Applied().Index, term}, nil
	}
	if n.raft.State() == raft.Leader {
		point, err := n.leaderReads.wait(ctx)
		if errors.Is(err, tidemark.ErrNotLeader) {
			err = fmt.Errorf("%w: this node has just lost leadership", tidemark.ErrNoLeader)
		}
		return point, err
	}
	return n.followerReads.wait(ctx)
}

// leaderRound is one round on the leader.
func (n *Node) leaderRound() (readPoint, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.PeerTimeout)
	defer cancel()
	point, err := n.confirmLeadership(ctx)
	if planted.Is(planted.ClockLease) && err == nil {
		n.lease.take(start, point.term)
	}
	n.countRound("leader", start, err)
	return point, err
}

func (n *Node) confirmLeadership(ctx context.Context) (readPoint, error) {
	term := n.raft.CurrentTerm()
	if err := n.established(ctx, term); err != nil {
		return readPoint{}, err
	}
	index := n.raft.CommitIndex()
	if err := n.majorityAtMost(ctx, term); err != nil {
		return readPoint{}, err
	}
	if !n.leads(term) {
		return readPoint{}, tidemark.ErrNotLeader
	}
	return readPoint{index, term}, nil
}

func (n *Node) leads(term uint64) bool {
	return n.raft.State() == raft.Leader && n.raft.CurrentTerm() == term
}

// established waits until the state machine has applied an entry of the term that
// this node leads.
func (n *Node) established(ctx context.Context, term uint64) error {
	for {
		progress, changed := n.fsm.progress(), n.LeaderChanged()
		if !n.leads(term) {
			return tidemark.ErrNotLeader
		}
		if n.machine.Applied().Term == term {
			return nil
		}
		select {
		case <-progress:
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: the leadership of term %d is not established yet", tidemark.ErrNoLeader, term)
		}
	}
}

// majorityAtMost returns nil when a majority of the voters say that their term is
// at most term. The members are those of the newest configuration, which differs by
// at most one voter from one that a next leader could be elected with, so that the
// majorities share a node.
func (n *Node) majorityAtMost(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := voters(n.members.configuration())
	need := len(all)/2 + 1
	answers := make(chan error, len(all))
	for _, v := range all {
		if string(v.ID) == n.cfg.NodeID {
			answers <- nil
			continue
		}
		go func() { answers <- n.askTerm(ctx, v, term) }()
	}
	var errs []error
	for range all {
		err := <-answers
		if errors.Is(err, tidemark.ErrNotLeader) {
			return err
		}
		if err != nil {
			errs = append(errs, err)
		} else if need--; need <= 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: no majority confirms this node's leadership: %w", tidemark.ErrNoLeader, errors.Join(errs...))
}

func (n *Node) askTerm(ctx context.Context, v raft.Server, term uint64) error {
	client, err := n.clients.Get(string(v.ID), string(v.Address))
	if err != nil {
		return err
	}
	theirs, err := client.Term(ctx)
	if err == nil && theirs > term {
		return fmt.Errorf("%w: %s is in term %d, this node in %d", tidemark.ErrNotLeader, v.ID, theirs, term)
	}
	return err
}

// followerRound asks the leader.
func (n *Node) followerRound() (readPoint, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.PeerTimeout)
	defer cancel()
	point, err := n.askLeader(ctx)
	n.countRound("follower", start, err)
	return point, err
}

func (n *Node) askLeader(ctx context.Context) (readPoint, error) {
	address, id := n.raft.LeaderWithID()
	if id == "" || string(id) == n.cfg.NodeID {
		return readPoint{}, tidemark.ErrNoLeader
	}
	client, err := n.clients.Get(string(id), string(address))
	if err != nil {
		return readPoint{}, fmt.Errorf("%w: %w", tidemark.ErrNoLeader, err)
	}
	index, term, err := client.ReadIndex(ctx)
	if err != nil {
		return readPoint{}, fmt.Errorf("%w: ask %s for a read index: %w", tidemark.ErrNoLeader, id, err)
	}
	return readPoint{index, term}, nil
}

func (n *Node) countRound(role string, start time.Time, err error) {
	if err != nil {
		role = "failed"
	}
	n.metrics.readIndexRounds.WithLabelValues(role).Inc()
	if err == nil {
		n.metrics.readIndexSeconds.Observe(time.Since(start).Seconds())
	}
}
