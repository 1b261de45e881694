// Package server is a node as a process: it opens the floors in order, watches
// the disk under them, and closes them in reverse order. It decides when a node
// serves, never what it answers.
//
// A node that runs short of disk space steps aside before the disk is full: it
// hands leadership over and closes its files, says so at /readyz, and serves
// again in the same process when there is room.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tidemark"
	"tidemark/cmd/tidemark/internal/exit"
)

// server is a node over the life of its process.
type server struct {
	cfg Config
	// logger names this node; base does not, for a floor that does so itself.
	logger, base *slog.Logger
	disk         *disk
	clock        func() time.Time

	mu sync.Mutex
	// floors is nil while the node does not serve, and reason then says why.
	floors *floors
	reason error
}

// Run runs a node until ctx ends, and then stops it in order. It returns nil if
// all went as asked.
func Run(ctx context.Context, cfg Config, logger *slog.Logger) error {
	if err := cfg.check(); err != nil {
		return err
	}
	s := &server{
		cfg:    cfg,
		logger: logger.With("node_id", cfg.NodeID),
		base:   logger,
		disk:   newDisk(cfg.DataDir, cfg.DiskReserve),
		reason: errors.New("starting"),
	}
	var err error
	if s.clock, err = openClock(cfg.ClockOffsetFile, s.logger); err != nil {
		return err
	}
	port, err := openHTTP(cfg.HTTPListen, s.ready, s.gatherer(), s.logger)
	if err != nil {
		return err
	}
	s.logger.Info("starting", "version", cfg.Version, "data_dir", cfg.DataDir, "http", cfg.HTTPListen, "pid", os.Getpid())
	s.checkFiles()
	err = s.run(ctx)
	// Profiles may be under way; nobody waits for them.
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if closeErr := port.close(closing); closeErr != nil {
		s.logger.Debug("closing the HTTP port", "error", closeErr)
	}
	if err == nil {
		s.logger.Info("stopped")
	}
	return err
}

// run serves while there is room, and waits for room while there is not.
func (s *server) run(ctx context.Context) error {
	want := s.cfg.DiskReserve
	for {
		if err := s.waitForRoom(ctx, want); err != nil {
			// The process was asked to stop while it waited.
			return nil
		}
		full, err := s.serve(ctx)
		if err != nil || !full {
			return err
		}
		want = s.disk.resume()
	}
}

// waitForRoom returns nil when there is enough room to serve.
func (s *server) waitForRoom(ctx context.Context, want uint64) error {
	told := false
	err := s.disk.waitUntil(ctx, want, func(low error) bool {
		// Unknown is not full: opening the files will tell what is wrong.
		if !errors.Is(low, tidemark.ErrDiskFull) {
			return true
		}
		s.setReason(fmt.Errorf("waiting for room: %w", low))
		if !told {
			s.logger.Error("waiting for room on the disk; make room, and the node serves again by itself", "error", low)
			told = true
		}
		return false
	})
	if err == nil && told {
		s.logger.Info("there is room again")
	}
	return err
}

// serve opens the floors, and closes them when ctx ends or the disk is nearly
// full, which it reports as full.
func (s *server) serve(ctx context.Context) (full bool, err error) {
	s.setReason(errors.New("starting"))
	f, err := s.open()
	if err != nil {
		return false, err
	}
	s.setFloors(f)
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	var background sync.WaitGroup
	background.Go(func() { s.join(stopping, f) })

	failed := make(chan error, 1)
	go func() { failed <- f.serve() }()
	low := make(chan error, 1)
	background.Go(func() {
		_ = s.disk.waitUntil(stopping, s.cfg.DiskReserve, func(err error) bool {
			if errors.Is(err, tidemark.ErrDiskFull) {
				low <- err
				return true
			}
			return false
		})
	})
	select {
	case <-ctx.Done():
		s.setReason(errors.New("stopping"))
		s.logger.Info("stopping", "timeout", s.cfg.ShutdownTimeout)
	case lowErr := <-low:
		full = true
		s.setReason(fmt.Errorf("stepping aside: %w", lowErr))
		s.logger.Error("stepping aside before the disk is full; make room, and the node serves again by itself", "error", lowErr)
	case err = <-failed:
		s.setReason(err)
	}
	stop()
	background.Wait()
	return full, errors.Join(err, s.close(f))
}

// close closes the floors within the bound. Should they hang all the same, the
// process ends: everything acknowledged is on the disk already.
func (s *server) close(f *floors) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.ShutdownTimeout)
	defer cancel()
	overdue := time.AfterFunc(s.cfg.ShutdownTimeout+shutdownGrace, func() {
		s.fatal(fmt.Errorf("the node did not stop within %v", s.cfg.ShutdownTimeout))
	})
	defer overdue.Stop()
	err := s.closeFloors(ctx, f)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the node did not stop in order within %v (--shutdown-timeout): %v", s.cfg.ShutdownTimeout, err)
	}
	return err
}

// shutdownGrace is what floors get beyond ShutdownTimeout to close their files.
const shutdownGrace = 10 * time.Second

// ready says why the node cannot serve, or nil.
func (s *server) ready() error {
	s.mu.Lock()
	f, reason := s.floors, s.reason
	s.mu.Unlock()
	if f == nil {
		return reason
	}
	return f.node.Ready()
}

func (s *server) setReason(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floors, s.reason = nil, reason
}

func (s *server) setFloors(f *floors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floors, s.reason = f, nil
}

// gatherer returns what collects the metrics of the process and of the floors
// that are open when it is called.
func (s *server) gatherer() func() prometheus.Gatherer {
	process := prometheus.NewRegistry()
	process.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&diskCollector{s.disk},
	)
	return func() prometheus.Gatherer {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.floors == nil {
			return process
		}
		return prometheus.Gatherers{process, s.floors.metrics}
	}
}

var fatalOnce sync.Once

// fatal ends the process because going on would do harm. It never returns. The
// floors call it from any goroutine; the first one counts.
func (s *server) fatal(err error) {
	fatalOnce.Do(func() {
		status := exit.Status(err)
		if status == exit.Failed {
			// A floor that cannot go on has met a broken disk or a bug.
			status = exit.Broken
		}
		s.logger.Error("the node ends, because going on would do harm", "error", err, "next", exit.NextStep(err), "exit_status", status)
		os.Exit(status)
	})
	select {}
}
