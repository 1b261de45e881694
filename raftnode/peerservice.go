package raftnode

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/peer"
)

// peerService is what this node answers to its peers.
type peerService struct{ node *Node }

var _ peer.Service = peerService{}

// Term implements peer.Service.
func (s peerService) Term(context.Context) (uint64, error) { return s.node.raft.CurrentTerm(), nil }

// ReadIndex implements peer.Service.
func (s peerService) ReadIndex(ctx context.Context) (index, term uint64, err error) {
	if s.node.raft.State() != raft.Leader {
		return 0, 0, tidemark.ErrNotLeader
	}
	point, err := s.node.leaderReads.wait(ctx)
	return point.index, point.term, err
}

// Info implements peer.Service.
func (s peerService) Info(context.Context) (peer.Info, error) {
	n := s.node
	_, leader := n.raft.LeaderWithID()
	info := peer.Info{
		NodeID: n.cfg.NodeID, ClientAddress: n.cfg.ClientAddress, HTTPAddress: n.cfg.HTTPAddress, Version: n.cfg.Version,
		Term: n.raft.CurrentTerm(), AppliedIndex: n.machine.Applied().Index, CommitIndex: n.raft.CommitIndex(), LastIndex: n.raft.LastIndex(),
		Role: n.role(), LeaderID: string(leader), Members: n.members.peers(), Level: n.cfg.Levels.Supported,
	}
	if err := n.Ready(); err != nil {
		info.NotServingReason = err.Error()
	}
	return info, nil
}

// askInfo asks a member how it is.
func (n *Node) askInfo(ctx context.Context, id, address string) (peer.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.PeerTimeout)
	defer cancel()
	client, err := n.clients.Get(id, address)
	if err != nil {
		return peer.Info{}, err
	}
	return client.Info(ctx)
}

// survey asks the other members of a configuration how they are, all at the same
// time. Those that do not answer within PeerTimeout are missing in the result.
func (n *Node) survey(ctx context.Context, c raft.Configuration) map[string]peer.Info {
	type answer struct {
		id   string
		info peer.Info
		err  error
	}
	answers := make(chan answer, len(c.Servers))
	asked := 0
	for _, server := range c.Servers {
		if string(server.ID) == n.cfg.NodeID {
			continue
		}
		asked++
		go func() {
			info, err := n.askInfo(ctx, string(server.ID), string(server.Address))
			answers <- answer{string(server.ID), info, err}
		}()
	}
	infos := map[string]peer.Info{}
	for range asked {
		if a := <-answers; a.err == nil {
			infos[a.id] = a.info
		}
	}
	return infos
}

// refused is told of each connection that did not come about.
func (n *Node) refused(r peer.Refusal) {
	n.metrics.refusals.WithLabelValues(r.Reason.String()).Inc()
	if r.Inbound && r.Reason == peer.ReasonNotMember {
		n.members.doubt()
	}
	if !r.OwnDataReplaced() {
		return
	}
	err := fmt.Errorf("node %s knows this node, %s, with another data directory: what this one voted and acknowledged before is gone, "+
		"so it must not take part under this id. If the old directory still exists, start with it. If it is lost, run "+
		"`tidemark member remove %s` on the cluster, empty %s and start with --join (%s)", r.Peer, n.cfg.NodeID, n.cfg.NodeID, n.cfg.DataDir, r.Detail)
	switch {
	case r.Inbound:
		// Anybody can claim that. If it is true, this node's own connections are refused too.
		if n.replacedTold.due(time.Now()) {
			n.logger.Warn("refused by a node that dialed this one", "error", err)
		}
	case n.machine.Applied().Index > 0:
		// A leader has sent entries to this very directory, so the cluster knows it.
		// The peer missed that this node left and came back; it learns of it from the log.
		if n.replacedTold.due(time.Now()) {
			n.logger.Warn("a peer has not heard yet that this node joined with a new data directory; "+
				"if it never does, remove this node and let it join again while that peer is up", "peer", r.Peer, "detail", r.Detail)
		}
	default:
		go n.cfg.Fatal(err) // the caller must not be blocked
	}
}

// sometimes says when it is time to log again what others cause: a member redials
// several times a second, a stranger as often as it likes.
type sometimes struct{ last atomic.Int64 }

// due reports true at most once in sometimesInterval.
func (s *sometimes) due(now time.Time) bool {
	last := s.last.Load()
	return (last == 0 || now.UnixNano()-last >= int64(sometimesInterval)) && s.last.CompareAndSwap(last, now.UnixNano())
}

const sometimesInterval = 10 * time.Second

// admitSnapshot refuses an incoming snapshot for which there is no room. A tenth
// more stays free for the log.
func (n *Node) admitSnapshot(size int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(n.cfg.DataDir, &fs); err != nil {
		return fmt.Errorf("look how much room there is: %w", err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if need := size + size/10; need > free {
		return fmt.Errorf("%w: a snapshot of %d bytes needs %d, and %d are free", tidemark.ErrDiskFull, size, need, free)
	}
	return nil
}
