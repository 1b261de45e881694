package raftnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"tidemark"
)

// Recover makes this node, alone or with others, the start of a new cluster, when
// the majority of the old one is lost for good. It is offline: no process may run
// on the data directory. It applies all that the log holds, also what was never
// known to be committed, replaces the membership by peers, and empties the log.
// Open then goes on from there.
//
// What the lost nodes had acknowledged without this one is lost with them; choose
// the survivor with the longest log. No other old node may start again with its
// old data directory: two of them could elect a leader by the old membership.
//
// It is refused if a process uses the directory, if there is no state to recover,
// or if peers does not name this node as a voter. A crash in the middle leaves the
// old cluster's node or the new one's; Recover can be called again.
func Recover(cfg Config, peers []Peer) (err error) {
	if cfg.RaftListen == "" {
		cfg.RaftListen = "none"
	}
	cfg.InitialCluster = nil
	if err := cfg.check(); err != nil {
		return err
	}
	configuration, err := checkPeers(peers)
	if err != nil {
		return err
	}
	if self, ok := findServer(configuration, cfg.NodeID); !ok || self.Suffrage != raft.Voter {
		return fmt.Errorf("%w: peers does not name this node, %s, as a voter", tidemark.ErrMembershipUnsafe, cfg.NodeID)
	}
	dir := cfg.Directory
	if dir == nil {
		if dir, err = claim(cfg.DataDir, cfg.NodeID, cfg.LogStore, false); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, dir.Close()) }()
	}
	logs, err := openLog(&cfg, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	if err := checkStart(logs, cfg.Machine); err != nil {
		return err
	}
	if logs.LastIndex() == 0 && cfg.Machine.Applied().Index == 0 {
		return fmt.Errorf("%s holds no state to recover: start a new cluster in its place", dir.path)
	}
	return rewrite(&cfg, dir, logs, configuration)
}

// rewrite does it. The order makes it safe to crash: the record that explains why
// the log can be gone is durable before the log goes.
func rewrite(cfg *Config, dir *Directory, logs Logs, configuration raft.Configuration) error {
	a, err := replay(cfg, logs)
	if err != nil {
		return err
	}
	if err := cfg.Machine.Sync(); err != nil {
		return fmt.Errorf("make the state machine durable: %w", err)
	}
	a.Membership, a.MembershipIndex, a.InstalledIndex = raft.EncodeConfiguration(configuration), a.Index, a.Index
	if err := cfg.Machine.SetMembership(a); err != nil {
		return fmt.Errorf("write the new membership: %w", err)
	}
	if err := logs.Reset(); err != nil {
		return fmt.Errorf("empty the log: %w", err)
	}
	// Members of the new cluster come with new data directories under whatever id.
	if err := os.Remove(filepath.Join(dir.path, registryFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the old members: %w", err)
	}
	cfg.Logger.Warn("recovered this node from a dead majority", "node_id", cfg.NodeID, "index", a.Index, "members", len(configuration.Servers))
	return nil
}

// replay applies what the log holds beyond the state machine. The record that it
// returns has the index and term of the log's last entry, whatever that is.
func replay(cfg *Config, logs Logs) (tidemark.Applied, error) {
	adapter := newFSMAdapter(cfg, nil, newRetention(cfg.TrailingTime, cfg.TrailingBytes))
	a := cfg.Machine.Applied()
	index, term := a.Index, a.Term
	for i := a.Index + 1; i <= logs.LastIndex(); i++ {
		entry := new(raft.Log)
		if err := logs.Log().GetLog(i, entry); err != nil {
			return a, fmt.Errorf("read log entry %d: %w", i, err)
		}
		if entry.Type == raft.LogCommand || entry.Type == raft.LogConfiguration {
			adapter.ApplyBatch([]*raft.Log{entry})
		}
		index, term = entry.Index, entry.Term
	}
	a = cfg.Machine.Applied()
	a.Index, a.Term = index, term
	return a, nil
}
