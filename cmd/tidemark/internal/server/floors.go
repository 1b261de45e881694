package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark"
	"tidemark/fsm"
	"tidemark/pebblestore"
	"tidemark/raftnode"
	"tidemark/raftnode/logstore"
	"tidemark/rpc"
)

// floors are the open parts of a node, each standing on the one before it.
type floors struct {
	directory *raftnode.Directory
	store     *pebblestore.Store
	machine   *fsm.Machine
	tails     *rpc.Tails
	node      *raftnode.Node
	api       *rpc.Server
	listener  net.Listener
	metrics   *prometheus.Registry
}

// open opens the floors from the ground up, or none. The client port comes first,
// so that a port in use is found before any file is touched.
func (s *server) open() (f *floors, err error) {
	f = &floors{metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.abandon())
		}
	}()
	if f.listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return f, fmt.Errorf("--listen %s: %w", s.cfg.Listen, err)
	}
	f.listener = limitConnections(f.listener, shareOf(openFiles(), 4, maxClientConnections), s.logger)
	if f.directory, err = raftnode.Claim(s.cfg.DataDir, s.cfg.NodeID, logstore.Kind(s.cfg.LogStore)); err != nil {
		return f, err
	}
	options := pebblestore.DefaultOptions()
	options.Logger = s.logger.With("floor", "pebblestore")
	options.BlockCacheBytes, options.MemTableBytes, options.IDFilterBytes = int64(s.cfg.StoreCache), s.cfg.StoreBuffer, int64(s.cfg.IDFilter)
	options.Fatal = func(message string) { s.fatal(storeError(message)) }
	options.OnBackgroundError = func(err error) {
		if errors.Is(err, tidemark.ErrCorrupt) {
			s.fatal(fmt.Errorf("background work of the store: %w", err))
		}
	}
	if f.store, err = pebblestore.Open(storeDir(s.cfg.DataDir), options); err != nil {
		return f, err
	}
	f.tails = rpc.NewTails()
	f.machine = fsm.New(f.store, fsm.Options{Logger: s.logger.With("floor", "fsm"), Fatal: s.fatal, Changed: f.tails.Changed})
	if f.node, err = raftnode.Open(s.nodeConfig(f)); err != nil {
		return f, err
	}
	if f.api, err = rpc.New(s.apiOptions(f)); err != nil {
		return f, err
	}
	f.metrics.MustRegister(&storeCollector{f.store})
	s.logger.Info("serving", "client", s.cfg.Listen, "raft", s.cfg.RaftListen, "applied", f.machine.Applied().Index)
	return f, nil
}

func storeDir(dataDir string) string { return filepath.Join(dataDir, "store") }

func (s *server) nodeConfig(f *floors) raftnode.Config {
	cfg := raftnode.DefaultConfig()
	cfg.NodeID = s.cfg.NodeID
	cfg.DataDir = s.cfg.DataDir
	cfg.RaftListen, cfg.RaftAdvertise = s.cfg.RaftListen, s.cfg.RaftAdvertise
	cfg.ClientAddress, cfg.HTTPAddress, cfg.Version = s.cfg.Advertise, s.cfg.HTTPListen, s.cfg.Version
	cfg.InitialCluster = s.cfg.InitialCluster
	cfg.Directory = f.directory
	cfg.LogStore = logstore.Kind(s.cfg.LogStore)
	cfg.SnapshotInterval = s.cfg.SnapshotInterval
	cfg.TrailingTime, cfg.TrailingBytes = s.cfg.TrailingTime, s.cfg.TrailingBytes
	cfg.Machine = f.machine
	cfg.EncodeEntry = fsm.EncodeEntry
	cfg.Noop = fsm.Noop{}.Encode()
	cfg.Levels = raftnode.Levels{
		Supported: fsm.Level, InForce: f.machine.Level,
		Raise: func(level uint32) []byte { return fsm.RaiseLevel{Level: level}.Encode() },
	}
	cfg.Clock = s.clock
	cfg.Logger = s.base.With("floor", "raftnode")
	cfg.Fatal = s.fatal
	cfg.Metrics = raftnode.NewMetrics(f.metrics)
	return cfg
}

func (s *server) apiOptions(f *floors) rpc.Options {
	return rpc.Options{
		NodeID:       s.cfg.NodeID,
		Node:         rpc.FromRaft(f.node),
		Store:        failStopStore{f.store, s.fatal},
		Tails:        f.tails,
		OpenSnapshot: f.machine.OpenSnapshot,
		Logger:       s.logger.With("floor", "rpc"),
		Registerer:   f.metrics,
		HandOver:     s.handOver(f),
		Disk:         s.disk.usage,
		Clock:        s.clock,

		RetentionInterval: s.cfg.RetentionInterval,
		ChangesMaxAge:     s.cfg.ChangesMaxAge, ChangesMaxEntries: s.cfg.ChangesMaxEntries,
		StoreFormat: pebblestore.FormatVersion,
	}
}

// handOver gives leadership away, if this node has it. Where nobody can take it, as
// when all nodes are stopped at once, that is not this node's failure.
func (s *server) handOver(f *floors) func(context.Context) error {
	return func(ctx context.Context) error {
		if !f.node.IsLeader() {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout/4)
		defer cancel()
		next, err := f.node.TransferLeadership(ctx, "")
		if err != nil {
			s.logger.Warn("leadership was not handed over; the others elect a leader by themselves", "error", err)
			return nil
		}
		s.logger.Info("handed leadership over", "leader", next)
		return nil
	}
}

// serve takes calls until the API is shut down. An error means that the port is gone.
func (f *floors) serve() error { return f.api.Serve(f.listener) }

// closeFloors closes the floors from the top down: no new calls, leadership handed over,
// calls under way finished, Raft stopped, and the store synced and closed. Calls
// get half of the time. Cutting off those that are left is no failure: their
// clients learn that the outcome is unknown, and ask another node.
func (s *server) closeFloors(ctx context.Context, f *floors) error {
	calls, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout/2)
	defer cancel()
	err := f.api.Shutdown(calls)
	if errors.Is(err, context.DeadlineExceeded) {
		s.logger.Warn("calls under way were cut off", "error", err)
		err = nil
	}
	return errors.Join(err, f.node.Shutdown(ctx), f.store.Close(), f.directory.Close())
}

// abandon closes what a failed open has opened.
func (f *floors) abandon() error {
	ctx := context.Background()
	var errs []error
	if f.api != nil {
		errs = append(errs, f.api.Shutdown(ctx))
	}
	if f.node != nil {
		errs = append(errs, f.node.Shutdown(ctx))
	}
	if f.store != nil {
		errs = append(errs, f.store.Close())
	}
	if f.directory != nil {
		errs = append(errs, f.directory.Close())
	}
	if f.listener != nil {
		if err := f.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// storeError makes an error of the message with which Pebble gives up. It does not
// say what kind of error it is but in words.
func storeError(message string) error {
	if strings.Contains(message, syscall.ENOSPC.Error()) {
		return fmt.Errorf("%w: store: %s", tidemark.ErrDiskFull, message)
	}
	return fmt.Errorf("store: %s", message)
}
