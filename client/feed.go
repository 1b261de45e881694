package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// changeBatches is how many batches wait for Next at most. Beyond it the stream is not
// read, and the node holds one more page.
const changeBatches = 4

// Changes follows the change feed: what was changed in all timelines, in the order of the
// log, each change once. It goes on over another node when the one that serves it fails.
// Next may be called by one goroutine at a time. It has to be closed.
type Changes struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	// batches is closed when no more come; err is set before.
	batches chan ChangeBatch
	err     error

	options changesOptions
	// position is the place behind what was handed on; zero until there is one. It belongs to run.
	position tidemark.ChangePosition
}

// Change is one change of the feed.
type Change struct {
	// Position is the place behind it: who stores it together with what came of the change,
	// and goes on from it, has each change once.
	Position tidemark.ChangePosition
	Kind     tidemark.ChangeKind
	Timeline tidemark.TimelineID
	// SeqID is that of the message that was appended or imported; with ChangeTrimmed, the
	// first that is retained; with ChangeDeleted, the last that the timeline had.
	SeqID tidemark.SeqID
	// Message is what was appended, or nil if it is gone meanwhile, of which a later change tells.
	Message *Message
}

// ChangeBatch is what comes at once.
type ChangeBatch struct {
	// Changes may be empty, if all that came has another prefix, or nothing did.
	Changes []Change
	// Position is the place behind Changes, and behind what has another prefix.
	Position tidemark.ChangePosition
	// CaughtUp says that it is all that the node has, as it knew when it sent it.
	CaughtUp bool
}

// ChangesOption says what of the change feed to follow.
type ChangesOption func(*changesOptions)

type changesOptions struct {
	from   tidemark.ChangePosition
	now    bool
	prefix string
	level  *Consistency
}

// ChangesFrom begins behind a place that the caller has got to. The zero value, which is
// the default, is the first change that is retained. Changes that are not retained any
// more end the feed with a *tidemark.ChangesTrimmedError.
func ChangesFrom(p tidemark.ChangePosition) ChangesOption {
	return func(o *changesOptions) { o.from, o.now = p, false }
}

// ChangesFromNow begins behind everything that was acknowledged before the first node was
// reached: behind the Position of the first batch.
func ChangesFromNow() ChangesOption {
	return func(o *changesOptions) { o.now = true }
}

// ChangesOf takes only timelines whose ids begin with prefix. The node leaves out the others.
func ChangesOf(prefix string) ChangesOption {
	return func(o *changesOptions) { o.prefix = prefix }
}

// ChangesAt has each node that serves the feed apply what the level asks for before it
// begins, as it would for a read: CaughtUp covers that then.
func ChangesAt(level Consistency) ChangesOption {
	return func(o *changesOptions) { o.level = &level }
}

// Changes opens the change feed, from the first change that is retained unless an option
// says else. It connects by itself, and again for as long as it is open.
func (c *Client) Changes(opts ...ChangesOption) (*Changes, error) {
	f := &Changes{c: c, batches: make(chan ChangeBatch, changeBatches)}
	for _, option := range opts {
		option(&f.options)
	}
	if !f.options.now {
		f.position = f.options.from
	}
	if err := c.begin(); err != nil {
		return nil, fmt.Errorf("Changes: %w", err)
	}
	f.ctx, f.cancel = context.WithCancel(c.closing)
	go func() {
		defer c.calls.Done()
		defer close(f.batches)
		f.run()
	}()
	return f, nil
}

// Next waits for the next batch: changes, or a Position further on. Its error is that of
// ctx, ErrClosed after Close, or why no node can go on: it wraps tidemark.ErrChangesTrimmed,
// ErrInvalid (as for a position of another cluster), or ErrUpgradeIncomplete. While no node
// can be reached, it waits.
func (f *Changes) Next(ctx context.Context) (ChangeBatch, error) {
	select {
	case batch, ok := <-f.batches:
		if !ok {
			return ChangeBatch{}, f.err
		}
		return batch, nil
	case <-ctx.Done():
		return ChangeBatch{}, ctx.Err()
	}
}

// Close ends the feed.
func (f *Changes) Close() error {
	f.cancel()
	for range f.batches { // until run has ended
	}
	return nil
}

var errChangesDisorder = errors.New("node sent changes twice or out of order")

// run keeps a stream up until the feed is closed, or no node can go on.
func (f *Changes) run() {
	f.err = fmt.Errorf("Changes: %w", ErrClosed)
	wait := backoff{base: f.c.options.backoffBase, limit: f.c.options.backoffMax}
	for f.ctx.Err() == nil {
		node := f.c.nodes.any()
		begin := time.Now()
		answered, failed := f.serve(node)
		if f.c.options.observer != nil {
			f.c.options.observer(Attempt{Operation: "Changes", Endpoint: node.address, Duration: time.Since(begin), Answered: answered, Err: failed.observed(false)})
		}
		if f.ctx.Err() != nil {
			return
		}
		if failed.verdict == final && failed.code != codes.Unimplemented {
			f.err = fmt.Errorf("Changes: %w", failed.err)
			return
		}
		f.c.options.logger.Debug("change feed interrupted", "endpoint", node.address, "error", failed.err)
		if answered > 0 {
			wait.reset()
		}
		// A node of an older version is not a bad one.
		if failed.code != codes.Unimplemented {
			failed.verdict = notApplied
			f.c.nodes.failed(node, failed)
		}
		f.c.sleep(f.ctx, wait.next(failed.retryAfter))
	}
}

// serve runs one stream over the node, and returns how many responses came and why it ended.
func (f *Changes) serve(node *endpoint) (answered int, failed *failure) {
	if err := f.c.connect(f.ctx, node); err != nil {
		return 0, unreachable(node.address, err)
	}
	ctx, cancel := context.WithCancelCause(f.ctx)
	defer cancel(context.Canceled)
	stream, err := node.timelines.Changes(ctx, f.request())
	if err != nil {
		return 0, understand(node.address, err)
	}
	silence := time.AfterFunc(tailSilence, func() { cancel(errTailSilent) })
	defer silence.Stop()
	for {
		silence.Reset(tailSilence)
		response, err := stream.Recv()
		silence.Stop()
		if cause := context.Cause(ctx); cause != nil && err != nil && !errors.Is(cause, context.Canceled) {
			return answered, &failure{verdict: notApplied, code: codes.Unavailable, err: fmt.Errorf("%s: %w", node.address, cause)}
		}
		if err != nil {
			return answered, understand(node.address, err)
		}
		answered++
		if failed := f.take(node, response); failed != nil {
			return answered, failed
		}
	}
}

// request asks for what comes behind the position.
func (f *Changes) request() *pb.ChangesRequest {
	request := &pb.ChangesRequest{Prefix: f.options.prefix}
	switch {
	case !f.position.IsZero():
		request.Start = &pb.ChangesRequest_Position{Position: f.position.Token()}
	case f.options.now:
		request.Start = &pb.ChangesRequest_Now{Now: true}
	}
	if f.options.level != nil {
		request.Consistency = f.c.consistency(*f.options.level)
	}
	return request
}

// take hands a response on, and says what is wrong with it, or with the node.
func (f *Changes) take(node *endpoint, response *pb.ChangesResponse) *failure {
	bad := func(verdict verdict, err error) *failure {
		return &failure{verdict: verdict, code: codes.Unavailable, err: fmt.Errorf("%s: %w", node.address, err)}
	}
	batch := ChangeBatch{CaughtUp: response.GetCaughtUp()}
	at := f.position
	for _, c := range response.GetChanges() {
		change, err := changeOf(c)
		if err != nil {
			return bad(final, err)
		}
		if !at.IsZero() && !at.Before(change.Position) {
			return bad(notApplied, fmt.Errorf("%w: %s after %s", errChangesDisorder, change.Position, at))
		}
		at = change.Position
		batch.Changes = append(batch.Changes, change)
	}
	var err error
	if batch.Position, err = tidemark.ParseChangePosition("position", response.GetPosition()); err != nil {
		return bad(notApplied, err)
	}
	if batch.Position.Before(at) {
		return bad(notApplied, fmt.Errorf("%w: %s after %s", errChangesDisorder, batch.Position, at))
	}
	if batch.Position != f.position || batch.CaughtUp {
		select {
		case f.batches <- batch:
		case <-f.ctx.Done():
			return bad(notApplied, f.ctx.Err())
		}
	}
	f.position = batch.Position
	if age := time.Duration(response.GetStalenessMillis()) * time.Millisecond; age > tailStaleness && f.c.nodes.hasOther(node) {
		return bad(notApplied, fmt.Errorf("%w: last heard from a leader %v ago", tidemark.ErrStale, age))
	}
	return nil
}

// changeOf refuses a change that this version does not know: to leave it out would be a hole.
func changeOf(c *pb.Change) (change Change, err error) {
	change.Timeline = tidemark.TimelineID(c.GetTimeline())
	if change.Position, err = tidemark.ParseChangePosition("position", c.GetPosition()); err != nil {
		return change, err
	}
	switch what := c.GetChange().(type) {
	case *pb.Change_Appended:
		message := messageOf(what.Appended)
		change.Kind, change.SeqID, change.Message = tidemark.ChangeAppended, message.SeqID, &message
	case *pb.Change_GoneSeqId:
		change.Kind, change.SeqID = tidemark.ChangeAppended, tidemark.SeqID(what.GoneSeqId)
	case *pb.Change_TrimmedFirstSeqId:
		change.Kind, change.SeqID = tidemark.ChangeTrimmed, tidemark.SeqID(what.TrimmedFirstSeqId)
	case *pb.Change_DeletedLastSeqId:
		change.Kind, change.SeqID = tidemark.ChangeDeleted, tidemark.SeqID(what.DeletedLastSeqId)
	default:
		return change, fmt.Errorf("%w: a change of %q is of a kind that this version does not know", tidemark.ErrNewerFormat, change.Timeline)
	}
	return change, nil
}
