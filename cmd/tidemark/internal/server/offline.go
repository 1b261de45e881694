package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark"
	"tidemark/client"
	"tidemark/fsm"
	"tidemark/pebblestore"
	"tidemark/raftnode"
	"tidemark/raftnode/logstore"
)

// Offline work is done on the directory of a node that does not run. The lock of
// the directory keeps a running node out, and is kept out by it.

// Owner says whose a data directory is.
type Owner struct {
	NodeID   string `json:"node_id"`
	LogStore string `json:"log_store"`
}

// ReadOwner reads whose the directory is. It changes nothing.
func ReadOwner(dataDir string) (Owner, error) {
	nodeID, kind, err := raftnode.Owner(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return Owner{}, fmt.Errorf("%s is not the data directory of a node: %w", dataDir, err)
	}
	return Owner{NodeID: nodeID, LogStore: string(kind)}, err
}

// claim locks the directory of a stopped node.
func claim(dataDir string) (*raftnode.Directory, Owner, error) {
	owner, err := ReadOwner(dataDir)
	if err != nil {
		return nil, owner, err
	}
	directory, err := raftnode.Claim(dataDir, owner.NodeID, logstore.Kind(owner.LogStore))
	return directory, owner, err
}

// Finding is one part of a check, and what is wrong with it.
type Finding struct {
	Part   string
	Detail string
	// Err is nil if the part is sound.
	Err error
}

// Check checks the whole data directory of a stopped node: the store with every
// message, and every entry of the log. Progress, if not nil, is told how far it is.
// The error is for a directory that could not be checked at all.
func Check(dataDir string, logger *slog.Logger, progress func(pebblestore.CheckProgress)) (Owner, []Finding, error) {
	directory, owner, err := claim(dataDir)
	if err != nil {
		return owner, nil, err
	}
	defer directory.Close()
	store, durable := checkStore(dataDir, logger, progress)
	return owner, []Finding{store, checkLog(dataDir, owner, durable, logger)}, nil
}

func checkStore(dataDir string, logger *slog.Logger, progress func(pebblestore.CheckProgress)) (finding Finding, durable uint64) {
	finding = Finding{Part: "store"}
	// A store that was never made is nothing to make now.
	if _, err := os.Stat(storeDir(dataDir)); err != nil {
		finding.Err = err
		return finding, 0
	}
	options := pebblestore.DefaultOptions()
	options.Logger = logger
	store, err := pebblestore.Open(storeDir(dataDir), options)
	if err != nil {
		finding.Err = err
		return finding, 0
	}
	report, err := store.Check(progress)
	finding.Detail = fmt.Sprintf("applied index %d: %d timelines, %d messages, %d cursors in %d tables",
		report.Applied.Index, report.Timelines, report.Messages, report.Cursors, report.Tables)
	durable = store.DurableIndex()
	finding.Err = errors.Join(err, store.Close())
	return finding, durable
}

func checkLog(dataDir string, owner Owner, durable uint64, logger *slog.Logger) Finding {
	finding := Finding{Part: "log"}
	log, err := logstore.Open(logstore.Options{
		Kind: logstore.Kind(owner.LogStore), Dir: filepath.Join(dataDir, "raft"), MustExist: true,
		Logger: logger, Durable: func() uint64 { return durable },
	})
	if err != nil {
		finding.Err = err
		return finding
	}
	finding.Detail = fmt.Sprintf("entries %d to %d in %s", log.FirstIndex(), log.LastIndex(), owner.LogStore)
	finding.Err = log.Close()
	return finding
}

// ReadLog calls visit for each entry of the Raft log of a stopped node, oldest first.
// It changes nothing, and finds the log as the node would at its start.
func ReadLog(dataDir string, visit func(raftnode.LogEntry) error) (err error) {
	directory, _, err := claim(dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, directory.Close()) }()
	return directory.ReadLog(visit)
}

// Recovered says what Recover did.
type Recovered struct {
	NodeID string
	// Index is the log index that the node goes on from.
	Index uint64
}

// Recover makes the stopped node, whose majority is lost for good, a member of the
// cluster of the peers alone.
func Recover(dataDir string, peers []raftnode.Peer, logger *slog.Logger) (_ Recovered, err error) {
	directory, owner, err := claim(dataDir)
	if err != nil {
		return Recovered{}, err
	}
	defer func() { err = errors.Join(err, directory.Close()) }()
	s := &server{cfg: DefaultConfig(), logger: logger, base: logger}
	s.cfg.NodeID, s.cfg.DataDir, s.cfg.LogStore = owner.NodeID, dataDir, owner.LogStore
	s.cfg.RaftListen = ""
	for _, peer := range peers {
		if peer.ID == owner.NodeID {
			s.cfg.RaftListen, s.cfg.RaftAdvertise = peer.Address, peer.Address
		}
	}
	if s.cfg.RaftListen == "" {
		return Recovered{}, fmt.Errorf("the peers do not name this node, %s", owner.NodeID)
	}
	f := &floors{directory: directory, metrics: prometheus.NewRegistry()}
	options := pebblestore.DefaultOptions()
	options.Logger = logger
	if f.store, err = pebblestore.Open(storeDir(dataDir), options); err != nil {
		return Recovered{}, err
	}
	defer func() { err = errors.Join(err, f.store.Close()) }()
	f.machine = fsm.New(f.store, fsm.Options{Logger: logger})
	if err := raftnode.Recover(s.nodeConfig(f), peers); err != nil {
		return Recovered{}, err
	}
	return Recovered{NodeID: owner.NodeID, Index: f.machine.Applied().Index}, nil
}

// Rebuild prepares a stopped node, usually a damaged one, to be built again from the
// others: it removes the member from the cluster, and then moves the directory aside. It
// returns where to. It can be repeated after it failed in between.
func Rebuild(ctx context.Context, dataDir, nodeID string, c *client.Client, now time.Time) (moved string, err error) {
	unlock, err := lockForMove(dataDir, nodeID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	status, err := c.Cluster().Status(ctx)
	if err != nil {
		return "", err
	}
	for _, member := range status.GetMembers() {
		if member.GetNodeId() != nodeID {
			continue
		}
		if _, err := c.Cluster().RemoveMember(ctx, nodeID); err != nil && !errors.Is(err, tidemark.ErrMemberNotFound) {
			return "", fmt.Errorf("remove member %s: %w", nodeID, err)
		}
	}
	moved = filepath.Clean(dataDir) + ".damaged-" + now.UTC().Format("20060102T150405Z")
	return moved, os.Rename(dataDir, moved)
}

// lockForMove keeps the node from being started meanwhile. A directory whose NODE
// file is damaged too cannot be claimed, and is moved all the same.
func lockForMove(dataDir, nodeID string) (unlock func() error, err error) {
	if _, err := os.Stat(dataDir); err != nil {
		return nil, err
	}
	directory, owner, err := claim(dataDir)
	switch {
	case err == nil && owner.NodeID != nodeID:
		return nil, errors.Join(fmt.Errorf("%w: %s belongs to node %s, not %s", tidemark.ErrForeignData, dataDir, owner.NodeID, nodeID), directory.Close())
	case err == nil:
		return directory.Close, nil
	case errors.Is(err, tidemark.ErrCorrupt), errors.Is(err, fs.ErrNotExist):
		return func() error { return nil }, nil
	}
	return nil, err
}
