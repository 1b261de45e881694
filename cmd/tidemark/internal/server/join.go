package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/tidemarkv1"
)

const (
	// joinInterval is how often a joining node looks how far it is.
	joinInterval = 500 * time.Millisecond
	// joinCallTimeout bounds one call to the cluster. It is longer than an election.
	joinCallTimeout = 10 * time.Second
	// joinReportInterval is how often a node that cannot join says why.
	joinReportInterval = 30 * time.Second
)

// join has the members at cfg.Join add this node, and promote it when it has caught
// up. It tries until it succeeds or ctx ends, and goes on where a process before
// this one stopped. Without cfg.Join it does nothing.
func (s *server) join(ctx context.Context, f *floors) {
	if len(s.cfg.Join) == 0 {
		return
	}
	c, err := client.New(s.cfg.Join, client.WithLogger(s.logger.With("floor", "join")))
	if err != nil {
		s.logger.Error("cannot join", "error", err)
		return
	}
	defer c.Close()
	var lastTold string
	var toldAt time.Time
	ticker := time.NewTicker(joinInterval)
	defer ticker.Stop()
	for {
		done, err := s.joinStep(ctx, c.Cluster(), f)
		if done {
			return
		}
		if err != nil && ctx.Err() == nil && (err.Error() != lastTold || time.Since(toldAt) > joinReportInterval) {
			s.logger.Warn("not a voter yet", "error", err)
			lastTold, toldAt = err.Error(), time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// joinStep does what is next: nothing if this node votes, ask to be promoted if it
// is a member, and ask to be added otherwise.
func (s *server) joinStep(ctx context.Context, cluster *client.Cluster, f *floors) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinCallTimeout)
	defer cancel()
	status, err := cluster.Status(ctx)
	if err != nil {
		return false, err
	}
	own := f.node.Status(ctx)
	empty := own.AppliedIndex == 0 && own.LastLogIndex == 0
	for _, member := range status.GetMembers() {
		if member.GetNodeId() != s.cfg.NodeID {
			continue
		}
		if member.GetRole() == tidemarkv1.MemberRole_MEMBER_ROLE_VOTER {
			if empty {
				// A vote comes after catching up, so it was given to another directory.
				return false, fmt.Errorf("the cluster has a voting member %s with data, and this directory is empty: start with the old directory, "+
					"or run `tidemark member remove %s` first", s.cfg.NodeID, s.cfg.NodeID)
			}
			s.logger.Info("is a voting member")
			return true, nil
		}
		if _, err := cluster.PromoteMember(ctx, s.cfg.NodeID); err != nil {
			return false, fmt.Errorf("catching up: %w", err)
		}
		s.logger.Info("was promoted to a voting member")
		return true, nil
	}
	if !empty {
		return false, errors.New("this node was removed from the cluster; to let it join again, move its data directory aside and start it with an empty one")
	}
	_, err = cluster.AddMember(ctx, s.cfg.NodeID, s.cfg.RaftAdvertise)
	if err != nil && !errors.Is(err, tidemark.ErrMemberExists) {
		return false, fmt.Errorf("asking to be added: %w", err)
	}
	s.logger.Info("was added as a member without a vote; catching up")
	return false, nil
}
