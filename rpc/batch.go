package rpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// AppendBatch implements tidemarkv1.TimelineServiceServer.
func (s *Server) AppendBatch(ctx context.Context, req *tidemarkv1.AppendBatchRequest) (*tidemarkv1.AppendBatchResponse, error) {
	items, invalid, err := parseBatch(req)
	if err != nil {
		return nil, err
	}
	var atomic []byte
	if req.GetAtomic() {
		if atomic, err = atomicCommand(items); err != nil {
			return nil, err
		}
	}
	for _, item := range valid(items, invalid) {
		if item.needsFanOut() {
			if err := s.needLevel(ctx, fanOutLevel); err != nil {
				return nil, err
			}
			break
		}
	}
	return onLeader(ctx, s, "AppendBatch", req,
		func(ctx context.Context, _ *tidemarkv1.AppendBatchRequest) (*tidemarkv1.AppendBatchResponse, error) {
			inboxes, err := s.admitFanOut(ctx, valid(items, invalid)...)
			if err != nil {
				return nil, err
			}
			defer s.admission.inboxes.Release(inboxes)
			if atomic != nil {
				return s.appendAtomic(ctx, atomic)
			}
			return s.appendEach(ctx, items, invalid)
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.AppendBatchRequest, ...grpc.CallOption) (*tidemarkv1.AppendBatchResponse, error) {
			return c.timelines.AppendBatch
		})
}

// valid are the items without an error.
func valid(items []appendItem, errs []error) []appendItem {
	if !slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return items
	}
	var left []appendItem
	for i, item := range items {
		if errs[i] == nil {
			left = append(left, item)
		}
	}
	return left
}

// entryOverhead is more than what an entry adds to its only command.
const entryOverhead = 64

// atomicCommand encodes the batch, which must fit into one log entry.
func atomicCommand(items []appendItem) ([]byte, error) {
	batch := fsm.AppendBatch{Items: make([]fsm.Append, len(items))}
	for i := range items {
		batch.Items[i] = items[i].append()
	}
	command := batch.Encode()
	if limit := tidemark.MaxEntryBytes - entryOverhead; len(command) > limit {
		return nil, tidemark.Invalid("items", "of an atomic batch take %d bytes when encoded; limit is %d bytes", len(command), limit)
	}
	return command, nil
}

// appendAtomic answers with one result for each item, errors too: which item was at
// fault is for the caller to see, and the others say that it was not they.
func (s *Server) appendAtomic(ctx context.Context, command []byte) (*tidemarkv1.AppendBatchResponse, error) {
	start := time.Now()
	result, position, err := propose[fsm.AppendBatchResult](ctx, s, command)
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.AppendBatchResponse{Results: make([]*tidemarkv1.AppendBatchResult, len(result.Results)), Position: position}
	for i := range result.Results {
		one := &result.Results[i]
		if one.Err != nil {
			reply.Results[i] = failedItem(one.Err)
			continue
		}
		if result.Err != nil {
			reply.Results[i] = failedItem(tidemark.ErrBatchAborted)
			continue
		}
		s.metrics.outcome(one.Duplicate, start)
		reply.Results[i] = appendedItem(toAppendResponse(one, position))
	}
	return reply, nil
}

// appendEach proposes the items in order, as separate commands, and waits for all. If
// one of them is not applied and could be later, none after it is applied, so that
// a retry keeps the order. If no item has a final result the call fails.
func (s *Server) appendEach(ctx context.Context, items []appendItem, invalid []error) (*tidemarkv1.AppendBatchResponse, error) {
	if err := beforeProposing(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	pipeline, pending := s.Node.NewPipeline(), make([]Pending, len(items))
	for i := range items {
		if invalid[i] == nil {
			pending[i] = pipeline.ProposeAsync(items[i].command())
		}
	}
	reply := &tidemarkv1.AppendBatchResponse{Results: make([]*tidemarkv1.AppendBatchResult, len(items))}
	var position tidemark.Position
	var failure error
	settled := false
	for i, err := range invalid {
		var response *tidemarkv1.AppendResponse
		if err == nil {
			var proposal tidemark.Proposal
			proposal, err = pending[i].Wait(ctx)
			position = max(position, proposal.Position)
			response, err = s.appended(proposal, err, start)
		}
		if err == nil {
			reply.Results[i] = appendedItem(response)
		} else {
			reply.Results[i] = failedItem(err)
		}
		settled = settled || err == nil || isFinal(err)
		failure = worse(failure, err)
	}
	if !settled {
		return nil, failure
	}
	reply.Position = position.Token()
	return reply, nil
}

// worse is the error that says less about what was done.
func worse(a, b error) error {
	if a == nil || b != nil && errors.Is(b, tidemark.ErrOutcomeUnknown) {
		return b
	}
	return a
}

func appendedItem(response *tidemarkv1.AppendResponse) *tidemarkv1.AppendBatchResult {
	return &tidemarkv1.AppendBatchResult{Outcome: &tidemarkv1.AppendBatchResult_Response{Response: response}}
}

func failedItem(err error) *tidemarkv1.AppendBatchResult {
	return &tidemarkv1.AppendBatchResult{Outcome: &tidemarkv1.AppendBatchResult_Error{Error: toItem(err)}}
}
