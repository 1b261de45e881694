package raftnode

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/logstore"
	"tidemark/raftnode/peer"
)

// StateMachine is what the log of the cluster is applied to. It is the snapshot
// too: what it says in Applied is what a restart goes on from.
//
// ApplyBatch, InstallSnapshot and SetMembership are never called at the same
// time; all else may be called at any time, from any goroutine.
type StateMachine interface {
	// ApplyBatch applies committed entries, in order and together or not at all,
	// and returns one slice per entry with one result per command of it (nil for
	// EntryMembership and for entries at or below Applied, which it skips). A
	// failure is not an answer: the machine stops the process.
	ApplyBatch(entries []tidemark.Entry) [][]any
	// Applied says how far the machine has come. It is cheap.
	Applied() tidemark.Applied
	// WaitApplied returns nil once Applied().Index has reached index, or an error
	// that wraps tidemark.ErrNotCaughtUp and the context's.
	WaitApplied(ctx context.Context, index uint64) error
	// Sync makes all that is applied durable.
	Sync() error
	// DurableIndex is an applied index that a crash cannot take back.
	DurableIndex() uint64
	// OpenSnapshot gives a consistent copy of the machine; several may be open.
	OpenSnapshot() (tidemark.SnapshotReader, error)
	// ReceiveSnapshot starts a new state beside the present one.
	ReceiveSnapshot() (tidemark.SnapshotWriter, error)
	// InstallSnapshot makes a finished one the state, atomically even in a crash,
	// and sets Applied().InstalledIndex to its index.
	InstallSnapshot(tidemark.SnapshotWriter) error
	// SetMembership durably replaces the Applied record. Only Recover calls it.
	SetMembership(tidemark.Applied) error
}

// Config is all that a node needs to know. DefaultConfig gives the numbers; what
// it leaves empty is to be filled in.
type Config struct {
	// NodeID names this node for all time. It is written into the data directory,
	// which then refuses any other.
	NodeID string
	// DataDir holds NODE, LOCK, PEERS and raft/. It is created if it is missing.
	DataDir string
	// Directory is DataDir, if the caller has claimed it already: it must, if it
	// opens anything else in it before Open. Open claims DataDir itself if nil.
	Directory *Directory

	// RaftListen is the address that this node listens on for its peers, and
	// RaftAdvertise (RaftListen if empty) the one that they reach it by.
	RaftListen, RaftAdvertise string
	// ClientAddress, HTTPAddress and Version are told to the peers, for Leader and Status.
	ClientAddress, HTTPAddress, Version string
	// InitialCluster maps the ids of the first members to their Raft addresses.
	// It forms a cluster if the node has no state yet, and is ignored otherwise.
	// With no state and no InitialCluster the node waits to be added by AddMember.
	InitialCluster map[string]string
	// TLS wraps the connections between nodes; nil means plain TCP. Listener and
	// DialContext, if set, are used in place of RaftListen and a net.Dialer.
	TLS         peer.TLS
	Listener    net.Listener
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// LogStore chooses where the log is kept; a data directory keeps its kind.
	LogStore logstore.Kind
	// OpenLogs opens the log; the store of package logstore if nil.
	OpenLogs func(logstore.Options) (Logs, error)

	// Machine is the state machine that belongs to DataDir. The node never closes it.
	Machine StateMachine
	// EncodeEntry makes the data of one entry of what waits. Noop is an encoded
	// command without effect: a leader's first.
	EncodeEntry func(leaderTime time.Time, commands [][]byte) []byte
	Noop        []byte
	// Levels are the feature levels of the state machine; none if empty.
	Levels Levels
	// Clock is the leader's clock; time.Now if nil.
	Clock func() time.Time

	// HeartbeatTimeout is how long a follower waits for its leader, ElectionTimeout
	// how long a candidate waits for votes, LeaderLeaseTimeout how long a leader
	// goes on without a majority.
	HeartbeatTimeout, ElectionTimeout, LeaderLeaseTimeout time.Duration
	// CommitTimeout is how soon followers learn of a commit when nothing follows it.
	CommitTimeout time.Duration
	// SnapshotInterval is the shortest time between two snapshots (raft waits up to twice as long).
	SnapshotInterval time.Duration
	// TrailingTime is how long a follower can be away and still catch up from the
	// log alone; TrailingBytes bounds the log that is kept for it.
	TrailingTime  time.Duration
	TrailingBytes uint64
	// MaxInFlightEntries bounds the entries that are proposed and not yet applied: 1 to 4.
	MaxInFlightEntries int
	// MaxQueuedBytes and MaxQueuedCommands bound what waits to be proposed.
	MaxQueuedBytes, MaxQueuedCommands int
	// PromoteMaxLag is how many entries a member may lag behind and still become a voter.
	PromoteMaxLag uint64
	// PeerTimeout bounds one question to a peer.
	PeerTimeout time.Duration
	// ProbeInterval is how often the node asks itself how fresh its data is. It is
	// the resolution of Staleness.
	ProbeInterval time.Duration

	// Logger is slog.Default() if nil.
	Logger *slog.Logger
	// Fatal ends the process because going on would do harm; it must not return.
	// If nil, the error is logged and the process exits with status 1.
	Fatal func(error)
	// Metrics is NewMetrics(nil) if nil.
	Metrics *Metrics

	// wrapLog, if set, puts a test's log around the one that Raft sees.
	wrapLog func(raft.LogStore) raft.LogStore
}

// DefaultConfig returns the numbers of a node, each with its reason.
func DefaultConfig() Config {
	return Config{
		LogStore: logstore.WAL,
		// Heartbeats wait behind fsyncs of the log, because the fast path past
		// them is unsafe (hashicorp/raft #695). Two seconds is longer than the
		// pauses of an ordinary disk, and what a failover costs.
		HeartbeatTimeout:   2 * time.Second,
		ElectionTimeout:    2 * time.Second,
		LeaderLeaseTimeout: 2 * time.Second,
		// A follower learns of the last commit only so much later, and linearizable
		// and session reads there wait for it: 5 to 10 ms instead of raft's 50 to
		// 100. Three idle nodes were measured to use 1 % of a core more.
		CommitTimeout: 5 * time.Millisecond,
		// A snapshot writes what the store has gathered into a table. At full speed that is
		// full much sooner; on a quiet node each is a small table over all keys, and after some
		// of them the store merges them with its first level, of hundreds of MiB.
		SnapshotInterval: 10 * time.Second,
		// A reboot or an upgrade takes less than ten minutes.
		TrailingTime: 10 * time.Minute,
		// Ten minutes at 7 MB/s; a node that writes faster keeps less time.
		TrailingBytes: 4 << 30,
		// The second entry is written while the first is on its way to the
		// followers; more were measured to gain nothing.
		MaxInFlightEntries: 2,
		// Half a second of work at full speed: more waiting is not more throughput.
		MaxQueuedBytes:    64 << 20,
		MaxQueuedCommands: 64 << 10,
		// A member this close has caught up before the change is committed.
		PromoteMaxLag: 1024,
		// A peer that does not answer in an election timeout counts as gone.
		PeerTimeout: 2 * time.Second,
		// Five small questions a second cost nothing to speak of.
		ProbeInterval: 200 * time.Millisecond,
	}
}

// check fills in what may be empty and names the first field that is wrong.
func (c *Config) check() error {
	switch {
	case c.NodeID == "":
		return tidemark.Invalid("node-id", "must not be empty")
	case c.DataDir == "":
		return tidemark.Invalid("data-dir", "must not be empty")
	case c.RaftListen == "" && c.Listener == nil:
		return tidemark.Invalid("raft-listen", "must not be empty")
	case c.Machine == nil || c.EncodeEntry == nil || len(c.Noop) == 0:
		return fmt.Errorf("raftnode: Config needs Machine, EncodeEntry and Noop")
	case c.MaxInFlightEntries < 1 || c.MaxInFlightEntries > 4:
		return tidemark.Invalid("max-in-flight-entries", "is %d; limit is 1 to 4", c.MaxInFlightEntries)
	case c.MaxQueuedBytes < tidemark.MaxEntryBytes:
		return tidemark.Invalid("max-queued-bytes", "is %d; must hold one entry of %d bytes", c.MaxQueuedBytes, tidemark.MaxEntryBytes)
	case c.MaxQueuedCommands < 1:
		return tidemark.Invalid("max-queued-commands", "is %d; must be at least 1", c.MaxQueuedCommands)
	}
	if c.RaftListen == "" {
		c.RaftListen = c.Listener.Addr().String()
	}
	if c.RaftAdvertise == "" {
		c.RaftAdvertise = c.RaftListen
	}
	if err := c.checkTimes(); err != nil {
		return err
	}
	if len(c.InitialCluster) > 0 {
		addr, ok := c.InitialCluster[c.NodeID]
		if !ok {
			return tidemark.Invalid("initial-cluster", "does not name this node, %s", c.NodeID)
		}
		if addr != c.RaftAdvertise {
			return tidemark.Invalid("initial-cluster", "says that this node, %s, is at %s, but it advertises %s", c.NodeID, addr, c.RaftAdvertise)
		}
	}
	if c.OpenLogs == nil {
		c.OpenLogs = openLogStore
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.Fatal == nil {
		logger := c.Logger
		c.Fatal = func(err error) {
			logger.Error("stopping the process, because going on would do harm", "error", err)
			os.Exit(1)
		}
	}
	return nil
}

func (c *Config) checkTimes() error {
	for name, d := range map[string]time.Duration{
		"heartbeat-timeout": c.HeartbeatTimeout, "election-timeout": c.ElectionTimeout, "leader-lease-timeout": c.LeaderLeaseTimeout,
		"commit-timeout": c.CommitTimeout, "snapshot-interval": c.SnapshotInterval, "peer-timeout": c.PeerTimeout, "probe-interval": c.ProbeInterval,
	} {
		if d < 5*time.Millisecond {
			return tidemark.Invalid(name, "is %s; must be at least 5ms", d)
		}
	}
	if c.LeaderLeaseTimeout > c.HeartbeatTimeout || c.ElectionTimeout < c.HeartbeatTimeout {
		return tidemark.Invalid("heartbeat-timeout", "is %s; must be at least the leader lease timeout, %s, and at most the election timeout, %s",
			c.HeartbeatTimeout, c.LeaderLeaseTimeout, c.ElectionTimeout)
	}
	return nil
}

// raftConfig is what hashicorp/raft is told.
func (c *Config) raftConfig(notify chan<- bool) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout
	rc.CommitTimeout = c.CommitTimeout
	// 32 entries of the largest size are 16 MiB: one message that a slow link
	// carries within the transport's timeout. Entries are coalesced already.
	rc.MaxAppendEntries = 32
	// The proposer batches by itself, and with true a shutdown leaves futures hanging.
	rc.BatchApplyCh = false
	// A removed node stops voting but goes on to answer; it is stopped by its operator.
	rc.ShutdownOnRemove = false
	// retention decides what is kept, through the log store; see there.
	rc.TrailingLogs = 64
	// A snapshot costs one synced write, so any new entry is worth one.
	rc.SnapshotThreshold = 1
	rc.SnapshotInterval = c.SnapshotInterval
	rc.NotifyCh = notify
	rc.Logger = newRaftLogger(c.Logger)
	// The state machine is the snapshot, and is there when the node starts.
	rc.NoSnapshotRestoreOnStart = true
	// It loses the membership on a restart.
	rc.RestoreCommittedLogs = false
	rc.NoLegacyTelemetry = true
	return rc
}
