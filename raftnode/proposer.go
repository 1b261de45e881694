package raftnode

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/internal/planted"
)

// proposer makes Raft entries of what callers propose: group commit. One goroutine
// (run) takes a free slot, then all that waits, up to the bounds of one entry, and
// hands it to Raft; another (reap) waits for the entries in order and resolves
// their callers. An idle proposer hands over a command as soon as it comes.
//
// An entry costs each node about as much as fifty commands in it, so a busy proposer makes
// few and large ones. While one is in flight, the next one is to be as large. When
// none is, most of the callers of the last one are about to propose again: until half as
// many have, an entry waits, a quarter of the time that the last one took and maxGather at most.
//
// Order. A caller who proposes A, then B, must never see B applied and A refused:
// it would retry A, and A would come after B. So the proposer works in epochs,
// one per leadership, and promises: in an epoch the commands that are not applied
// are a suffix of those proposed. It holds because
//
//   - an epoch opens only when the leadership's own first command is applied, and
//     every entry is fenced with its term (entry.go), so no entry of it can be
//     applied under another leadership;
//   - Raft refuses entries while it leads only during a transfer of leadership,
//     and a transfer begins with the end of the epoch (pause) and with nothing in flight;
//   - entries are handed to Raft without an enqueue timeout, one after the other;
//   - the first failure ends the epoch: what waits behind it is refused at once,
//     before the caller of the failed entry learns of it.
//
// A caller that is still proposing when an epoch ends and the next one opens must
// know that its commands now belong to another epoch: see Pipeline.
type proposer struct {
	apply    func(raft.Log) raft.ApplyFuture
	encode   func(time.Time, [][]byte) []byte
	clock    func() time.Time
	maxBytes int
	maxCount int
	metrics  *Metrics

	mu    sync.Mutex
	state proposerState
	// refusal is what a proposal gets while the state is closed.
	refusal error
	// epoch counts the openings; term is that of the leadership.
	epoch, term uint64
	queue       []*Pending
	queuedBytes int
	// inFlight counts the entries that were taken and not yet reaped; idle is
	// closed when it comes to 0.
	inFlight int
	idle     chan struct{}
	// lastCount is how many commands the last entry had, and lastTook how long the last one
	// that was applied took. oldest is when the first command that waits came.
	lastCount int
	lastTook  time.Duration
	oldest    time.Time

	// wake has a token when there may be something to take.
	wake chan struct{}
	// slots bounds the entries in flight; run holds one while it waits for work.
	slots   chan struct{}
	flights chan flight
	// stopping ends run; abandoned makes reap give up what Raft will not answer.
	stopping, abandoned chan struct{}
	stopOnce            sync.Once
	wg                  sync.WaitGroup
}

type proposerState uint8

const (
	// proposerClosed refuses proposals.
	proposerClosed proposerState = iota
	// proposerOpening queues them until the leadership is established.
	proposerOpening
	// proposerOpen hands them to Raft.
	proposerOpen
)

// flight is one entry that was handed to Raft.
type flight struct {
	batch  []*Pending
	bytes  int
	term   uint64
	sent   time.Time
	future raft.ApplyFuture
}

func newProposer(cfg *Config, apply func(raft.Log) raft.ApplyFuture) *proposer {
	p := &proposer{
		apply:     apply,
		encode:    cfg.EncodeEntry,
		clock:     cfg.Clock,
		maxBytes:  cfg.MaxQueuedBytes,
		maxCount:  cfg.MaxQueuedCommands,
		metrics:   cfg.Metrics,
		refusal:   tidemark.ErrNotLeader,
		wake:      make(chan struct{}, 1),
		slots:     make(chan struct{}, cfg.MaxInFlightEntries),
		flights:   make(chan flight, cfg.MaxInFlightEntries),
		stopping:  make(chan struct{}),
		abandoned: make(chan struct{}),
	}
	p.wg.Add(2)
	go p.run()
	go p.reap()
	return p
}

// enqueue queues a command. Commands are handed to Raft in the order in which
// enqueue is called. If want is not 0, the proposal is refused unless want is the
// current epoch. It returns the epoch that the proposal belongs to.
func (p *proposer) enqueue(command []byte, want uint64) (*Pending, uint64) {
	if n := len(command); n == 0 || n > maxCommandBytes {
		return failedPending(tidemark.Invalid("command", "has %d bytes; limit is 1 to %d bytes", n, maxCommandBytes)), want
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == proposerClosed:
		return failedPending(p.refusal), want
	case want != 0 && want != p.epoch:
		return failedPending(fmt.Errorf("%w: leadership changed since the pipeline began", tidemark.ErrNotLeader)), want
	case len(p.queue) >= p.maxCount || p.queuedBytes+len(command) > p.maxBytes:
		p.metrics.overloads.Inc()
		return failedPending(fmt.Errorf("%w: %d commands of %d bytes wait already; limits are %d commands and %d bytes",
			tidemark.ErrOverloaded, len(p.queue), p.queuedBytes, p.maxCount, p.maxBytes)), p.epoch
	}
	pending := newPending(command)
	if len(p.queue) == 0 {
		p.oldest = time.Now()
	}
	p.queue = append(p.queue, pending)
	p.queuedBytes += len(command)
	p.notify()
	return pending, p.epoch
}

func (p *proposer) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// begin starts an epoch: proposals are queued from now on.
func (p *proposer) begin(term uint64) (epoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isStopping() {
		return 0
	}
	p.epoch++
	p.state, p.term = proposerOpening, term
	p.lastCount = 0
	return p.epoch
}

// open lets the proposals of the epoch go to Raft, if it is still the current one.
func (p *proposer) open(epoch uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != proposerOpening || p.epoch != epoch {
		return false
	}
	p.state = proposerOpen
	p.notify()
	return true
}

// end ends the current epoch: what waits is refused with reason, which must wrap
// an error that says not applied, and so is what comes.
func (p *proposer) end(reason error) {
	p.mu.Lock()
	refused := p.close(reason)
	p.mu.Unlock()
	for _, pending := range refused {
		pending.resolve(tidemark.Proposal{}, reason)
	}
}

// endTerm ends the current epoch if it is of that term.
func (p *proposer) endTerm(term uint64, reason error) {
	p.endIf(func() bool { return p.term == term }, reason)
}

// endEpoch ends the epoch if it is the current one.
func (p *proposer) endEpoch(epoch uint64, reason error) {
	p.endIf(func() bool { return p.epoch == epoch }, reason)
}

// endIf calls current with mu held.
func (p *proposer) endIf(current func() bool, reason error) {
	p.mu.Lock()
	if p.state == proposerClosed || !current() {
		p.mu.Unlock()
		return
	}
	refused := p.close(reason)
	p.mu.Unlock()
	for _, pending := range refused {
		pending.resolve(tidemark.Proposal{}, reason)
	}
}

// close must be called with mu held.
func (p *proposer) close(reason error) []*Pending {
	refused := p.queue
	p.queue, p.queuedBytes = nil, 0
	p.state = proposerClosed
	if !p.isStopping() {
		p.refusal = reason
	}
	return refused
}

// accepts says whether proposals are taken.
func (p *proposer) accepts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state != proposerClosed
}

// run hands what waits to Raft.
func (p *proposer) run() {
	defer p.wg.Done()
	defer close(p.flights)
	for {
		select {
		case p.slots <- struct{}{}:
		case <-p.stopping:
			return
		}
		batch, term, ok := p.next()
		if !ok {
			return
		}
		commands := make([][]byte, len(batch))
		for i, pending := range batch {
			commands[i] = pending.command
		}
		data := sealEntry(term, p.encode(p.clock(), commands))
		p.metrics.entryBytes.Observe(float64(len(data)))
		p.metrics.entryCommands.Observe(float64(len(batch)))
		sent := time.Now()
		p.flights <- flight{batch, len(data), term, sent, p.apply(raft.Log{Data: data})}
	}
}

// maxGather bounds how long a command waits for others although nothing is in flight.
const maxGather = time.Millisecond

// next waits until there is something to propose, and takes it.
func (p *proposer) next() (batch []*Pending, term uint64, ok bool) {
	gathered := time.NewTimer(math.MaxInt64)
	defer gathered.Stop()
	for {
		batch, term, wait := p.take(time.Now())
		if len(batch) > 0 {
			return batch, term, true
		}
		if wait > 0 {
			gathered.Reset(wait)
		}
		select {
		case <-p.wake:
		case <-gathered.C:
		case <-p.stopping:
			return nil, 0, false
		}
	}
}

// gather says for how long what waits is to wait for more; for ever, if that is until an
// entry in flight has landed. It must be called with mu held.
func (p *proposer) gather(now time.Time) time.Duration {
	switch n := len(p.queue); {
	case n >= tidemark.MaxEntryCommands || p.queuedBytes >= tidemark.MaxEntryBytes/2:
		return 0
	case p.inFlight > 0 && n < p.lastCount:
		return math.MaxInt64
	case p.inFlight > 0 || n >= p.lastCount/2:
		return 0
	}
	return min(p.lastTook/4, maxGather) - now.Sub(p.oldest)
}

// take removes from the queue what fits into one entry. If there is nothing, or it is
// better to wait for more, it says for how long; 0 is until wake.
func (p *proposer) take(now time.Time) (batch []*Pending, term uint64, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != proposerOpen || len(p.queue) == 0 {
		return nil, 0, 0
	}
	if wait := p.gather(now); wait > 0 {
		return nil, 0, wait
	}
	n, size := 0, entryHeadBytes+envelopeBytes
	for n < len(p.queue) && n < tidemark.MaxEntryCommands {
		size += len(p.queue[n].command) + perCommandBytes
		if size > tidemark.MaxEntryBytes {
			break
		}
		p.queuedBytes -= len(p.queue[n].command)
		n++
	}
	p.inFlight++
	p.lastCount = n
	batch, p.queue, p.oldest = p.queue[:n:n], p.queue[n:], now
	if len(p.queue) == 0 {
		p.queue = nil
	}
	return batch, p.term, 0
}

// reap resolves the callers of each entry, in order.
func (p *proposer) reap() {
	defer p.wg.Done()
	for f := range p.flights {
		p.settle(f, await(f.future, p.abandoned))
		p.landed(time.Since(f.sent))
	}
}

func (p *proposer) settle(f flight, err error) {
	var results []any
	if err == nil {
		answer := f.future.Response().(applied)
		if results = answer.results; answer.void {
			err = errFenced
		}
	} else {
		err = outcome(err)
	}
	if planted.Is(planted.RefusedInFlight) && err == nil && !p.accepts() {
		err = fmt.Errorf("%w: leadership was given up meanwhile", tidemark.ErrNotLeader)
	}
	p.metrics.observeProposal(len(f.batch), time.Since(f.sent), err)
	if err != nil {
		p.endTerm(f.term, fmt.Errorf("%w: an entry before it failed", tidemark.ErrNotLeader))
		for _, pending := range f.batch {
			pending.resolve(tidemark.Proposal{}, err)
		}
		return
	}
	position := tidemark.Position(f.future.Index())
	for i, pending := range f.batch {
		pending.resolve(tidemark.Proposal{Position: position, Result: results[i]}, nil)
	}
}

// drained waits until nothing is in flight, or reports false when giveUp is closed.
// The epoch must have ended.
func (p *proposer) drained(giveUp <-chan struct{}) bool {
	p.mu.Lock()
	if p.inFlight == 0 {
		p.mu.Unlock()
		return true
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle := p.idle
	p.mu.Unlock()
	select {
	case <-idle:
		return true
	case <-giveUp:
		return false
	}
}

// landed counts one entry less in flight, which took so long.
func (p *proposer) landed(took time.Duration) {
	p.mu.Lock()
	p.lastTook = took
	if len(p.queue) > 0 {
		p.notify()
	}
	if p.inFlight--; p.inFlight == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
	p.mu.Unlock()
	<-p.slots
}

// stop refuses what waits and what comes.
func (p *proposer) stop() {
	p.stopOnce.Do(func() {
		p.mu.Lock()
		p.refusal = tidemark.ErrStopping
		close(p.stopping)
		p.mu.Unlock()
		p.end(tidemark.ErrStopping)
	})
}

// abandon resolves what is in flight as unknown. Raft must be shut down.
func (p *proposer) abandon() {
	p.giveUp()
	p.wg.Wait()
}

// giveUp is abandon for a Raft that hangs: run may be stuck in it.
func (p *proposer) giveUp() { close(p.abandoned) }

func (p *proposer) isStopping() bool {
	select {
	case <-p.stopping:
		return true
	default:
		return false
	}
}

// await waits for a future of Raft, which knows no context and is never answered
// when Raft shuts down at the wrong moment; the goroutine is then lost.
func await(f raft.Future, abandoned <-chan struct{}) error {
	answer := make(chan error, 1)
	go func() { answer <- f.Error() }()
	select {
	case err := <-answer:
		return err
	case <-abandoned:
	}
	select {
	case err := <-answer:
		return err
	default:
		return raft.ErrRaftShutdown
	}
}
