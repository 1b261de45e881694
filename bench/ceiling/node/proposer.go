package main

import (
	"sync"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode"
)

// perCommandBytes is what the encoding of an entry adds to each command, as in raftnode.
const perCommandBytes = 8

// proposer gathers what waits into entries, as raftnode's does and within its bounds, but
// knows no leadership, no order beyond that of the queue, and no bound of the queue.
type proposer struct {
	raft *raft.Raft

	mu    sync.Mutex
	queue []*pending

	wake    chan struct{}
	slots   chan struct{}
	flights chan flight
}

// pending is a command that was handed in. err and index are there when done is closed.
type pending struct {
	command []byte
	done    chan struct{}
	err     error
	index   uint64
}

type flight struct {
	batch  []*pending
	future raft.ApplyFuture
}

func newProposer(r *raft.Raft) *proposer {
	inFlight := raftnode.DefaultConfig().MaxInFlightEntries
	p := &proposer{raft: r, wake: make(chan struct{}, 1), slots: make(chan struct{}, inFlight), flights: make(chan flight, inFlight)}
	go p.run()
	go p.reap()
	return p
}

func (p *proposer) propose(command []byte) *pending {
	item := &pending{command: command, done: make(chan struct{})}
	p.mu.Lock()
	p.queue = append(p.queue, item)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return item
}

// run hands what waits to Raft as soon as a slot is free.
func (p *proposer) run() {
	for {
		p.slots <- struct{}{}
		batch, size := p.take()
		for len(batch) == 0 {
			<-p.wake
			batch, size = p.take()
		}
		data := make([]byte, 0, size)
		for _, item := range batch {
			data = append(data, item.command...)
		}
		p.flights <- flight{batch, p.raft.Apply(data, 0)}
	}
}

// take removes from the queue what fits into one entry, and says how many bytes that are at most.
func (p *proposer) take() (batch []*pending, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.queue) && n < tidemark.MaxEntryCommands {
		more := len(p.queue[n].command) + perCommandBytes
		if size+more > tidemark.MaxEntryBytes {
			break
		}
		size += more
		n++
	}
	batch = p.queue[:n:n]
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	return batch, size
}

// reap tells the callers of each entry, in order.
func (p *proposer) reap() {
	for f := range p.flights {
		err := f.future.Error()
		for _, item := range f.batch {
			item.err, item.index = err, f.future.Index()
			close(item.done)
		}
		<-p.slots
	}
}
