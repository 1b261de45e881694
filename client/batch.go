package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// BatchOption is an option of AppendBatch.
type BatchOption func(*batchOptions)

type batchOptions struct {
	atomic   bool
	expected map[tidemark.TimelineID]tidemark.SeqID
	fanOut   tidemark.FanOut
}

// FanOutEach is FanOut for each item of a batch. All of them together reach at most 20,000
// inboxes.
func FanOutEach() BatchOption { return func(o *batchOptions) { o.fanOut.Recipients = true } }

// Atomic appends all of the batch or nothing of it. The batch must fit into one log
// entry of 512 KiB.
func Atomic() BatchOption { return func(o *batchOptions) { o.atomic = true } }

// ExpectLastSeqIDOf is ExpectLastSeqID for the first item of a timeline in a batch.
func ExpectLastSeqIDOf(timeline tidemark.TimelineID, seq tidemark.SeqID) BatchOption {
	return func(o *batchOptions) {
		if o.expected == nil {
			o.expected = make(map[tidemark.TimelineID]tidemark.SeqID)
		}
		o.expected[timeline] = seq
	}
}

// BatchResult is the outcome of one item of a batch: either a result or an error.
type BatchResult struct {
	AppendResult
	Err error
}

// AppendBatch appends up to 1,024 messages of up to 4 MiB together in one call,
// and returns the outcome of each in order. Without Atomic, items stand for
// themselves. The error is nil only if every item was appended. It is a
// *BatchError, beside the results, if some were not; without results, nothing was
// sent. Items whose outcome is unknown have an *UnknownOutcomeError each.
func (c *Client) AppendBatch(ctx context.Context, drafts []Draft, opts ...BatchOption) ([]BatchResult, error) {
	var o batchOptions
	for _, option := range opts {
		option(&o)
	}
	b, err := newBatch(c, drafts, o)
	if err != nil {
		return nil, fmt.Errorf("AppendBatch: %w", err)
	}
	wait := backoff{base: c.options.backoffBase, limit: c.options.backoffMax}
	for {
		asked, err := b.attempt(ctx)
		if err != nil {
			b.giveUp(err)
			break
		}
		if len(b.open) == 0 {
			break
		}
		c.sleep(ctx, wait.next(asked))
	}
	return b.results, b.error()
}

// batch is an AppendBatch over its calls.
type batch struct {
	c       *Client
	atomic  bool
	drafts  []Draft
	items   []*pb.AppendRequest
	results []BatchResult
	// open are the indices of the items without a final outcome, in order.
	open []int
	// attempts counts the attempts, each of which may have been applied.
	attempts int
}

func newBatch(c *Client, drafts []Draft, o batchOptions) (*batch, error) {
	b := &batch{c: c, atomic: o.atomic, drafts: slices.Clone(drafts), results: make([]BatchResult, len(drafts))}
	expected := maps.Clone(o.expected)
	for i := range b.drafts {
		draft := &b.drafts[i]
		item := appendOptions{fanOut: o.fanOut}
		if seq, ok := expected[draft.Timeline]; ok {
			item.expected = &seq
			delete(expected, draft.Timeline)
		}
		request, err := draft.complete(fmt.Sprintf("items[%d].", i), &item)
		if err != nil {
			return nil, err
		}
		b.items = append(b.items, request)
		b.open = append(b.open, i)
	}
	for timeline := range expected {
		return nil, tidemark.Invalid("items", "must have one for timeline %q, of which the last sequence id is expected", timeline)
	}
	return b, nil
}

// attempt sends the open items, and closes those that then have an outcome. It
// returns how long to wait before the rest is sent again.
func (b *batch) attempt(ctx context.Context) (time.Duration, error) {
	request := &pb.AppendBatchRequest{Atomic: b.atomic}
	for _, i := range b.open {
		request.Items = append(request.Items, b.items[i])
	}
	var node *endpoint
	kind := call{name: "AppendBatch", write: true, repeatable: true}
	reply, err := do(ctx, b.c, kind, func(ctx context.Context, to *endpoint) (*pb.AppendBatchResponse, error) {
		node = to
		b.attempts++
		reply, err := to.timelines.AppendBatch(ctx, request)
		if err == nil && len(reply.GetResults()) != len(request.GetItems()) {
			err = fmt.Errorf("node answered %d results for %d items", len(reply.GetResults()), len(request.GetItems()))
		}
		return reply, err
	})
	if err != nil {
		return 0, err
	}
	return b.sort(node, reply)
}

// sort tells items with an outcome from those to be sent again.
func (b *batch) sort(node *endpoint, reply *pb.AppendBatchResponse) (asked time.Duration, err error) {
	var open []int
	appended := make(map[tidemark.TimelineID]bool)
	// From the last to the first: an item that failed for now is not sent again
	// after a later one of its timeline was appended, because that would change
	// their order.
	for at, i := range slices.Backward(b.open) {
		result, f, err := b.read(node, reply.GetResults()[at])
		timeline := b.drafts[i].Timeline
		switch {
		case err != nil:
			return 0, err
		case f == nil:
			result.Timeline, result.ID = timeline, b.drafts[i].ID
			b.results[i] = BatchResult{AppendResult: result}
			appended[timeline] = true
		case f.verdict != final && !appended[timeline]:
			open = append(open, i)
			asked = max(asked, f.retryAfter)
			b.results[i].Err = b.failed(i, f)
		default:
			b.results[i].Err = b.failed(i, f)
		}
	}
	slices.Reverse(open)
	b.open = open
	return asked, nil
}

func (b *batch) read(node *endpoint, result *pb.AppendBatchResult) (AppendResult, *failure, error) {
	switch outcome := result.GetOutcome().(type) {
	case *pb.AppendBatchResult_Response:
		appended, err := b.c.appendResult(outcome.Response)
		return appended, nil, err
	case *pb.AppendBatchResult_Error:
		return AppendResult{}, understandItem(node.address, outcome.Error), nil
	default:
		return AppendResult{}, nil, fmt.Errorf("AppendBatch: %w: %s answered without an outcome", tidemark.ErrOutcomeUnknown, node.address)
	}
}

// failed is the error of an item. If an earlier attempt carried it too, that may
// still be on its way.
func (b *batch) failed(i int, f *failure) error {
	earlier := b.attempts > 1 && !settles(f.err) && !errors.Is(f.err, tidemark.ErrInvalid)
	if f.verdict == unknown || earlier {
		return &UnknownOutcomeError{Draft: b.drafts[i], cause: errors.New(f.err.Error())}
	}
	return fmt.Errorf("append of %q to %q: %w", b.drafts[i].ID, b.drafts[i].Timeline, f.err)
}

// giveUp closes the open items with the error of the call.
func (b *batch) giveUp(err error) {
	for _, i := range b.open {
		switch {
		case errors.Is(err, tidemark.ErrOutcomeUnknown), errors.Is(b.results[i].Err, tidemark.ErrOutcomeUnknown):
			b.results[i].Err = &UnknownOutcomeError{Draft: b.drafts[i], cause: err}
		default:
			b.results[i].Err = err
		}
	}
}

// error sums up the items.
func (b *batch) error() error {
	var failed *BatchError
	for i := range b.results {
		err := b.results[i].Err
		if err == nil {
			continue
		}
		if failed == nil {
			failed = &BatchError{First: i}
		}
		failed.Failed++
		failed.errs = append(failed.errs, err)
	}
	if failed == nil {
		return nil
	}
	return failed
}
