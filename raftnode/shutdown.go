package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark"
)

// shutdownLimit bounds Shutdown when its context does not.
const shutdownLimit = 15 * time.Second

// Shutdown stops the node: it hands leadership over if it leads, refuses what
// waits, gives what is in flight a moment to be committed, stops Raft, and closes
// everything it opened. Every proposal is resolved when it returns. It is
// idempotent. If ctx ends before Raft has stopped, the error says so, the files
// stay open, and the process should exit. The state machine is left open.
func (n *Node) Shutdown(ctx context.Context) error {
	n.stopOnce.Do(func() { n.stopErr = n.shutdown(ctx) })
	return n.stopErr
}

func (n *Node) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	n.stopping.Store(true)
	n.leader.kick()
	if n.IsLeader() && len(voters(n.members.configuration())) > 1 {
		handOver, cancel := context.WithTimeout(ctx, 2*n.cfg.ElectionTimeout)
		if next, err := n.transfer(handOver, ""); err != nil {
			n.logger.Warn("cannot hand leadership over before stopping; the others elect a leader by themselves", "error", err)
		} else {
			n.logger.Info("handed leadership over before stopping", "leader", next)
		}
		cancel()
	}
	n.proposer.stop()
	n.proposer.drained(after(ctx, n.cfg.ElectionTimeout))
	n.cancel(tidemark.ErrStopping)
	n.stopMetrics()
	stopped := make(chan error, 1)
	go func() {
		shutdown := n.raft.Shutdown()
		// Raft reads an incoming snapshot, and sends an outgoing one, to its end
		// unless the connection breaks.
		err := n.closePeers()
		stopped <- errors.Join(shutdown.Error(), err)
	}()
	var err error
	select {
	case err = <-stopped:
	case <-ctx.Done():
		close(n.raftDone)
		n.proposer.giveUp()
		return fmt.Errorf("raft does not stop: %w", context.Cause(ctx))
	}
	close(n.raftDone)
	n.proposer.abandon()
	n.tasks.Wait()
	err = errors.Join(err, n.closeStores())
	n.logger.Info("node stopped")
	return err
}

// after returns a channel that is closed when d has passed or ctx has ended.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// closePeers ends the conversation with the other nodes.
func (n *Node) closePeers() error {
	if n.server != nil {
		n.server.Stop()
	}
	err := n.clients.Close()
	return errors.Join(err, n.transport.Close(), n.mux.Close())
}

// closeStores closes the log and gives the directory up.
func (n *Node) closeStores() error {
	var errs []error
	if n.snapshots != nil {
		errs = append(errs, n.snapshots.close())
	}
	if n.logs != nil {
		errs = append(errs, n.logs.Close())
	}
	if n.ownsDir {
		errs = append(errs, n.dir.Close())
	}
	return errors.Join(errs...)
}
