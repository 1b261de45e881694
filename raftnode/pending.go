package raftnode

import (
	"context"
	"fmt"

	"tidemark"
)

// Pending is a proposal that is under way.
type Pending struct {
	command []byte
	done    chan struct{}
	// result and err are written before done is closed.
	result tidemark.Proposal
	err    error
}

func newPending(command []byte) *Pending {
	return &Pending{command: command, done: make(chan struct{})}
}

func failedPending(err error) *Pending {
	p := newPending(nil)
	p.resolve(tidemark.Proposal{}, err)
	return p
}

func (p *Pending) resolve(result tidemark.Proposal, err error) {
	p.result, p.err = result, err
	close(p.done)
}

// Done is closed once the outcome is known.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait returns the outcome. The error wraps tidemark.ErrNotLeader, ErrOverloaded,
// ErrStopping or ErrInvalid if the command was not applied, and ErrOutcomeUnknown
// if it may be, now or later; so it does when ctx ends first.
func (p *Pending) Wait(ctx context.Context) (tidemark.Proposal, error) {
	select {
	case <-p.done:
		return p.result, p.err
	default:
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return tidemark.Proposal{}, fmt.Errorf("%w: %w", tidemark.ErrOutcomeUnknown, context.Cause(ctx))
	}
}
