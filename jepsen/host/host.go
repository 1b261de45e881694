//go:build linux

package host

import (
	"context"
	"log/slog"
	"time"
)

// NodeID names a node: n1, n2, … It is also the node's --node-id.
type NodeID string

// Clients is where the clients of the harness are, as an end of links: clients can
// be cut off or slowed like a node.
const Clients NodeID = "clients"

// Feature is a kind of fault that a Cluster may or may not be able to do.
type Feature string

// The features. What the kernel supports is found out by New, by trying.
const (
	// FeatureCut is Cut, Partition and Heal, in one direction alone as well.
	FeatureCut Feature = "cut"
	// FeatureDelay is Slow.
	FeatureDelay Feature = "delay"
	// FeatureLoss is Lossy.
	FeatureLoss Feature = "loss"
	// FeatureBandwidth is Bandwidth.
	FeatureBandwidth Feature = "bandwidth"
	// FeatureDisk says that nodes have a Disk.
	FeatureDisk Feature = "disk"
	// FeatureClock is SetClock.
	FeatureClock Feature = "clock"
	// FeatureUpgrade says that the first nodes run Options.OldBinary.
	FeatureUpgrade Feature = "upgrade"
)

// Cluster is what nemeses work on. All methods are safe for concurrent use. Faults
// of links replace those of the same kind on the same link, and add up with those
// of other kinds. A link is from one node, or Clients, to another one.
type Cluster interface {
	// Nodes returns all nodes in the order in which they were added, whether they
	// run or not. Node returns the one with the id, or nil.
	Nodes() []Node
	Node(id NodeID) Node
	// Leader asks all running nodes at once, for at most two seconds, and returns the
	// leader of the newest term. Like Stats, it is not hindered by cuts.
	Leader(ctx context.Context) (Node, bool)
	// Add describes a node with a new id, which asks the others to let it join when
	// it is started. Remove stops a node by SIGKILL and forgets it; its files stay.
	// Neither asks the cluster to change its members: that goes through the client.
	Add() (Node, error)
	Remove(id NodeID) error
	// Removed returns the nodes that were removed, in the order in which they were.
	Removed() []Node
	// Kill sends SIGKILL to all the nodes before it waits for any of them.
	Kill(ids ...NodeID) error

	// Supports reports whether a kind of fault can be done here. Without it, the
	// methods of that kind return an error that wraps errors.ErrUnsupported.
	Supports(feature Feature) bool
	// Cut lets nothing pass from one node to the other, and with oneWay false
	// nothing back either. Connections stay open, as with a cable that is unplugged.
	Cut(from, to NodeID, oneWay bool) error
	// Partition cuts each node off from all that share no group with it. A node in
	// several groups is a bridge between them, a node in none is alone. Clients reach
	// all nodes. It replaces all cuts between nodes.
	Partition(groups ...[]NodeID) error
	// Slow holds back all that goes from one node to the other for delay plus or
	// minus jitter, in order; 0 ends it.
	Slow(from, to NodeID, delay, jitter time.Duration) error
	// Lossy drops that percentage of the packets from one node to the other, in
	// steps of 0.01; 0 ends it.
	Lossy(from, to NodeID, percent float64) error
	// Bandwidth bounds what the node sends and what it gets, each to that many bytes
	// a second; 0 ends it.
	Bandwidth(id NodeID, bytesPerSecond uint64) error
	// Heal ends all faults of all links. Nodes stay as they are.
	Heal() error
}

// Node is one member's identity and, while it runs, its process. All methods are
// safe for concurrent use.
type Node interface {
	ID() NodeID
	// Endpoint is its HOST:PORT for clients, RaftAddress for peers. Only a Host's
	// Dial reaches them.
	Endpoint() string
	RaftAddress() string
	// DataDir is its --data-dir, on the Disk if it has one. Disk is nil if it has none.
	DataDir() string
	Disk() Disk
	// LogPaths are what it wrote to standard output and standard error, a file for
	// each start.
	LogPaths() []string

	// Start starts the process, and returns without waiting for it to be ready.
	Start() error
	// WaitReady waits until the node says that it serves. It fails when the process ends.
	WaitReady(ctx context.Context) error
	// Kill sends SIGKILL and waits until the process has ended. Of a node that does
	// not run it is a no-op, like Pause, Resume and Terminate.
	Kill() error
	// Pause sends SIGSTOP and waits until the process stands still. Resume sends SIGCONT.
	Pause() error
	Resume() error
	// Terminate sends SIGTERM and waits until the process has ended, or kills it when
	// ctx is done, which is an error, as any exit status but 0 is.
	Terminate(ctx context.Context) error
	// Running reports whether the process was started and has not ended; one that is
	// paused runs. PID is its process id, or 0 if it does not run.
	Running() bool
	Paused() bool
	PID() int

	// Outdated reports whether Start runs Options.OldBinary; Upgrade makes it run
	// Options.Binary from the next one on.
	Outdated() bool
	Upgrade()
	// SetBinary, SetArgs and SetEnv change what the next Start runs: the program, the
	// arguments after those that every node gets, and NAME=VALUE lines that are added
	// to the environment.
	SetBinary(path string)
	SetArgs(args ...string)
	SetEnv(env ...string)
	// Run runs another command of the node's program where the node is, and returns
	// what it printed, also beside an error. It is killed when ctx ends.
	Run(ctx context.Context, args ...string) (output string, err error)
	// SetClock makes the clock by which the node stamps messages differ from the
	// machine's, from now on and for later starts; 0 ends it. A process that runs
	// follows within 50 ms.
	SetClock(offset time.Duration) error
	// Stats asks the kernel and the node's HTTP port. No fault of a link is in the
	// way but Bandwidth. A node that does not answer takes two seconds, or what ctx leaves.
	Stats(ctx context.Context) (Stats, error)
	// Exits are the ends of its processes so far, oldest first.
	Exits() []Exit
}

// Stats is what one process uses, and where it is.
type Stats struct {
	// MemoryBytes is its resident set.
	MemoryBytes     int
	FileDescriptors int
	// What follows is 0 while the process does not answer, or does not serve.

	Goroutines int
	// Leads says that it takes itself for the leader of Term.
	Leads                           bool
	Term, CommitIndex, AppliedIndex uint64
	// SnapshotBytes counts what the process got of snapshots.
	SnapshotBytes uint64
}

// Exit is how a process ended.
type Exit struct {
	Started, Ended time.Time
	// Status is the exit status, or -1 if a signal ended it.
	Status int
	// Asked says that Kill, Terminate, Remove or Close was called. Otherwise the
	// process ended by itself, and LogPath tells why.
	Asked   bool
	LogPath string
}

// Disk is the file system below a node's data directory.
type Disk interface {
	// DataDir is where the node finds its data.
	DataDir() string
	// Close ends the file system. The node does not run any more.
	Close() error
}

// Options is what a Host is made of.
type Options struct {
	// Binary is the tidemark to run. OldBinary, if it is not empty, is an older one that
	// the first nodes run until they are upgraded.
	Binary, OldBinary string
	// Dir gets the nodes' data and logs: Dir/n1/data, Dir/n1/start-1.log, …
	Dir string
	// Nodes is how many nodes form the cluster.
	Nodes int
	// Args follow the arguments that every node gets, Env the environment.
	Args, Env []string
	// Loopback puts the nodes on loopback with relays between them, even where network
	// namespaces could be had.
	Loopback bool
	// NewDisk mounts a disk for a node over dir, which exists and is the node's own.
	// Nil leaves the nodes on the file system of Dir.
	NewDisk func(id NodeID, dir string) (Disk, error)
	// Inspect, if not nil, is called once for each process of a node after its end, before
	// the node is started again, removed, or left by Stop. Its data directory is as the
	// process left it, or a power failure after that. The node waits until it returns. It
	// may be called for several nodes at once, and must call none of their methods that
	// start or stop a process.
	Inspect func(Node)
	// Logger may be nil.
	Logger *slog.Logger
}
