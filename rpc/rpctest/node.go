package rpctest

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tidemark/fsm"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
	"tidemark/raftnode"
	"tidemark/rpc"
)

// Node is one node of a cluster.
type Node struct {
	ID string
	// Address is where the node serves the API, RaftAddress where the others reach
	// it. Both stay the same when it is started again.
	Address, RaftAddress string

	// Raft, Server and Store are nil while the node does not run.
	Raft   *raftnode.Node
	Server *rpc.Server
	Store  *pebblestore.Store

	cluster         *Cluster
	dir             string
	listener, peers net.Listener
	served          chan error
	directory       *raftnode.Directory
	conn            *grpc.ClientConn
	isolated        bool
}

// newNode makes a node without starting it. Its ports are taken already.
func (c *Cluster) newNode(id, dir string) *Node {
	c.tb.Helper()
	n := &Node{ID: id, cluster: c, dir: dir, listener: c.listen("127.0.0.1:0"), peers: c.listen("127.0.0.1:0")}
	n.Address, n.RaftAddress = n.listener.Addr().String(), n.peers.Addr().String()
	c.links.name(n.RaftAddress, id)
	c.nodes = append(c.nodes, n)
	c.tb.Cleanup(func() {
		n.Stop()
		storetest.Check(c.tb, n.storeDir(), n.storeOptions())
	})
	return n
}

// Start starts the node again after Stop or Crash, with its own data and ports.
func (n *Node) Start() {
	n.cluster.tb.Helper()
	n.listener, n.peers = n.cluster.listen(n.Address), n.cluster.listen(n.RaftAddress)
	n.start(n.cluster.initial)
}

func (n *Node) storeDir() string { return filepath.Join(n.dir, "store") }

func (n *Node) storeOptions() pebblestore.Options { return storetest.Options(n.cluster.tb, nil) }

func (n *Node) start(initial map[string]string) {
	tb := n.cluster.tb
	tb.Helper()
	fatal := func(err error) {
		tb.Errorf("%s cannot go on: %v", n.ID, err)
		select {} // it must not return
	}
	cfg := n.raftConfig(initial)
	cfg.Fatal = fatal
	directory, err := raftnode.Claim(cfg.DataDir, cfg.NodeID, cfg.LogStore)
	if err != nil {
		tb.Fatalf("start %s: %v", n.ID, err)
	}
	if n.Store, err = pebblestore.Open(n.storeDir(), n.storeOptions()); err != nil {
		tb.Fatalf("start %s: %v", n.ID, errors.Join(err, directory.Close()))
	}
	tails := rpc.NewTails()
	machine := fsm.New(n.Store, fsm.Options{Logger: cfg.Logger, Fatal: fatal, Changed: tails.Changed})
	cfg.Directory, cfg.Machine = directory, machine
	cfg.Levels = raftnode.Levels{
		Supported: fsm.Level, InForce: machine.Level,
		Raise: func(level uint32) []byte { return fsm.RaiseLevel{Level: level}.Encode() },
	}
	if n.Raft, err = raftnode.Open(cfg); err != nil {
		tb.Fatalf("start %s: %v", n.ID, errors.Join(err, n.Store.Close(), directory.Close()))
	}
	n.directory = directory
	options := rpc.Options{
		NodeID: n.ID, Node: rpc.FromRaft(n.Raft), Store: n.Store, Tails: tails, OpenSnapshot: machine.OpenSnapshot,
		Logger: cfg.Logger, StoreFormat: pebblestore.FormatVersion,
	}
	if n.cluster.options.Server != nil {
		n.cluster.options.Server(n.ID, &options)
	}
	if n.Server, err = rpc.New(options); err != nil {
		tb.Fatalf("start %s: %v", n.ID, err)
	}
	served, server, listener := make(chan error, 1), n.Server, n.listener
	go func() { served <- server.Serve(listener) }()
	n.served = served
}

// raftConfig has timeouts that are short, but long enough for a machine under load.
func (n *Node) raftConfig(initial map[string]string) raftnode.Config {
	cfg := raftnode.DefaultConfig()
	cfg.NodeID, cfg.DataDir = n.ID, n.dir
	cfg.Listener, cfg.RaftAdvertise, cfg.DialContext = n.peers, n.RaftAddress, n.cluster.links.dialer(n.ID)
	cfg.ClientAddress, cfg.Version = n.Address, "test"
	cfg.InitialCluster = initial
	cfg.EncodeEntry, cfg.Noop = fsm.EncodeEntry, fsm.Noop{}.Encode()
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond
	cfg.CommitTimeout = 10 * time.Millisecond
	cfg.PeerTimeout = time.Second
	cfg.ProbeInterval = 20 * time.Millisecond
	cfg.Logger = n.cluster.options.Logger.With("node", n.ID)
	if n.cluster.options.Raft != nil {
		n.cluster.options.Raft(n.ID, &cfg)
	}
	return cfg
}

// Stop ends the node as an operator does: it hands leadership over and answers what
// is in flight. It does nothing if the node does not run.
func (n *Node) Stop() {
	n.cluster.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.end(ctx)
}

// Crash ends the node as a kill of its process does, as far as others can tell: its
// connections break, and nothing is handed over or answered.
func (n *Node) Crash() {
	n.cluster.tb.Helper()
	n.cluster.links.cut(n.ID)
	defer n.cluster.links.heal(n.ID)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.end(ctx)
}

// Isolate cuts the node off from the other nodes, but not from clients.
func (n *Node) Isolate() { n.cluster.links.cut(n.ID); n.isolated = true }

// Heal ends Isolate.
func (n *Node) Heal() { n.cluster.links.heal(n.ID); n.isolated = false }

// end takes the node down from the door to the disk. If ctx is over already the door
// is cut off and nothing handed over.
func (n *Node) end(ctx context.Context) {
	tb := n.cluster.tb
	tb.Helper()
	if n.Raft == nil {
		return
	}
	abrupt := ctx.Err() != nil
	if err := n.Server.Shutdown(ctx); err != nil && !abrupt {
		tb.Errorf("stop the server of %s: %v", n.ID, err)
	}
	if err := <-n.served; err != nil {
		tb.Errorf("%s served until: %v", n.ID, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Raft.Shutdown(ctx); err != nil {
		tb.Errorf("stop %s: %v", n.ID, err)
	}
	if err := errors.Join(n.Store.Close(), n.directory.Close()); err != nil {
		tb.Errorf("close %s: %v", n.ID, err)
	}
	if n.conn != nil {
		n.conn.Close()
	}
	n.Raft, n.Server, n.Store, n.conn, n.isolated = nil, nil, nil, nil, false
}

// Conn is a connection to the node's API. It ends with the node.
func (n *Node) Conn() *grpc.ClientConn {
	n.cluster.tb.Helper()
	if n.conn == nil {
		conn, err := grpc.NewClient("passthrough:///"+n.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			n.cluster.tb.Fatal(err)
		}
		n.conn = conn
	}
	return n.conn
}
