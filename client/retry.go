package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
)

const (
	// maxRetryAfter bounds how long a node can make the client wait.
	maxRetryAfter = 10 * time.Second
	// minBlame is how long a node must have had to answer to be called bad for not
	// doing so.
	minBlame = 100 * time.Millisecond
)

// backoff is exponential with full jitter: many clients that fail together do not
// come back together.
type backoff struct {
	base, limit time.Duration
	failures    int
}

func (b *backoff) reset() { b.failures = 0 }

// next is how long to wait now. It is at least what the node asked for, and as
// much again in part, for the same reason.
func (b *backoff) next(asked time.Duration) time.Duration {
	ceiling := min(b.base<<min(b.failures, 20), b.limit)
	b.failures++
	return min(asked, maxRetryAfter) + rand.N(ceiling+1)
}

// call says what kind of a unary call it is.
type call struct {
	name string
	// write says that a failed attempt may have changed something.
	write bool
	// repeatable says that a write may be sent again although an earlier attempt
	// may have been applied.
	repeatable bool
	// node is the only one to ask; nil for any.
	node *endpoint
}

// do makes attempts until one succeeds, fails for good, or ctx ends.
func do[T any](ctx context.Context, c *Client, call call, attempt func(context.Context, *endpoint) (T, error)) (result T, err error) {
	if err := c.begin(); err != nil {
		return result, fmt.Errorf("%s: %w", call.name, err)
	}
	defer c.calls.Done()
	r := retrier{c: c, call: call, wait: backoff{base: c.options.backoffBase, limit: c.options.backoffMax}}
	for {
		if err := r.ended(ctx); err != nil {
			return result, err
		}
		node := r.choose()
		result, f := once(ctx, &r, node, attempt)
		if f == nil {
			c.nodes.succeeded(node)
			return result, nil
		}
		if err := r.conclude(ctx, node, f); err != nil {
			return result, err
		}
		asked := f.retryAfter
		if !errors.Is(f.err, tidemark.ErrOverloaded) && call.node == nil && c.nodes.hasOther(node) {
			// What this node has to wait for, another one may not.
			asked = 0
		}
		c.sleep(ctx, r.wait.next(asked))
	}
}

// retrier is the state of one call over its attempts.
type retrier struct {
	c    *Client
	call call
	wait backoff
	// timeouts counts attempts that were given up because they took too long.
	timeouts int
	// maybe says that an attempt may have been applied.
	maybe bool
	last  error
	// corrupt holds the nodes that answered that their data is damaged.
	corrupt map[*endpoint]bool
}

func (r *retrier) choose() *endpoint {
	switch {
	case r.call.node != nil:
		return r.call.node
	case r.call.write:
		return r.c.nodes.writer()
	default:
		return r.c.nodes.any()
	}
}

// once makes one attempt.
func once[T any](ctx context.Context, r *retrier, node *endpoint, attempt func(context.Context, *endpoint) (T, error)) (result T, f *failure) {
	begin := time.Now()
	defer func() {
		if r.c.options.observer != nil {
			r.c.options.observer(Attempt{Operation: r.call.name, Endpoint: node.address, Duration: time.Since(begin), Err: f.observed(r.call.write)})
		}
	}()
	attemptCtx, cancel := context.WithTimeout(ctx, r.patience(ctx, node))
	defer cancel()
	defer context.AfterFunc(r.c.ctx, cancel)()
	if err := r.c.connect(attemptCtx, node); err != nil {
		f = unreachable(node.address, err)
	} else if result, err = attempt(attemptCtx, node); err != nil {
		f = understand(node.address, err)
	} else {
		return result, nil
	}
	timeout := attemptCtx.Err() != nil || f.code == codes.DeadlineExceeded
	if timeout {
		r.timeouts++
	}
	// A short deadline is not the node's fault, nor is a caller who goes.
	if ctx.Err() == nil && r.call.node == nil && (!timeout || time.Since(begin) >= minBlame) {
		r.c.nodes.failed(node, f)
	}
	return result, f
}

// patience is how long the next attempt may take. Each that took too long doubles
// it, so that a call that is merely slow is not given up again and again. If there
// is somebody else to ask, half of the caller's time is kept for that.
func (r *retrier) patience(ctx context.Context, node *endpoint) time.Duration {
	patience := r.c.options.stallTimeout << min(r.timeouts, 10)
	if deadline, ok := ctx.Deadline(); ok && r.call.node == nil && r.c.nodes.hasOther(node) {
		patience = min(patience, time.Until(deadline)/2)
	}
	return patience
}

// observed is the error of an attempt as an observer is told.
func (f *failure) observed(write bool) error {
	switch {
	case f == nil:
		return nil
	case write && f.verdict == unknown && !errors.Is(f.err, tidemark.ErrOutcomeUnknown):
		return fmt.Errorf("%w: %w", tidemark.ErrOutcomeUnknown, f.err)
	default:
		return f.err
	}
}

// cause is why a call must not go on, or nil.
func (r *retrier) cause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.c.ctx.Err() != nil {
		return ErrClosed
	}
	return nil
}

// ended returns the error of a call that must not go on, or nil.
func (r *retrier) ended(ctx context.Context) error {
	cause := r.cause(ctx)
	switch {
	case cause == nil:
		return nil
	case r.maybe:
		return r.unknown(cause)
	case r.last != nil:
		return fmt.Errorf("%s: %w; last attempt: %w", r.call.name, cause, r.last)
	default:
		return fmt.Errorf("%s: %w", r.call.name, cause)
	}
}

// unknown wraps no error that would say that nothing was changed.
func (r *retrier) unknown(cause error) error {
	if cause == nil {
		return fmt.Errorf("%s: %w; last attempt: %v", r.call.name, tidemark.ErrOutcomeUnknown, r.last)
	}
	return fmt.Errorf("%s: %w: %w; last attempt: %v", r.call.name, tidemark.ErrOutcomeUnknown, cause, r.last)
}

// conclude returns the error of the call if it is to end with this failure.
func (r *retrier) conclude(ctx context.Context, node *endpoint, f *failure) error {
	if ctx.Err() == nil || r.last == nil {
		// That an attempt was cut short by the caller explains nothing.
		r.last = f.err
	}
	switch {
	case f.verdict == final && r.maybe && !settles(f.err):
		return r.unknown(nil)
	case f.verdict == final:
		return fmt.Errorf("%s: %w", r.call.name, f.err)
	case f.verdict == unknown && r.call.write:
		r.maybe = true
		if !r.call.repeatable {
			return r.unknown(r.cause(ctx))
		}
	case errors.Is(f.err, tidemark.ErrCorrupt) && r.corruptEverywhere(node):
		return fmt.Errorf("%s: %w", r.call.name, f.err)
	}
	r.c.options.logger.Debug("attempt failed", "operation", r.call.name, "error", f.err)
	return nil
}

// corruptEverywhere reports whether a read has found damage on as many nodes as it
// can turn to.
func (r *retrier) corruptEverywhere(node *endpoint) bool {
	if r.corrupt == nil {
		r.corrupt = make(map[*endpoint]bool)
	}
	r.corrupt[node] = true
	return r.call.node != nil || len(r.corrupt) >= len(r.c.nodes.given)
}
