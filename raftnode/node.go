// Package raftnode is one node of the cluster: it makes one log of what many
// callers propose, keeps it on the disks of a majority, and applies it to a state
// machine. It promises that
//
//   - a proposal that succeeded is committed and applied, in the order in which it
//     was proposed, and one that failed says whether it can still be applied;
//   - a read index covers all that was acknowledged before it was asked for;
//   - the state machine only ever holds a prefix of the committed log, also after
//     a crash in the middle of anything, and a node whose data does not add up
//     refuses to start;
//   - whatever it waits for, it waits with a bound.
//
// It does not know what a command means, and it must not import fsm, pebblestore
// or rpc. Nobody above it imports hashicorp/raft: DESIGN.md says what is done
// about each of that library's traps.
package raftnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"tidemark"
	"tidemark/raftnode/logstore"
	"tidemark/raftnode/peer"
)

// Node is one running member of the cluster. All methods are safe for concurrent use.
type Node struct {
	cfg     Config
	logger  *slog.Logger
	machine StateMachine
	metrics *Metrics
	started time.Time

	dir       *Directory
	ownsDir   bool
	logs      Logs
	retention *retention
	snapshots *snapshotStore
	fsm       *fsmAdapter

	registry  *peer.FileRegistry
	mux       *peer.Mux
	transport *peer.Transport
	clients   *peer.Clients
	server    *grpc.Server
	members   *memberView
	// replacedTold bounds what the claims of others write to the log.
	replacedTold sometimes

	raft     *raft.Raft
	proposer *proposer
	// notify carries Raft's changes of leadership. It must stay unbuffered: see
	// leadership.go.
	notify chan bool
	leader *leaderView
	fresh  freshness
	lease  clockLease

	leaderReads   rounds[readPoint]
	followerReads rounds[readPoint]

	// ctx ends when the node stops; tasks are the goroutines that end with it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup
	// raftDone is closed when Raft is shut down.
	raftDone     chan struct{}
	stopping     atomic.Bool
	stopOnce     sync.Once
	stopErr      error
	stopMetrics  func()
	transferring sync.Mutex
	changing     sync.Mutex
}

// Open starts a node. Before it listens or votes it checks that the log and the
// state machine fit together. The error wraps tidemark.ErrForeignData,
// logstore.ErrOtherKind, tidemark.ErrNewerFormat, ErrCorrupt or ErrInvalid where
// one of them says it.
func Open(cfg Config) (node *Node, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, logger: cfg.Logger.With("node_id", cfg.NodeID), machine: cfg.Machine, metrics: cfg.Metrics,
		started: time.Now(), dir: cfg.Directory,
		notify: make(chan bool), raftDone: make(chan struct{}), leader: newLeaderView(), stopMetrics: func() {},
	}
	n.cfg.Logger = n.logger
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.leaderReads.run, n.followerReads.run = n.leaderRound, n.followerRound
	defer func() {
		if err != nil {
			n.cancel(err)
			err = errors.Join(err, n.closeStores())
		}
	}()
	if err := n.openStores(); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	if err := n.startRaft(); err != nil {
		return nil, errors.Join(err, n.closePeers())
	}
	n.start()
	return n, nil
}

// openStores claims the directory, opens the log and checks what it holds.
func (n *Node) openStores() error {
	if n.dir == nil {
		dir, err := Claim(n.cfg.DataDir, n.cfg.NodeID, n.cfg.LogStore)
		if err != nil {
			return err
		}
		n.dir, n.ownsDir = dir, true
	} else if n.dir.id.NodeID != n.cfg.NodeID || n.dir.id.LogStore != n.cfg.LogStore {
		return fmt.Errorf("%w: the claimed directory is of node %s with log store %s", tidemark.ErrForeignData, n.dir.id.NodeID, n.dir.id.LogStore)
	}
	n.retention = newRetention(n.cfg.TrailingTime, n.cfg.TrailingBytes)
	logs, err := openLog(&n.cfg, n.dir)
	if err != nil {
		return err
	}
	n.logs = logs
	if err := checkStart(n.logs, n.machine); err != nil {
		return err
	}
	n.retention.restart(max(n.logs.FirstIndex(), 1) - 1)
	if n.registry, err = peer.OpenRegistry(filepath.Join(n.dir.path, registryFile)); err != nil {
		return err
	}
	if n.members, err = newMemberView(n.machine.Applied()); err != nil {
		return err
	}
	return n.forgetStrangers()
}

// openLog opens the log store, which never deletes from the front of the log what
// the state machine has not made durable.
func openLog(cfg *Config, dir *Directory) (Logs, error) {
	mustExist, err := hasTakenPart(cfg.Machine, dir)
	if err != nil {
		return nil, err
	}
	machine, metrics := cfg.Machine, cfg.Metrics
	return cfg.OpenLogs(logstore.Options{
		Kind:      cfg.LogStore,
		Dir:       filepath.Join(dir.path, raftDir),
		MustExist: mustExist,
		Logger:    cfg.Logger,
		Durable:   machine.DurableIndex,
		Fatal:     cfg.Fatal,
		OnAppend: func(_, bytes int, took time.Duration) {
			metrics.logAppendBytes.Add(float64(bytes))
			metrics.logAppendSeconds.Observe(took.Seconds())
		},
		OnStableWrite: func(took time.Duration) { metrics.voteSeconds.Observe(took.Seconds()) },
	})
}

func (n *Node) listen() error {
	mux, err := peer.Listen(peer.Config{
		NodeID:      n.cfg.NodeID,
		Incarnation: n.dir.id.Incarnation,
		Listen:      n.cfg.RaftListen,
		Advertise:   n.cfg.RaftAdvertise,
		Registry:    n.registry,
		IsMember:    n.members.contains,
		OnRefused:   n.refused,
		OnAccepted: func(_ string, kind peer.Kind, _ bool) {
			n.metrics.connections.WithLabelValues(kind.String()).Inc()
		},
		TLS:         n.cfg.TLS,
		Listener:    n.cfg.Listener,
		DialContext: n.cfg.DialContext,
		Logger:      n.logger,
	})
	if err != nil {
		return fmt.Errorf("listen on the raft address %s: %w", n.cfg.RaftListen, err)
	}
	n.mux = mux
	n.clients = peer.NewClients(mux)
	n.transport = peer.NewTransport(mux, peer.TransportConfig{
		AdmitSnapshot: n.admitSnapshot,
		Committed:     n.logs.Synced,
		OnInvalid: func(id string, err error) {
			n.logger.Warn("refused a message of a peer", "peer", id, "error", err)
		},
		Logger:     n.logger,
		RaftLogger: newRaftLogger(n.logger),
	})
	return nil
}

func (n *Node) startRaft() error {
	n.snapshots = newSnapshotStore(&n.cfg, n.retention)
	n.snapshots.installed, n.snapshots.missed = n.fitLog, n.membershipMissed
	n.fsm = newFSMAdapter(&n.cfg, n.snapshots, n.retention)
	n.fsm.onMembership, n.fsm.awaitSynced = n.membershipApplied, n.logs.AwaitSynced
	if err := bootstrap(&n.cfg, n.logs); err != nil {
		return err
	}
	// Raft can tell of a change of leadership before NewRaft returns.
	ready := make(chan struct{})
	n.tasks.Go(func() { n.followLeadership(ready) })
	var leads atomic.Pointer[raft.Raft]
	var log raft.LogStore = leaderLog{n.logs.Log(), n.logs, func() bool {
		r := leads.Load()
		return r != nil && r.State() == raft.Leader
	}}
	log = retainingLog{log, n.retention, n.machine.DurableIndex}
	if n.cfg.wrapLog != nil {
		log = n.cfg.wrapLog(log)
	}
	r, err := raft.NewRaft(n.cfg.raftConfig(n.notify), n.fsm, log, n.logs.Stable(), n.snapshots, n.transport)
	if err != nil {
		close(n.raftDone)
		close(ready)
		n.tasks.Wait()
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft = r
	leads.Store(r)
	n.proposer = newProposer(&n.cfg, func(l raft.Log) raft.ApplyFuture { return r.ApplyLog(l, 0) })
	n.members.follow(r)
	close(ready)
	return nil
}

// start begins what runs beside Raft.
func (n *Node) start() {
	n.server = peer.NewServer(n.mux, peerService{n})
	n.stopMetrics = n.metrics.watch(n)
	n.tasks.Go(n.watchLeader)
	n.tasks.Go(n.probe)
	n.tasks.Go(n.watchFollowers)
	n.tasks.Go(n.raiseLevels)
	n.tasks.Go(n.members.learn(n))
	n.tasks.Go(func() { n.mux.Meet(n.ctx, n.members.peers) })
	a := n.machine.Applied()
	n.logger.Info("node started", "raft_address", n.cfg.RaftAdvertise, "log_store", n.cfg.LogStore,
		"first_log_index", n.logs.FirstIndex(), "last_log_index", n.logs.LastIndex(), "applied_index", a.Index)
}

// Propose has a command replicated and applied, and returns its result. For its
// errors see Pending.Wait; nothing was proposed if ctx had ended before the call.
func (n *Node) Propose(ctx context.Context, command []byte) (tidemark.Proposal, error) {
	if err := ctx.Err(); err != nil {
		return tidemark.Proposal{}, fmt.Errorf("command was not proposed: %w", err)
	}
	return n.ProposeAsync(command).Wait(ctx)
}

// ProposeAsync queues a command. The order of calls is the order in the log; see
// Pipeline for callers that propose on while something fails. The command must
// not be changed until the proposal is Done.
func (n *Node) ProposeAsync(command []byte) *Pending {
	pending, _ := n.proposer.enqueue(command, 0)
	return pending
}

// TakeSnapshot makes the state durable and shortens the log. It returns the index
// and term that are durable at least.
func (n *Node) TakeSnapshot(ctx context.Context) (index, term uint64, err error) {
	if n.stopping.Load() {
		return 0, 0, tidemark.ErrStopping
	}
	a := n.machine.Applied()
	done := make(chan error, 1)
	go func() { done <- n.raft.Snapshot().Error() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("take a snapshot: %w", context.Cause(ctx))
	case <-n.raftDone:
		return 0, 0, tidemark.ErrStopping
	}
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		err = n.machine.Sync()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("take a snapshot: %w", err)
	}
	return a.Index, a.Term, nil
}

// WaitApplied returns nil once the state machine of this node holds the effect of
// everything up to index, which must be one that ReadIndex, Proposal.Position or
// an Applied record gave: the index of a command or of a configuration. (Those of
// Raft's own no-op entries never reach a state machine, and none of these three
// ever gives one; readindex.go says why.)
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	if n.machine.Applied().Index >= index {
		return nil
	}
	ctx, cancel := n.bound(ctx)
	defer cancel()
	return n.machine.WaitApplied(ctx, index)
}

// bound makes a context that also ends, with ErrStopping as its cause, when the node stops.
func (n *Node) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(tidemark.ErrStopping) })
	return ctx, func() { stop(); cancel(nil) }
}
