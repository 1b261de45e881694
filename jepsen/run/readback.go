//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
	"tidemark/jepsen/workload"
)

const (
	// markTimeout is how long the last append of a run may take.
	markTimeout = 30 * time.Second
	// readBackTimeout is how long it may take until all of one node was read.
	readBackTimeout = 3 * time.Minute
	// runningInterval is how often it is seen whether that node still runs.
	runningInterval = 100 * time.Millisecond
	// markTimeline gets the last append of a run, whose position every node must reach.
	markTimeline = "jepsen/end"
)

// readBack reads all timelines and all cursors from every member, once it has
// applied everything that the run wrote.
func (r *run) readBack(ctx context.Context) error {
	nodes := r.members(ctx)
	r.mu.Lock()
	everyNode := slices.Clone(r.everyNode)
	r.mu.Unlock()
	r.recorder.Amend(func(meta *history.Meta) {
		for _, n := range nodes {
			meta.ReadBack = append(meta.ReadBack, string(n.ID()))
		}
		meta.Nodes = everyNode
	})
	end, err := r.mark(ctx)
	if err != nil {
		r.troubles.note("not-recovered", "cluster", fmt.Errorf("the last append after everything was healed: %w", err))
		return ctx.Err()
	}
	for _, n := range nodes {
		if err := r.readBackFrom(ctx, n, end); err != nil {
			r.troubles.note("not-caught-up", string(n.ID()), err)
		}
	}
	return ctx.Err()
}

// members are the nodes of the host that belong to the cluster, as it says.
func (r *run) members(ctx context.Context) []host.Node {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	status, err := r.operator.Cluster().Status(ctx)
	if err != nil {
		r.troubles.note("not-recovered", "cluster", fmt.Errorf("who the members are: %w", err))
		return r.host.Nodes()
	}
	var nodes []host.Node
	for _, n := range r.host.Nodes() {
		for _, member := range status.GetMembers() {
			if member.GetNodeId() == string(n.ID()) {
				nodes = append(nodes, n)
			}
		}
	}
	return nodes
}

// mark makes the last append of the run, and returns its position.
func (r *run) mark(ctx context.Context) (tidemark.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	return workload.Mark(ctx, r.recorder, r.operator, markTimeline)
}

func (r *run) readBackFrom(ctx context.Context, n host.Node, end tidemark.Position) (err error) {
	ctx, cancel := context.WithTimeout(ctx, readBackTimeout)
	defer cancel()
	ctx, stop := whileRunning(ctx, n)
	defer stop()
	r.mu.Lock()
	c, err := r.newClient([]string{n.Endpoint()}, client.WithoutDiscovery())
	r.mu.Unlock()
	if err != nil {
		return err
	}
	process := r.recorder.NewProcess("read-back-" + string(n.ID()))
	var errs []error
	readers := map[string]bool{}
	for _, timeline := range append(r.env.Board.Timelines(), markTimeline) {
		if err := readTimeline(ctx, process, c, history.KindFinalRead, string(n.ID()), timeline, end); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, readCursors(ctx, process, c, string(n.ID()), timeline, end, readers))
	}
	for _, timeline := range append(workload.Groups(), workload.Inboxes()...) {
		errs = append(errs, readTimeline(ctx, process, c, history.KindFinalInbox, string(n.ID()), timeline, end))
	}
	for _, timeline := range workload.KeptTimelines() {
		errs = append(errs, readTimeline(ctx, process, c, history.KindFinalKept, string(n.ID()), timeline, end))
	}
	for _, timeline := range append(workload.RevisedTimelines(), workload.RevisedInboxes()...) {
		errs = append(errs, readTimeline(ctx, process, c, history.KindFinalRevised, string(n.ID()), timeline, end))
	}
	for _, reader := range slices.Sorted(maps.Keys(readers)) {
		errs = append(errs, readUnread(ctx, process, c, string(n.ID()), reader, end))
	}
	return errors.Join(errs...)
}

// errEnded is why reading from a node was given up when its process had ended.
var errEnded = errors.New("the process has ended by itself")

// whileRunning ends the context when the node's process ends: without it, a client
// would ask for as long as it may.
func whileRunning(ctx context.Context, n host.Node) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		ticker := time.NewTicker(runningInterval)
		defer ticker.Stop()
		for n.Running() {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
		cancel(errEnded)
	}()
	return ctx, func() { cancel(nil) }
}

// readTimeline reads all pages of a timeline from one node. A node that has not
// come to the end of the run is not good enough, and no other one is asked.
func readTimeline(ctx context.Context, process *history.Process, c *client.Client, kind history.Kind, node, timeline string, end tidemark.Position) error {
	for from := tidemark.SeqID(1); ; {
		op := process.Begin(history.Operation{
			Node: node, Kind: kind, Level: history.Session, SessionAt: uint64(end), Timeline: timeline,
			Start: history.FromSeq, From: uint64(from), Direction: history.Forward, Limit: tidemark.MaxPageMessages,
		})
		page, err := c.Read(ctx, tidemark.TimelineID(timeline), client.From(from), client.Limit(tidemark.MaxPageMessages), client.SessionAt(end))
		op.Outcome, op.Error = workload.ReadOutcome(err)
		if page != nil {
			workload.Show(op, page)
		}
		process.End(op)
		switch {
		case op.Outcome != history.OK:
			return fmt.Errorf("read %q: %w", timeline, errors.Join(err, context.Cause(ctx)))
		case page == nil || !page.More:
			return nil
		case len(page.Messages) == 0:
			return fmt.Errorf("read %q from %d: there is more, but nothing was returned", timeline, from)
		}
		from = page.Messages[len(page.Messages)-1].SeqID + 1
	}
}

func readCursors(ctx context.Context, process *history.Process, c *client.Client, node, timeline string, end tidemark.Position, readers map[string]bool) error {
	op := process.Begin(history.Operation{
		Node: node, Kind: history.KindFinalCursors, Level: history.Session, SessionAt: uint64(end), Timeline: timeline,
	})
	op.Outcome, op.Error = workload.List(op, c.TimelineCursors(ctx, tidemark.TimelineID(timeline), client.SessionAt(end)))
	process.End(op)
	if op.Outcome != history.OK {
		return fmt.Errorf("list the cursors of %q: %s", timeline, op.Error)
	}
	for _, cursor := range op.Cursors {
		readers[cursor.Reader] = true
	}
	return nil
}

// readUnread reads what a reader has not read in all timelines.
func readUnread(ctx context.Context, process *history.Process, c *client.Client, node, reader string, end tidemark.Position) error {
	op := process.Begin(history.Operation{
		Node: node, Kind: history.KindFinalCursors, Level: history.Session, SessionAt: uint64(end), Reader: reader,
	})
	op.Outcome, op.Error = workload.List(op, c.ReaderCursors(ctx, tidemark.ReaderID(reader), client.SessionAt(end)))
	process.End(op)
	if op.Outcome != history.OK {
		return fmt.Errorf("list the cursors of reader %q: %s", reader, op.Error)
	}
	return nil
}
