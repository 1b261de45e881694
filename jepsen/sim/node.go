package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark/fsm"
	"tidemark/pebblestore"
	"tidemark/raftnode"
	"tidemark/raftnode/logstore"

	"tidemark/internal/crashfs"
)

// storeDir is where a node keeps its store in its file system.
const storeDir = "store"

// Node is a machine: what lies on its disks, its clock, and the process that runs
// on it now, if any.
type Node struct {
	ID      string
	address string
	cluster *Cluster
	faults  *diskFaults
	// clockOffset is how far the clock is off.
	clockOffset atomic.Int64
	// dir holds the files NODE, LOCK and PEERS, which a crash does not touch.
	dir string
	// booting holds one token while a process is being started: on a disk that hangs
	// that can take so long that somebody else wants to start one, too.
	booting chan struct{}

	mu      sync.Mutex
	rng     *rand.Rand
	files   *crashfs.FS
	log     *logDisk
	process *process
	starts  int
}

// process is one run of the server's floors.
type process struct {
	node    *Node
	name    string
	dir     *raftnode.Directory
	store   *pebblestore.Store
	machine *fsm.Machine
	raft    *raftnode.Node

	// ctx ends at the instant of the process's end. What the floors still do then,
	// nobody sees: the network and the disks are no longer theirs.
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once

	// stopped is closed when Raft has stopped, with stopErr.
	stopping atomic.Bool
	stopped  chan struct{}
	stopErr  error
}

// running is the process, or nil.
func (n *Node) running() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

func (p *process) isDead() bool { return p.ctx.Err() != nil }

// start starts a process on what lies on the disks, if none runs.
func (n *Node) start() (err error) {
	n.booting <- struct{}{}
	defer func() { <-n.booting }()
	if n.running() != nil {
		return nil
	}
	n.mu.Lock()
	n.starts++
	p := &process{node: n, name: fmt.Sprintf("%s.%d", n.ID, n.starts), stopped: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	files, log := n.files, n.log
	n.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", p.name, err)
			p.die(false)
		}
	}()
	logger := n.cluster.options.Logger.With("process", p.name)
	if p.dir, err = raftnode.Claim(n.dir, n.ID, logstore.WAL); err != nil {
		return err
	}
	o := pebblestore.DefaultOptions()
	o.FS, o.Logger = files, logger
	o.BlockCacheBytes, o.MemTableBytes, o.IDFilterBytes = 1<<20, 64<<10, 16<<10
	o.Fatal = func(message string) { p.fatal(errors.New(message)) }
	o.OnBackgroundError = func(err error) {
		if !p.isDead() {
			n.cluster.noteFailure(fmt.Errorf("%s: background work: %w", p.name, err))
		}
	}
	if p.store, err = pebblestore.Open(storeDir, o); err != nil {
		return err
	}
	p.machine = fsm.New(p.store, fsm.Options{Logger: logger, Fatal: p.fatal})
	cfg := n.config(p, logger)
	cfg.OpenLogs = log.openLogs
	cfg.Listener, cfg.DialContext = n.cluster.Network.Boot(n.ID)
	raft, err := raftnode.Open(cfg)
	if err != nil {
		return err
	}
	n.mu.Lock()
	p.raft = raft
	dead := p.isDead()
	if !dead {
		n.process = p
	}
	n.mu.Unlock()
	if dead { // it ended itself meanwhile, and was reaped without Raft
		n.cluster.reaping.Go(p.reap)
	}
	return nil
}

// config is what the server uses, but for what would only cost wall time.
func (n *Node) config(p *process, logger *slog.Logger) raftnode.Config {
	options := &n.cluster.options
	cfg := raftnode.DefaultConfig()
	cfg.NodeID, cfg.DataDir, cfg.Directory, cfg.LogStore = n.ID, n.dir, p.dir, logstore.WAL
	cfg.RaftListen, cfg.RaftAdvertise = n.address, n.address
	cfg.ClientAddress, cfg.Version = n.ID, "sim"
	cfg.InitialCluster = n.cluster.initial
	cfg.Machine, cfg.EncodeEntry, cfg.Noop = p.machine, fsm.EncodeEntry, fsm.Noop{}.Encode()
	cfg.Levels = raftnode.Levels{
		Supported: fsm.Level, InForce: p.machine.Level,
		Raise: func(level uint32) []byte { return fsm.RaiseLevel{Level: level}.Encode() },
	}
	cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(n.clockOffset.Load())) }
	cfg.CommitTimeout, cfg.ProbeInterval = 150*time.Millisecond, 2*time.Second
	cfg.SnapshotInterval, cfg.TrailingTime = options.SnapshotInterval, options.TrailingTime
	cfg.Logger, cfg.Fatal = logger, p.fatal
	return cfg
}

// fatal is what the floors call when they must not go on.
func (p *process) fatal(err error) {
	if !p.isDead() {
		p.node.cluster.ended(p, err)
		p.die(false)
	}
	runtime.Goexit()
}

// die ends the process as SIGKILL does, or a loss of power. First nobody hears from
// it any more; then the disks are what it left; so whatever somebody has heard is
// on them.
func (p *process) die(power bool) {
	p.once.Do(func() {
		n := p.node
		n.cluster.Network.Down(n.ID, power)
		p.cancel()
		unsynced := 100
		n.mu.Lock()
		if power {
			unsynced = []int{0, 30, 80}[n.rng.IntN(3)]
		}
		n.files = n.files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: n.rng})
		n.log = n.log.crash(power)
		n.process = nil
		n.mu.Unlock()
		if p.dir != nil {
			// What fails here shows when the next process claims the directory.
			_ = p.dir.Close()
		}
		n.cluster.reaping.Go(p.reap)
	})
}

// reap ends the goroutines of a dead process.
func (p *process) reap() {
	p.node.mu.Lock()
	raft := p.raft
	p.node.mu.Unlock()
	if raft != nil {
		if err := p.shutdown(); err != nil {
			p.node.cluster.options.Logger.Debug("reaped", "process", p.name, "error", err)
		}
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.node.cluster.options.Logger.Debug("reaped", "process", p.name, "error", err)
		}
	}
}

// shutdown stops Raft. A process can die while it is stopped, and who comes second
// waits at a channel: the mutex in Shutdown's sync.Once would hold up virtual time.
func (p *process) shutdown() error {
	if p.stopping.CompareAndSwap(false, true) {
		p.stopErr = p.raft.Shutdown(context.Background())
		close(p.stopped)
	}
	<-p.stopped
	return p.stopErr
}

// stop shuts the process down in good order.
func (n *Node) stop() error {
	p := n.running()
	if p == nil {
		return nil
	}
	err := p.shutdown()
	if p.isDead() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	if err := p.store.Close(); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	p.once.Do(func() {
		n.cluster.Network.Down(n.ID, false)
		p.cancel()
		n.mu.Lock()
		n.process = nil
		n.mu.Unlock()
		err = p.dir.Close()
	})
	return err
}

// Cluster is some nodes and the network between them.
type Cluster struct {
	Network *Network
	Nodes   []*Node
	options Options
	initial map[string]string
	// reaping counts the dead processes whose goroutines have not ended.
	reaping sync.WaitGroup

	mu       sync.Mutex
	failures []error
	restarts int
	// due are nodes whose process ended itself.
	due []*Node
}

func newCluster(options Options, dir string, rng *rand.Rand) *Cluster {
	c := &Cluster{Network: NewNetwork(rng), options: options, initial: map[string]string{}}
	for i := range options.Nodes {
		id := fmt.Sprintf("n%d", i+1)
		n := &Node{
			ID: id, address: id + ":7000", cluster: c, dir: filepath.Join(dir, id),
			faults: &diskFaults{fsync: usualFsync, earlyAck: options.Bug == BugEarlyAck, twoWriteVotes: options.Bug == BugTwoWriteVotes},
			rng:    rand.New(rand.NewPCG(rng.Uint64(), 4)),
			files:  crashfs.New(), booting: make(chan struct{}, 1),
		}
		n.log = newLogDisk(rand.New(rand.NewPCG(rng.Uint64(), 5)), n.faults)
		c.initial[id] = n.address
		c.Network.AddHost(id, n.address)
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// ended notes that a process ended itself. Two reasons are in order: Raft remembers
// what is no longer there, and the disk hangs.
func (c *Cluster) ended(p *process, err error) {
	c.options.Logger.Info("process ended itself", "process", p.name, "error", err)
	c.mu.Lock()
	c.due = append(c.due, p.node)
	if errors.Is(err, raftnode.ErrRestart) || errors.Is(err, errHangs) {
		c.restarts++
		err = nil
	}
	c.mu.Unlock()
	if err == nil {
		return
	}
	c.noteFailure(fmt.Errorf("%s ended itself: %w", p.name, err))
}

func (c *Cluster) noteFailure(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, err)
}

func (c *Cluster) node(id string) *Node {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// leader is the node that takes proposals, or nil.
func (c *Cluster) leader() *Node {
	for _, n := range c.Nodes {
		if p := n.running(); p != nil && p.raft.IsLeader() {
			return n
		}
	}
	return nil
}
