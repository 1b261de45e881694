package workload

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/jepsen/history"
)

// reasons are the errors whose reason of docs/errors.md is recorded; of others it
// is the text.
var reasons = []struct {
	err    error
	reason string
}{
	// The first match counts: an unknown outcome may wrap another error.
	{tidemark.ErrOutcomeUnknown, outcomeUnknown},
	{tidemark.ErrMessageIDConflict, history.MessageIDConflict},
	{tidemark.ErrSequenceConflict, history.SequenceConflict},
	{tidemark.ErrBatchAborted, "BATCH_ABORTED"},
	{tidemark.ErrTimelineNotFound, history.TimelineNotFound},
	{tidemark.ErrMessageNotFound, history.MessageNotFound},
	{tidemark.ErrInvalid, "INVALID_ARGUMENT"},
	{tidemark.ErrUpgradeIncomplete, "UPGRADE_INCOMPLETE"},
	{tidemark.ErrNotLeader, "NOT_LEADER"},
	{tidemark.ErrNoLeader, "NO_LEADER"},
	{tidemark.ErrOverloaded, "OVERLOADED"},
	{tidemark.ErrStopping, "STOPPING"},
	{tidemark.ErrStale, "STALE"},
	{tidemark.ErrNotCaughtUp, "NOT_CAUGHT_UP"},
	{tidemark.ErrCorrupt, "CORRUPT"},
	{tidemark.ErrDiskFull, "DISK_FULL"},
	{context.DeadlineExceeded, "DEADLINE_EXCEEDED"},
	{context.Canceled, "CANCELLED"},
}

const outcomeUnknown = "OUTCOME_UNKNOWN"

func reasonOf(err error) string {
	for _, known := range reasons {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	return err.Error()
}

// writeOutcome is what the SDK's error says about a write: all errors but
// ErrOutcomeUnknown are definite.
func writeOutcome(err error) (history.Outcome, string) {
	switch {
	case err == nil:
		return history.OK, ""
	case errors.Is(err, tidemark.ErrOutcomeUnknown):
		return history.Unknown, reasonOf(err)
	default:
		return history.Fail, reasonOf(err)
	}
}

// ReadOutcome is what the SDK's error says about a read. That there is nothing to
// read is an answer.
func ReadOutcome(err error) (history.Outcome, string) {
	switch {
	case err == nil:
		return history.OK, ""
	case errors.Is(err, tidemark.ErrTimelineNotFound), errors.Is(err, tidemark.ErrMessageNotFound):
		return history.OK, reasonOf(err)
	default:
		return history.Fail, reasonOf(err)
	}
}

// maybeDone are the reasons of docs/errors.md that say unknown.
var maybeDone = map[string]bool{outcomeUnknown: true, "INTERNAL": true}

// unaryOutcome is what an error of the generated API says about a write: only a
// reason of Tidemark's own can say that nothing was done.
func unaryOutcome(err error) (history.Outcome, string) {
	if err == nil {
		return history.OK, ""
	}
	for _, detail := range status.Convert(err).Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != "tidemark" {
			continue
		}
		if maybeDone[info.GetReason()] {
			return history.Unknown, info.GetReason()
		}
		return history.Fail, info.GetReason()
	}
	return history.Unknown, status.Code(err).String()
}
