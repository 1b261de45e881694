package client

import (
	"context"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// BatchOption is an option of AppendBatch.
type BatchOption func(*batchOptions)

type batchOptions struct {
	atomic   bool
	expected map[tidemark.TimelineID]tidemark.SeqID
}

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

// AppendBatch appends up to 1,024 messages of up to 4 MiB together in one call. It
// returns the outcome of each in order. The error is nil only if every item was
// appended; a *BatchError if some were not; and otherwise the error of the call,
// with no results. Without Atomic, items stand for themselves.
func (c *Client) AppendBatch(ctx context.Context, drafts []Draft, opts ...BatchOption) ([]BatchResult, error) {
	_ = pb.AppendBatchRequest{}
	panic("unfinished")
}
