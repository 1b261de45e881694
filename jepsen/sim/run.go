package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"tidemark"
	"tidemark/jepsen/history"
)

// Bug is a mistake that is made on purpose, to see that it is found.
type Bug string

// The bugs that can be planted.
const (
	// BugEarlyAck acknowledges what is not synced yet.
	BugEarlyAck Bug = "early-ack"
	// BugNoReadIndex answers linearizable reads from what the node holds.
	BugNoReadIndex Bug = "no-read-index"
	// BugNoDedupe does not recognize a retry.
	BugNoDedupe Bug = "no-dedupe"
	// BugTwoWriteVotes writes the term and the candidate of a vote one after the other.
	BugTwoWriteVotes Bug = "two-write-votes"
)

// Options say what to simulate. Zero stands for the default.
type Options struct {
	// Seed decides what is done to the cluster, and when. It does not decide how
	// goroutines interleave.
	Seed uint64
	// Nodes and Clients are how many there are; defaults 3 and 5.
	Nodes, Clients int
	// Duration is how long clients and nemeses work, in virtual time; default one minute.
	Duration time.Duration
	// SnapshotInterval and TrailingTime are small, so that followers need snapshots;
	// the default depends on Seed.
	SnapshotInterval, TrailingTime time.Duration
	// Bug is planted if not empty.
	Bug Bug
	// Logger gets what the floors log; nil discards it.
	Logger *slog.Logger
}

// Result is what a run left.
type Result struct {
	History *history.History
	// Failures are what no history shows: nodes that did not start or catch up, or
	// ended themselves, and stores that are damaged.
	Failures []error
	// ReadBack says that all nodes held the same in the end and were read back.
	ReadBack bool
	// SelfEnded counts the processes that ended themselves for a reason that is in order.
	SelfEnded int
	// Virtual is how long it took, in virtual time.
	Virtual time.Duration
	// Starts counts the processes, and Terms is the last term.
	Starts int
	Terms  uint64
	// Traffic is what the network did.
	Traffic *Traffic
}

// catchUp is how long the nodes have, once all is healed, to hold the same.
const catchUp = 2 * time.Minute

// Run forms a cluster, has it used and injured, heals it, and reads it back. It
// must be called in a bubble of testing/synctest. dir gets a few small files.
func Run(o Options, dir string) *Result {
	rng := rand.New(rand.NewPCG(o.Seed, 0))
	o.Nodes, o.Clients = cmp.Or(o.Nodes, 3), cmp.Or(o.Clients, 5)
	o.Duration = cmp.Or(o.Duration, time.Minute)
	o.SnapshotInterval = cmp.Or(o.SnapshotInterval, time.Second+time.Duration(rng.Int64N(int64(4*time.Second))))
	o.TrailingTime = cmp.Or(o.TrailingTime, []time.Duration{time.Second, 10 * time.Second, 10 * time.Minute}[rng.IntN(3)])
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	begun := time.Now()
	cluster := newCluster(o, dir, rng)
	r := &run{cluster: cluster, rng: rng, recorder: history.NewRecorder(history.Meta{Name: "sim", Seed: o.Seed})}
	for _, node := range cluster.Nodes {
		r.recorder.Amend(func(m *history.Meta) {
			m.Nodes, m.ReadBack = append(m.Nodes, node.ID), append(m.ReadBack, node.ID)
		})
		if err := node.start(); err != nil {
			cluster.noteFailure(err)
		}
	}
	r.work()
	result := &Result{ReadBack: r.settle(), Traffic: &cluster.Network.Traffic}
	if result.ReadBack {
		r.readBack()
	}
	for _, node := range cluster.Nodes {
		result.Starts += node.starts
		if p := node.running(); p != nil {
			result.Terms = max(result.Terms, p.machine.Applied().Term)
		}
	}
	for _, node := range cluster.Nodes {
		if err := node.stop(); err != nil {
			cluster.noteFailure(err)
		}
	}
	cluster.reaping.Wait()
	result.Virtual = time.Since(begun)
	result.History = r.recorder.History()
	cluster.mu.Lock()
	defer cluster.mu.Unlock()
	result.Failures, result.SelfEnded = cluster.failures, cluster.restarts
	return result
}

type run struct {
	cluster  *Cluster
	rng      *rand.Rand
	recorder *history.Recorder
	pool     *pool
	// feeds are those of the clients.
	feeds []*feed
}

// afterwards is how long clients work on when all is healed.
const afterwards = 12 * time.Second

// work has clients and nemeses work side by side. It returns when all is healed.
func (r *run) work() {
	r.pool = &pool{last: map[tidemark.TimelineID]tidemark.SeqID{}}
	for i := range 6 {
		r.pool.timelines = append(r.pool.timelines, tidemark.TimelineID(fmt.Sprintf("conv/%d", i)))
	}
	stopNemeses, stopClients := make(chan struct{}), make(chan struct{})
	var injuring, working sync.WaitGroup
	for i := range r.cluster.options.Clients {
		name := clientName(i)
		c := &client{
			cluster: r.cluster, pool: r.pool, name: name, process: r.recorder.NewProcess(name), rng: rand.New(rand.NewPCG(r.rng.Uint64(), 6)),
			feed: newFeed(r.recorder, r.pool.timelines),
		}
		r.feeds = append(r.feeds, c.feed)
		working.Go(func() { c.work(stopClients) })
	}
	for _, faults := range [][]fault{networkFaults, processFaults, otherFaults} {
		n := r.nemesis()
		injuring.Go(func() { n.work(stopNemeses, faults) })
	}
	supervisor := r.nemesis()
	working.Go(func() { supervisor.revive(stopClients) })
	time.Sleep(r.cluster.options.Duration)
	close(stopNemeses)
	injuring.Wait()
	time.Sleep(afterwards)
	close(stopClients)
	working.Wait()
}

func clientName(i int) string { return fmt.Sprintf("c%d", i+1) }

func (r *run) nemesis() *nemesis {
	return &nemesis{cluster: r.cluster, recorder: r.recorder, rng: rand.New(rand.NewPCG(r.rng.Uint64(), 7))}
}

// settle heals everything and waits until all nodes hold the same.
func (r *run) settle() bool {
	r.cluster.Network.Heal()
	supervisor := r.nemesis()
	for _, node := range r.cluster.Nodes {
		supervisor.boot(node)
	}
	deadline := time.Now().Add(catchUp)
	for {
		why := r.settled()
		if why == nil {
			return true
		}
		if time.Now().After(deadline) {
			r.cluster.noteFailure(fmt.Errorf("%v after everything was healed: %w", catchUp, why))
			return false
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (r *run) settled() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, node := range r.cluster.Nodes {
		p := node.running()
		if p == nil {
			return fmt.Errorf("%s does not run", node.ID)
		}
		index, err := p.raft.ReadIndex(ctx)
		if err == nil {
			err = p.raft.WaitApplied(ctx, index)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", node.ID, err)
		}
	}
	first := r.cluster.Nodes[0].running()
	for _, node := range r.cluster.Nodes[1:] {
		p := node.running()
		if first == nil || p == nil || p.machine.Applied().Index != first.machine.Applied().Index {
			return fmt.Errorf("%s and %s hold different indexes", r.cluster.Nodes[0].ID, node.ID)
		}
	}
	return nil
}

// readBack records everything that each node holds, and checks its store.
func (r *run) readBack() {
	process := r.recorder.NewProcess("final")
	for n, node := range r.cluster.Nodes {
		p := node.running()
		for _, timeline := range r.pool.timelines {
			r.readTimeline(process, p, history.KindFinalRead, timeline)
			r.readCursors(process, p, timeline)
		}
		for group := range groups {
			r.readTimeline(process, p, history.KindFinalInbox, groupID(group))
		}
		for _, inbox := range allInboxes() {
			r.readTimeline(process, p, history.KindFinalInbox, inbox)
		}
		for _, timeline := range append(revisedInboxes(), revisedID) {
			r.readTimeline(process, p, history.KindFinalRevised, timeline)
		}
		for _, reader := range r.devices() {
			r.readUnread(process, p, reader)
		}
		for i, feed := range r.feeds {
			if i%len(r.cluster.Nodes) == n {
				r.finishFeed(feed, p)
			}
		}
		if _, err := p.store.Check(nil); err != nil {
			r.cluster.noteFailure(fmt.Errorf("%s: %w", node.ID, err))
		}
		node.mu.Lock()
		log := node.log
		node.mu.Unlock()
		log.mu.Lock()
		var previous uint64
		for i := range log.entries {
			entry := &log.entries[i]
			sum := sha256.Sum256(append([]byte{byte(entry.Type)}, entry.Data...))
			r.recorder.Log(history.LogEntry{Node: node.ID, Index: entry.Index, Term: entry.Term, PreviousTerm: previous, Hash: hex.EncodeToString(sum[:8])})
			previous = entry.Term
		}
		log.mu.Unlock()
	}
}

// finalLimit is how many messages one page of a final read holds.
const finalLimit = 500

func (r *run) readTimeline(process *history.Process, p *process, kind history.Kind, timeline tidemark.TimelineID) {
	for next := tidemark.SeqID(1); next > 0; {
		op := process.Begin(history.Operation{
			Kind: kind, Node: p.node.ID, Level: history.Local, Timeline: string(timeline),
			Start: history.FromSeq, From: uint64(next), Direction: history.Forward, Limit: finalLimit,
		})
		page, err := p.store.Read(tidemark.Range{Timeline: timeline, Start: tidemark.StartSeq, Seq: next, Limit: finalLimit, MaxBytes: 8 << 20})
		next = 0
		switch {
		case errors.Is(err, tidemark.ErrTimelineNotFound):
			op.Outcome, op.Error = history.Fail, history.TimelineNotFound
		case err != nil:
			op.Outcome, op.Error = history.Fail, err.Error()
			r.cluster.noteFailure(fmt.Errorf("%s: read back %s: %w", p.node.ID, timeline, err))
		default:
			op.Outcome = history.OK
			showPage(op, &page)
			if page.More {
				next = page.Messages[len(page.Messages)-1].SeqID + 1
			}
		}
		process.End(op)
	}
}

func (r *run) readCursors(process *history.Process, p *process, timeline tidemark.TimelineID) {
	op := process.Begin(history.Operation{Kind: history.KindFinalCursors, Node: p.node.ID, Level: history.Local, Timeline: string(timeline)})
	page, err := p.store.CursorsByTimeline(timeline, 0, "", finalLimit)
	op.Outcome = history.OK
	if errors.Is(err, tidemark.ErrTimelineNotFound) {
		op.Outcome, op.Error = history.Fail, history.TimelineNotFound
	} else if err != nil {
		op.Outcome, op.Error = history.Fail, err.Error()
		r.cluster.noteFailure(fmt.Errorf("%s: read back cursors of %s: %w", p.node.ID, timeline, err))
	}
	op.Cursors, op.More, op.AppliedIndex, op.Position = cursorsSeen(page.Cursors), page.More, page.Applied, page.Applied
	process.End(op)
}
