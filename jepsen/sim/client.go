package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"tidemark"
	"tidemark/fsm"
	"tidemark/jepsen/history"
)

const (
	// callTimeout bounds one attempt, as the SDK does.
	callTimeout = 5 * time.Second
	// retryFor is how long a client tries to get an append through.
	retryFor = 12 * time.Second
	// clientTransit is how long a call takes to a node, and back, at most.
	clientTransit = 3 * time.Millisecond
	// clientPause is how long a client thinks between two calls, at most.
	clientPause = 400 * time.Millisecond
	// pageLimit is how many messages a read asks for.
	pageLimit = 40
)

var errDown = fmt.Errorf("%w: node is down", tidemark.ErrStopping)

// client is one logical thread: what the SDK and package rpc do between a caller
// and the floors, with the network between them.
type client struct {
	cluster *Cluster
	pool    *pool
	process *history.Process
	name    string
	rng     *rand.Rand
	// session is the position up to which the client has seen.
	session uint64
	sent    int
	// ready says which groups are known to have their recipient sets.
	ready [groups]bool
	feed  *feed
}

// pool is what all clients know.
type pool struct {
	timelines []tidemark.TimelineID

	mu sync.Mutex
	// drafts are some that were sent, to be sent again by others.
	drafts []tidemark.Draft
	// last are SeqIDs that were seen.
	last map[tidemark.TimelineID]tidemark.SeqID
}

// timeline picks a hot one most of the time.
func (p *pool) timeline(rng *rand.Rand) tidemark.TimelineID {
	if rng.IntN(3) > 0 {
		return p.timelines[rng.IntN(min(2, len(p.timelines)))]
	}
	return p.timelines[rng.IntN(len(p.timelines))]
}

func (p *pool) saw(timeline tidemark.TimelineID, seq tidemark.SeqID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[timeline] = max(p.last[timeline], seq)
}

func (p *pool) lastOf(timeline tidemark.TimelineID) tidemark.SeqID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[timeline]
}

// work calls until stop is closed.
func (c *client) work(stop <-chan struct{}) {
	for sleepUnless(stop, time.Duration(c.rng.Int64N(int64(clientPause)))) {
		switch k := c.rng.IntN(31); {
		case k < 9:
			c.append()
		case k < 11:
			c.appendBatch()
		case k < 13:
			c.ack()
		case k < 15:
			c.fanOut()
		case k < 16:
			c.readInbox()
		case k < 18:
			c.listUnread()
		case k < 22:
			c.workRevised()
		case k < 24:
			c.readChanges()
		default:
			c.read()
		}
	}
}

// transit is the way to a node or back.
func (c *client) transit() { time.Sleep(time.Duration(c.rng.Int64N(int64(clientTransit)))) }

// anyNode is where the client is connected now.
func (c *client) anyNode() *Node { return c.cluster.Nodes[c.rng.IntN(len(c.cluster.Nodes))] }

// visit has a node do something. What a node had not answered when it died has an
// unknown outcome.
func (c *client) visit(n *Node, do func(context.Context, *process) error) error {
	c.transit()
	p := n.running()
	if p == nil {
		return errDown
	}
	ctx, cancel := context.WithTimeout(p.ctx, callTimeout)
	defer cancel()
	err := do(ctx, p)
	if p.isDead() {
		return fmt.Errorf("%w: node ended", tidemark.ErrOutcomeUnknown)
	}
	c.transit()
	return err
}

// propose is what package rpc does with a write: on a follower it goes to the leader.
func (p *process) propose(ctx context.Context, command []byte) (tidemark.Proposal, error) {
	if p.raft.IsLeader() {
		return p.raft.Propose(ctx, command)
	}
	network := p.node.cluster.Network
	leader, ok := p.raft.Leader()
	if !ok || leader.ID == p.node.ID || network.IsCut(p.node.ID, leader.ID) {
		return tidemark.Proposal{}, tidemark.ErrNoLeader
	}
	q := p.node.cluster.node(leader.ID).running()
	if q == nil {
		return tidemark.Proposal{}, tidemark.ErrNoLeader
	}
	proposal, err := q.raft.Propose(ctx, command)
	if q.isDead() || network.IsCut(leader.ID, p.node.ID) {
		return tidemark.Proposal{}, fmt.Errorf("%w: the leader's answer was lost", tidemark.ErrOutcomeUnknown)
	}
	return proposal, err
}

// attempt proposes until there is an answer, through other nodes each time, as appends on
// the stream of the SDK are.
// unknown says that an attempt before the last one may have taken effect too.
func (c *client) attempt(command func(attempt int) []byte) (proposal tidemark.Proposal, unknown bool, err error) {
	begun := time.Now()
	for attempt := 0; ; attempt++ {
		err = c.visit(c.anyNode(), func(ctx context.Context, p *process) (err error) {
			proposal, err = p.propose(ctx, command(attempt))
			return err
		})
		if err == nil || time.Since(begun) > retryFor || c.rng.IntN(12) == 0 {
			return proposal, unknown, err
		}
		unknown = unknown || errors.Is(err, tidemark.ErrOutcomeUnknown)
		time.Sleep(time.Duration(c.rng.Int64N(int64(500 * time.Millisecond))))
	}
}

// draft is a new message.
func (c *client) draft() tidemark.Draft {
	c.sent++
	size := c.rng.IntN(200)
	if c.rng.IntN(20) == 0 {
		size = 8 << 10
	}
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(c.rng.Uint32())
	}
	return tidemark.Draft{
		Timeline: c.pool.timeline(c.rng), ID: tidemark.MessageID(fmt.Sprintf("%s-%d", c.name, c.sent)),
		Sender: c.name, Payload: payload, ClientTime: tidemark.NoTime,
	}
}

// pick is a new message, or one that somebody has sent before.
func (c *client) pick() tidemark.Draft {
	c.pool.mu.Lock()
	n := len(c.pool.drafts)
	c.pool.mu.Unlock()
	if n > 0 && c.rng.IntN(8) == 0 {
		c.pool.mu.Lock()
		d := c.pool.drafts[c.rng.IntN(n)]
		c.pool.mu.Unlock()
		if c.rng.IntN(10) == 0 { // other content under the same id
			d.Type = "other"
		}
		return d
	}
	d := c.draft()
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if len(c.pool.drafts) < 256 {
		c.pool.drafts = append(c.pool.drafts, d)
	} else {
		c.pool.drafts[c.rng.IntN(len(c.pool.drafts))] = d
	}
	return d
}

func itemOf(d *tidemark.Draft) history.Item {
	return history.Item{Timeline: string(d.Timeline), MessageID: string(d.ID), Sender: d.Sender, Content: history.ContentOf(d)}
}

// attemptMark ends the id of a message in a cluster with BugNoDedupe.
const attemptMark = "~"

// asSent is what an attempt sends. With BugNoDedupe the state machine does not
// recognize a retry.
func (c *client) asSent(d tidemark.Draft, attempt int) tidemark.Draft {
	if c.cluster.options.Bug == BugNoDedupe {
		d.ID += tidemark.MessageID(fmt.Sprintf("%s%s%d.%d", attemptMark, c.name, c.sent, attempt))
	}
	return d
}

func (c *client) append() {
	d := c.pick()
	item := itemOf(&d)
	var expected *tidemark.SeqID
	if c.rng.IntN(12) == 0 {
		expected = new(tidemark.SeqID)
		*expected = c.pool.lastOf(d.Timeline)
		item.Expected = (*uint64)(expected)
	}
	op := history.Operation{Kind: history.KindAppend, Timeline: string(d.Timeline), Items: []history.Item{item}}
	c.appendAs(op, func(attempt int) []byte {
		return fsm.Append{Draft: c.asSent(d, attempt), Expected: expected}.Encode()
	})
}

// appendAs appends the one item of an operation.
func (c *client) appendAs(asked history.Operation, command func(attempt int) []byte) {
	asked.Via = history.ViaStream
	op := c.process.Begin(asked)
	proposal, unknown, err := c.attempt(command)
	if err == nil {
		result := proposal.Result.(fsm.AppendResult)
		c.took(&op.Items[0], &result, proposal.Position)
		err = result.Err
	}
	op.Outcome, op.Error = outcomeOf(err, unknown)
	op.Items[0].Outcome, op.Items[0].Error = op.Outcome, op.Error
	c.process.End(op)
}

// took fills in the answer to an item.
func (c *client) took(item *history.Item, result *fsm.AppendResult, position tidemark.Position) {
	if result.Err != nil {
		return
	}
	item.SeqID, item.Duplicate, item.Digest = uint64(result.SeqID), result.Duplicate, result.Digest.String()
	item.ServerTime, item.Position = int64(result.ServerTime), uint64(position)
	c.session = max(c.session, uint64(position))
	c.pool.saw(tidemark.TimelineID(item.Timeline), result.SeqID)
}

func (c *client) appendBatch() {
	var drafts []tidemark.Draft
	op := history.Operation{Kind: history.KindBatch, Via: history.ViaAtomic}
	for range 2 + c.rng.IntN(4) {
		d := c.pick()
		drafts = append(drafts, d)
		op.Items = append(op.Items, itemOf(&d))
	}
	begun := c.process.Begin(op)
	proposal, unknown, err := c.attempt(func(attempt int) []byte {
		var batch fsm.AppendBatch
		for _, d := range drafts {
			batch.Items = append(batch.Items, fsm.Append{Draft: c.asSent(d, attempt)})
		}
		return batch.Encode()
	})
	if err == nil {
		result := proposal.Result.(fsm.AppendBatchResult)
		for i := range result.Results {
			if err = result.Err; err == nil {
				c.took(&begun.Items[i], &result.Results[i], proposal.Position)
			}
		}
	}
	begun.Outcome, begun.Error = outcomeOf(err, unknown)
	for i := range begun.Items {
		begun.Items[i].Outcome, begun.Items[i].Error = begun.Outcome, begun.Error
	}
	c.process.End(begun)
}

func (c *client) ack() {
	timeline := c.pool.timeline(c.rng)
	last := c.pool.lastOf(timeline)
	if last == 0 {
		return
	}
	reader := tidemark.ReaderID(fmt.Sprintf("reader%d", c.rng.IntN(3)))
	mark := tidemark.SeqID(1 + c.rng.Uint64N(uint64(last)))
	item := fsm.AckItem{Timeline: timeline, Delivered: &mark}
	asked := history.CursorSeen{Timeline: string(timeline), Delivered: uint64(mark)}
	if c.rng.IntN(2) == 0 {
		item.Read = &mark
		asked.Read = uint64(mark)
	}
	rewind := false
	if c.ready[0] && c.rng.IntN(2) == 0 {
		// What came with a feature level, which a group that is ready shows.
		reader = c.device()
		if c.rng.IntN(8) == 0 {
			floor := tidemark.SeqID(1 + c.rng.Uint64N(uint64(mark)))
			item.Floor, asked.Floor = &floor, uint64(floor)
		}
		if rewind = c.rng.IntN(5) == 0; rewind {
			item.Read, asked.Read = &mark, uint64(mark)
		}
	}
	asked.Reader = string(reader)
	op := c.process.Begin(history.Operation{Kind: history.KindAck, Reader: string(reader), Timeline: string(timeline), Acks: []history.CursorSeen{asked}, Rewind: rewind})
	command := fsm.Ack{Reader: reader, Items: []fsm.AckItem{item}, Rewind: rewind}.Encode()
	proposal, unknown, err := c.attempt(func(int) []byte { return command })
	if err == nil {
		result := proposal.Result.(fsm.AckResult)
		if err = result.Err; err == nil {
			op.Cursors, op.Position = cursorsSeen(result.Cursors), uint64(proposal.Position)
			c.session = max(c.session, op.Position)
		}
	}
	op.Outcome, op.Error = outcomeOf(err, unknown)
	c.process.End(op)
}

func cursorsSeen(cursors []tidemark.Cursor) []history.CursorSeen {
	var seen []history.CursorSeen
	for _, cursor := range cursors {
		seen = append(seen, history.CursorSeen{
			Timeline: string(cursor.Timeline), Reader: string(cursor.Reader), Delivered: uint64(cursor.Delivered), Read: uint64(cursor.Read), Floor: uint64(cursor.Floor),
		})
	}
	return seen
}

// outcomeOf says what a write's error leaves the client with.
func outcomeOf(err error, unknown bool) (history.Outcome, string) {
	switch {
	case err == nil:
		return history.OK, ""
	case unknown || errors.Is(err, tidemark.ErrOutcomeUnknown):
		return history.Unknown, err.Error()
	case errors.Is(err, tidemark.ErrMessageIDConflict):
		return history.Fail, history.MessageIDConflict
	case errors.Is(err, tidemark.ErrSequenceConflict):
		return history.Fail, history.SequenceConflict
	}
	return history.Fail, err.Error()
}

func (c *client) read() {
	timeline := c.pool.timeline(c.rng)
	r := tidemark.Range{Timeline: timeline, Start: tidemark.StartSeq, Seq: 1, Limit: pageLimit, MaxBytes: 1 << 20}
	op := history.Operation{Kind: history.KindRead, Start: history.FromSeq, Direction: history.Forward}
	if last := c.pool.lastOf(timeline); c.rng.IntN(2) == 0 && last > 0 {
		r.Seq = tidemark.SeqID(1 + c.rng.Uint64N(uint64(last)))
		op.From = uint64(r.Seq)
	} else {
		r.Start, r.Direction = tidemark.StartNewest, tidemark.Backward
		op.Start, op.Direction = history.Newest, history.Backward
	}
	c.readPage(r, op)
}

// readPage reads what r says, and records it as an operation that says so too.
// It reports whether the page was read.
func (c *client) readPage(r tidemark.Range, op history.Operation) (tidemark.Page, bool) {
	node := c.anyNode()
	op.Node, op.Timeline, op.Limit = node.ID, string(r.Timeline), r.Limit
	c.chooseLevel(&op)
	begun := c.process.Begin(op)
	var page tidemark.Page
	err := c.visit(node, func(ctx context.Context, p *process) (err error) {
		if begun.Staleness, err = p.await(ctx, begun); err == nil {
			page, err = p.store.Read(r)
		}
		return err
	})
	begun.Outcome, begun.Error = history.OK, ""
	switch {
	case errors.Is(err, tidemark.ErrTimelineNotFound):
		begun.Outcome, begun.Error = history.Fail, history.TimelineNotFound
	case err != nil:
		begun.Outcome, begun.Error = history.Fail, err.Error()
	default:
		showPage(begun, &page)
		c.session = max(c.session, page.Applied)
		c.pool.saw(r.Timeline, page.Head.Last)
	}
	c.process.End(begun)
	return page, begun.Outcome == history.OK
}

// chooseLevel chooses at which level an operation reads.
func (c *client) chooseLevel(op *history.Operation) {
	switch c.rng.IntN(4) {
	case 0:
		op.Level, op.SessionAt = history.Session, c.session
	case 1:
		op.Level = history.Local
		if c.rng.IntN(2) == 0 {
			op.MaxStaleness = 5 * time.Second
		}
	default:
		op.Level = history.Linearizable
	}
}

// await is what package rpc does before a read at a level.
func (p *process) await(ctx context.Context, op *history.Operation) (time.Duration, error) {
	switch op.Level {
	case history.Local:
		age := p.raft.Staleness()
		if op.MaxStaleness > 0 && age > op.MaxStaleness {
			return 0, tidemark.ErrStale
		}
		return age, nil
	case history.Session:
		return 0, p.raft.WaitApplied(ctx, op.SessionAt)
	}
	if p.node.cluster.options.Bug == BugNoReadIndex {
		return 0, nil
	}
	index, err := p.raft.ReadIndex(ctx)
	if err != nil {
		return 0, err
	}
	return 0, p.raft.WaitApplied(ctx, index)
}

// showPage records what a page shows.
func showPage(op *history.Operation, page *tidemark.Page) {
	op.More = page.More
	op.FirstSeqID, op.HeadLast, op.HeadDigest = uint64(page.Head.First), uint64(page.Head.Last), page.Head.Digest.String()
	op.PreviousDigest = page.PreviousDigest.String()
	op.BadDigest = history.FirstBadDigest(page.PreviousDigest, page.Messages)
	op.AppliedIndex, op.Position = page.Applied, page.Applied
	for i := range page.Messages {
		op.Messages = append(op.Messages, seenOf(&page.Messages[i]))
	}
}

// seenOf is what is recorded of a message.
func seenOf(m *tidemark.Message) history.Seen {
	id, _, _ := strings.Cut(string(m.ID), attemptMark)
	seen := history.Seen{
		SeqID: uint64(m.SeqID), MessageID: id, Content: history.ContentOf(&m.Draft), Digest: m.Digest.String(), ServerTime: int64(m.ServerTime),
	}
	if m.Source != nil {
		seen.Source = &history.Source{Timeline: string(m.Source.Timeline), SeqID: uint64(m.Source.SeqID)}
	}
	if r := m.Revision; r != nil {
		seen.Revision = &history.SeenRevision{SeqID: uint64(r.SeqID), Number: r.Number, Redacted: r.Redacted}
	}
	if r := m.Revises; r != nil {
		seen.Revises = &history.SeenRevision{SeqID: uint64(r.SeqID), Number: r.Number, Redacted: r.Redacted, Superseded: r.Superseded}
	}
	return seen
}
