package raftnode

import (
	"fmt"
	"sync"

	"tidemark"
)

// Pipeline proposes commands of one caller, of which none may overtake another:
// after one that is not applied, no later one is, until the caller calls Reset.
// So a caller that retries what failed, in order, keeps its order. Proposals that
// are made with Node.ProposeAsync keep it only while the node leads without a
// break and is not overloaded.
type Pipeline struct {
	proposer *proposer

	mu    sync.Mutex
	epoch uint64
	// broken is why nothing more is proposed.
	broken error
}

// NewPipeline returns a pipeline of this node's. It needs no closing.
func (n *Node) NewPipeline() *Pipeline { return &Pipeline{proposer: n.proposer} }

// ProposeAsync queues a command behind all that the pipeline proposed before. It
// may be called at the same time from many goroutines, whose calls then have no order.
func (p *Pipeline) ProposeAsync(command []byte) *Pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return failedPending(p.broken)
	}
	pending, epoch := p.proposer.enqueue(command, p.epoch)
	select {
	case <-pending.done:
		if pending.err != nil {
			p.broken = fmt.Errorf("%w: a proposal before it failed: %w", tidemark.ErrNotLeader, pending.err)
		}
	default:
	}
	p.epoch = epoch
	return pending
}

// Reset lets the pipeline begin anew. Call it when every proposal of it is Done.
func (p *Pipeline) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch, p.broken = 0, nil
}
