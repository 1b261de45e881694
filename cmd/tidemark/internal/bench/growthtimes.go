package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tidemark"
	"tidemark/internal/localcluster"
	"tidemark/rpc/tidemarkv1"
)

// GrowthTimes are how long it takes to start a node, and to have it hold what the others do.
type GrowthTimes struct {
	// Snapshot is how long the leader took to make its state durable, in the middle and at
	// worst of a few times, each after some more messages.
	Snapshot    time.Duration `json:"snapshot_p50_ns"`
	SnapshotMax time.Duration `json:"snapshot_max_ns"`
	// Backup is how long a copy of a follower's state took, of so many bytes.
	Backup      time.Duration `json:"backup_ns"`
	BackupBytes int64         `json:"backup_bytes"`
	// Stop is how long a follower took to stop in order, and Start from its start until it was
	// ready. Killed is the latter after SIGKILL, right behind Burst messages.
	Stop   time.Duration `json:"stop_ns"`
	Start  time.Duration `json:"start_ns"`
	Killed time.Duration `json:"start_after_kill_ns"`
	// CatchUp is from the start of a follower that was away for Burst messages until it had
	// applied them.
	Burst   int           `json:"burst_messages"`
	CatchUp time.Duration `json:"catch_up_ns"`
	// Join is from the start of a new node with an empty directory until it had applied all
	// and was ready. BySnapshot says that it got a snapshot, because the log begins later.
	Join       time.Duration `json:"join_ns"`
	BySnapshot bool          `json:"join_by_snapshot"`
}

const (
	// snapshots are taken, each after so many messages.
	snapshots, beforeSnapshot = 5, 1000
)

// times measures all of them, one after the other. It leaves the nodes as they were.
func (g *growing) times(ctx context.Context, s size) (*GrowthTimes, error) {
	leader, follower, err := g.leader(ctx)
	if err != nil {
		return nil, err
	}
	t := &GrowthTimes{Burst: min(g.Burst, max(burstBytes/s.payload, 1))}
	burst := func() error { return g.add(ctx, g.anyTimelines(t.Burst), s.payload) }
	for _, part := range []struct {
		name    string
		measure func() error
	}{
		{"snapshot", func() error { return g.snapshotTimes(ctx, t, leader, s) }},
		{"backup", func() error { return g.backup(ctx, t, follower) }},
		{"start", func() error { return g.restart(ctx, t, follower) }},
		{"catch up", func() error { return g.catchUp(ctx, t, leader, follower, burst) }},
		{"start after a kill", func() error { return g.kill(ctx, t, leader, follower, burst) }},
		{"join", func() error { return g.join(ctx, t, leader) }},
	} {
		if err := part.measure(); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	g.say("  snapshot %v, backup %v; start %v, after a kill %v; catch-up %v, join %v", rounded(t.SnapshotMax), rounded(t.Backup),
		rounded(t.Start), rounded(t.Killed), rounded(t.CatchUp), rounded(t.Join))
	return t, nil
}

// snapshot has the node at the endpoint make its state durable, and says how long that took.
func (g *growing) snapshot(ctx context.Context, endpoint string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	begin := time.Now()
	_, _, err := g.writer.Cluster().At(endpoint).TakeSnapshot(ctx)
	return time.Since(begin), err
}

func (g *growing) snapshotTimes(ctx context.Context, t *GrowthTimes, leader askedNode, s size) error {
	var took []time.Duration
	for range snapshots {
		if err := g.add(ctx, g.anyTimelines(beforeSnapshot), s.payload); err != nil {
			return err
		}
		one, err := g.snapshot(ctx, leader.endpoint)
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	slices.Sort(took)
	t.Snapshot, t.SnapshotMax = took[len(took)/2], took[len(took)-1]
	return nil
}

func (g *growing) backup(ctx context.Context, t *GrowthTimes, node *localcluster.Node) (err error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	begin := time.Now()
	t.BackupBytes, err = g.writer.Cluster().At(node.Listen).Backup(ctx, io.Discard)
	t.Backup = time.Since(begin)
	return err
}

// started starts the node, and says how long that took until it was ready.
func (g *growing) started(ctx context.Context, node *localcluster.Node) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	begin := time.Now()
	if err := node.Start(); err != nil {
		return 0, err
	}
	err := node.WaitReady(ctx)
	return time.Since(begin), err
}

func (g *growing) stop(ctx context.Context, node *localcluster.Node) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	begin := time.Now()
	err := node.Stop(ctx)
	return time.Since(begin), err
}

func (g *growing) restart(ctx context.Context, t *GrowthTimes, node *localcluster.Node) (err error) {
	if t.Stop, err = g.stop(ctx, node); err != nil {
		return err
	}
	t.Start, err = g.started(ctx, node)
	return err
}

// catchUp has a follower miss a burst.
func (g *growing) catchUp(ctx context.Context, t *GrowthTimes, leader askedNode, node *localcluster.Node, burst func() error) error {
	if _, err := g.stop(ctx, node); err != nil {
		return err
	}
	if err := burst(); err != nil {
		return err
	}
	begin := time.Now()
	if err := node.Start(); err != nil {
		return err
	}
	err := g.waitApplied(ctx, leader, node.HTTPListen)
	t.CatchUp = time.Since(begin)
	return errors.Join(err, node.WaitReady(ctx))
}

// kill kills a follower right behind a burst, of which it may not have applied the end.
func (g *growing) kill(ctx context.Context, t *GrowthTimes, leader askedNode, node *localcluster.Node, burst func() error) error {
	if err := burst(); err != nil {
		return err
	}
	if err := node.Kill(); err != nil {
		return err
	}
	var err error
	if t.Killed, err = g.started(ctx, node); err != nil {
		return err
	}
	return g.waitApplied(ctx, leader, node.HTTPListen)
}

// join has one more node come, and go again.
func (g *growing) join(ctx context.Context, t *GrowthTimes, leader askedNode) error {
	node, err := g.cluster.Join()
	if err != nil {
		return err
	}
	// A name that was removed does not come back.
	g.joined++
	node.ID = fmt.Sprintf("joined%d", g.joined)
	node.DataDir = filepath.Join(filepath.Dir(node.DataDir), node.ID)
	node.LogPath = node.DataDir + ".log"
	g.configure(node)
	begin := time.Now()
	if _, err := g.started(ctx, node); err != nil {
		return err
	}
	if err := g.waitApplied(ctx, leader, node.HTTPListen); err != nil {
		return err
	}
	t.Join = time.Since(begin)
	installed, err := number(ctx, node.HTTPListen, metricInstalled)
	if err != nil {
		return err
	}
	t.BySnapshot = installed > 0
	return g.remove(ctx, node)
}

// remove takes the last node away, once it votes: until then it asks to.
func (g *growing) remove(ctx context.Context, node *localcluster.Node) error {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	if err := until(ctx, growthPoll, func(ctx context.Context) (bool, error) {
		status, err := g.writer.Cluster().Status(ctx)
		return slices.ContainsFunc(status.GetMembers(), func(m *tidemarkv1.Member) bool {
			return m.GetNodeId() == node.ID && m.GetRole() == tidemarkv1.MemberRole_MEMBER_ROLE_VOTER
		}), err
	}); err != nil {
		return err
	}
	// Removing may have been done when its outcome is not known.
	if _, err := g.writer.Cluster().RemoveMember(ctx, node.ID); err != nil && !errors.Is(err, tidemark.ErrMemberNotFound) {
		return err
	}
	if err := node.Kill(); err != nil {
		return err
	}
	g.cluster.Nodes = g.cluster.Nodes[:len(g.cluster.Nodes)-1]
	return os.RemoveAll(node.DataDir)
}
