package server

import (
	"net"
	"strings"
	"time"

	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/pebblestore"
	"tidemark/raftnode"
	"tidemark/rpc"
)

// Config is all that a node is told by its operator. Start from DefaultConfig.
type Config struct {
	// NodeID names the node for all time.
	NodeID string
	// DataDir is its own directory. It is created if it is missing.
	DataDir string
	// Listen, RaftListen and HTTPListen are the HOST:PORTs for clients, peers and operators.
	Listen, RaftListen, HTTPListen string
	// Advertise and RaftAdvertise are what others are told instead of Listen and
	// RaftListen; empty if these are addresses that others can reach.
	Advertise, RaftAdvertise string
	// InitialCluster maps the first members to their Raft addresses. A node that
	// has data ignores it. Exactly one of InitialCluster and Join is given to a
	// new node.
	InitialCluster map[string]string
	// Join are client addresses of members that add this node to their cluster.
	Join []string
	// LogStore is wal or boltdb. A data directory keeps the one that it has.
	LogStore string
	// SnapshotInterval is the shortest time between two snapshots.
	SnapshotInterval time.Duration
	// TrailingTime is how long a follower can be away and still catch up from the
	// log, and TrailingBytes bounds the log that is kept for it.
	TrailingTime  time.Duration
	TrailingBytes uint64
	// StoreCache, StoreBuffer and IDFilter bound what the store keeps in memory, in bytes: blocks of
	// its tables, what waits to be written to them (twice that while it is), and the filter of message ids.
	StoreCache, StoreBuffer, IDFilter uint64
	// DiskReserve is how many free bytes make the node step aside before the
	// disk is full; 0 never does.
	DiskReserve uint64
	// RetentionInterval is how often the node looks, while it leads, what the retention
	// policies let go.
	RetentionInterval time.Duration
	// ChangesMaxAge and ChangesMaxEntries bound the change feed: how old its changes may be,
	// and how many log entries it goes back; 0 for no bound.
	ChangesMaxAge     time.Duration
	ChangesMaxEntries uint64
	// ShutdownTimeout bounds an orderly end.
	ShutdownTimeout time.Duration
	// ClockOffsetFile names a file with a duration by which the node's clock is wrong;
	// empty for the machine's clock. It is for tests alone.
	ClockOffsetFile string
	// Version is that of the binary, told to peers and clients.
	Version string
}

const (
	// maxStoreMemory catches a unit that was mistaken.
	maxStoreMemory = 1 << 40
	// A smaller buffer makes tables of a few kilobytes; a larger one takes long to apply again
	// after a crash, which is what it costs.
	minStoreBuffer, maxStoreBuffer = 1 << 20, 1 << 30
)

// DefaultConfig returns the defaults, each with its reason.
func DefaultConfig() Config {
	raft, store := raftnode.DefaultConfig(), pebblestore.DefaultOptions()
	return Config{
		Listen:     "127.0.0.1:7400",
		RaftListen: "127.0.0.1:7401",
		HTTPListen: "127.0.0.1:7402",
		LogStore:   string(raft.LogStore),
		// The reasons are raftnode's.
		SnapshotInterval: raft.SnapshotInterval,
		TrailingTime:     raft.TrailingTime,
		TrailingBytes:    raft.TrailingBytes,
		// And pebblestore's.
		StoreCache:  uint64(store.BlockCacheBytes),
		StoreBuffer: store.MemTableBytes,
		IDFilter:    uint64(store.IDFilterBytes),
		// What may still be written between two looks at the disk, a second apart,
		// and while the node stops: the log's next segment (64 MiB), a memtable
		// and the tables of a compaction, and a second of appends at full speed.
		DiskReserve:       256 << 20,
		RetentionInterval: rpc.DefaultRetentionInterval,
		// A consumer may be down over a long weekend. At 20 to 40 bytes for an entry the
		// feed stays below about 2 GiB, whatever the load.
		ChangesMaxAge:     7 * 24 * time.Hour,
		ChangesMaxEntries: 50_000_000,
		// Longer than a transfer of leadership (2 s) and the calls under way.
		ShutdownTimeout: 15 * time.Second,
	}
}

// check names the first setting that is wrong.
func (c *Config) check() error {
	switch {
	case c.NodeID == "":
		return exit.Usagef("--node-id must be given: a name that this node keeps for all time, such as n1")
	case strings.ContainsAny(c.NodeID, "=,/ \t\n"):
		return exit.Usagef("--node-id %q must not contain '=', ',', '/' or spaces", c.NodeID)
	case c.DataDir == "":
		return exit.Usagef("--data-dir must be given: a directory of this node's own")
	case c.LogStore != "wal" && c.LogStore != "boltdb":
		return exit.Usagef("--log-store must be wal or boltdb; it is %q", c.LogStore)
	case c.SnapshotInterval <= 0:
		return exit.Usagef("--snapshot-interval must be positive; it is %v", c.SnapshotInterval)
	case c.TrailingTime < 0:
		return exit.Usagef("--trailing-time must not be negative; it is %v", c.TrailingTime)
	case c.StoreCache > maxStoreMemory:
		return exit.Usagef("--store-cache must be at most %d GiB; it is %d bytes", maxStoreMemory>>30, c.StoreCache)
	case c.StoreBuffer < minStoreBuffer || c.StoreBuffer > maxStoreBuffer:
		return exit.Usagef("--store-buffer must be %d to %d MiB; it is %d bytes", minStoreBuffer>>20, maxStoreBuffer>>20, c.StoreBuffer)
	case c.IDFilter > maxStoreMemory:
		return exit.Usagef("--id-filter must be at most %d GiB; it is %d bytes", maxStoreMemory>>30, c.IDFilter)
	case c.RetentionInterval <= 0:
		return exit.Usagef("--retention-interval must be positive; it is %v", c.RetentionInterval)
	case c.ChangesMaxAge < 0:
		return exit.Usagef("--changes-max-age must not be negative; it is %v", c.ChangesMaxAge)
	case c.ShutdownTimeout <= 0:
		return exit.Usagef("--shutdown-timeout must be positive; it is %v", c.ShutdownTimeout)
	case len(c.InitialCluster) > 0 && len(c.Join) > 0:
		return exit.Usagef("--initial-cluster and --join exclude each other: the first members form a cluster, later ones join it")
	}
	if c.Advertise == "" {
		c.Advertise = c.Listen
	}
	if c.RaftAdvertise == "" {
		c.RaftAdvertise = c.RaftListen
	}
	for _, address := range []struct {
		flag, value string
		advertised  bool
	}{
		{"--listen", c.Listen, false},
		{"--raft-listen", c.RaftListen, false},
		{"--http-listen", c.HTTPListen, false},
		{"--advertise", c.Advertise, true},
		{"--raft-advertise", c.RaftAdvertise, true},
	} {
		if err := checkAddress(address.flag, address.value, address.advertised); err != nil {
			return err
		}
	}
	if address, ok := c.InitialCluster[c.NodeID]; len(c.InitialCluster) > 0 && (!ok || address != c.RaftAdvertise) {
		return exit.Usagef("--initial-cluster must name this node as %s=%s, like the others", c.NodeID, c.RaftAdvertise)
	}
	return nil
}

func checkAddress(flag, address string, advertised bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return exit.Usagef("%s must be HOST:PORT; it is %q", flag, address)
	}
	ip := net.ParseIP(host)
	if advertised && (host == "" || ip != nil && ip.IsUnspecified() || port == "0") {
		return exit.Usagef("%s must be an address that others can reach; %q is not", flag, address)
	}
	return nil
}

// ParseMembers reads n1=HOST:PORT,n2=HOST:PORT,…
func ParseMembers(items []string) (map[string]string, error) {
	members := make(map[string]string, len(items))
	addresses := make(map[string]string, len(items))
	for _, item := range items {
		id, address, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok || id == "" {
			return nil, exit.Usagef("--initial-cluster must be n1=HOST:PORT,n2=HOST:PORT,…; %q is not", item)
		}
		if err := checkAddress("--initial-cluster", address, true); err != nil {
			return nil, err
		}
		if _, twice := members[id]; twice {
			return nil, exit.Usagef("--initial-cluster names %s twice", id)
		}
		if other, twice := addresses[address]; twice {
			return nil, exit.Usagef("--initial-cluster gives %s to both %s and %s", address, other, id)
		}
		members[id], addresses[address] = address, id
	}
	return members, nil
}
