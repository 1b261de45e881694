package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// ErrClosed is returned when the client was closed before the call was done.
var ErrClosed = errors.New("client is closed")

// UnknownOutcomeError is returned when an append may or may not be applied, now
// or later. It is tidemark.ErrOutcomeUnknown, and wraps what ended the waiting
// (such as the error of the context), but no error that would say that nothing
// was changed. Call Append with Draft to learn the outcome: its ID makes that safe.
type UnknownOutcomeError struct {
	// Draft is complete: it has the ID and the ClientTime that were sent. Its
	// Payload and Attributes are those of the caller.
	Draft Draft
	cause error
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("append of %q to %q: %v: %v", e.Draft.ID, e.Draft.Timeline, tidemark.ErrOutcomeUnknown, e.cause)
}

// Unwrap makes errors.Is find ErrOutcomeUnknown and the cause.
func (e *UnknownOutcomeError) Unwrap() []error { return []error{tidemark.ErrOutcomeUnknown, e.cause} }

// BatchError is returned by AppendBatch when at least one of its items failed. It
// wraps the errors of all items.
type BatchError struct {
	// Failed is the number of items that failed, and First the index of the first one.
	Failed, First int
	errs          []error
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("%d items of the batch failed; items[%d]: %v", e.Failed, e.First, e.errs[0])
}

// Unwrap makes errors.Is and errors.As find the errors of the items.
func (e *BatchError) Unwrap() []error { return e.errs }

// A verdict is what a failed attempt says about what happened, and so about what
// may be done next.
type verdict uint8

const (
	// final: nothing was changed, and a retry would fail again.
	final verdict = iota
	// notApplied: nothing was changed, and a retry may succeed.
	notApplied
	// unknown: a write may have been applied.
	unknown
)

// reasons are those of docs/errors.md.
var reasons = map[string]struct {
	err     error
	verdict verdict
}{
	"INVALID_ARGUMENT":    {tidemark.ErrInvalid, final},
	"MESSAGE_ID_CONFLICT": {tidemark.ErrMessageIDConflict, final},
	"SEQUENCE_CONFLICT":   {tidemark.ErrSequenceConflict, final},
	"BATCH_ABORTED":       {tidemark.ErrBatchAborted, final},
	"TIMELINE_NOT_FOUND":  {tidemark.ErrTimelineNotFound, final},
	"MESSAGE_NOT_FOUND":   {tidemark.ErrMessageNotFound, final},
	"CHANGES_TRIMMED":     {tidemark.ErrChangesTrimmed, final},
	"MEMBER_EXISTS":       {tidemark.ErrMemberExists, final},
	"MEMBER_NOT_FOUND":    {tidemark.ErrMemberNotFound, final},
	"MEMBER_NOT_READY":    {tidemark.ErrMemberNotReady, final},
	"MEMBERSHIP_UNSAFE":   {tidemark.ErrMembershipUnsafe, final},
	"RECIPIENTS_CONFLICT": {tidemark.ErrRecipientsConflict, final},
	"REVISION_CONFLICT":   {tidemark.ErrRevisionConflict, final},
	"PLACE_PASSED":        {tidemark.ErrPlacePassed, final},
	"REDACTED":            {tidemark.ErrRedacted, final},
	"UPGRADE_INCOMPLETE":  {tidemark.ErrUpgradeIncomplete, final},
	"NOT_LEADER":          {tidemark.ErrNotLeader, notApplied},
	"NO_LEADER":           {tidemark.ErrNoLeader, notApplied},
	"OVERLOADED":          {tidemark.ErrOverloaded, notApplied},
	"STOPPING":            {tidemark.ErrStopping, notApplied},
	"STALE":               {tidemark.ErrStale, notApplied},
	"NOT_CAUGHT_UP":       {tidemark.ErrNotCaughtUp, notApplied},
	"DEADLINE_EXCEEDED":   {context.DeadlineExceeded, notApplied},
	"CANCELLED":           {context.Canceled, notApplied},
	"CORRUPT":             {tidemark.ErrCorrupt, notApplied},
	"NEWER_FORMAT":        {tidemark.ErrNewerFormat, notApplied},
	"FOREIGN_DATA":        {tidemark.ErrForeignData, notApplied},
	"DISK_FULL":           {tidemark.ErrDiskFull, notApplied},
	"OUTCOME_UNKNOWN":     {tidemark.ErrOutcomeUnknown, unknown},
	"INTERNAL":            {nil, unknown},
}

// failure is a failed attempt, understood.
type failure struct {
	verdict verdict
	code    codes.Code
	// err wraps an error of package tidemark if the node named one.
	err error
	// retryAfter is how long the node asked to wait, or 0.
	retryAfter time.Duration
	// leaderID is who leads, and leader where that serves, as the node said; or empty.
	leaderID, leader string
}

// statusError is a status of a node. It wraps what the status stands for, and
// status.FromError still finds the status.
type statusError struct {
	endpoint string
	status   *status.Status
	word     error
}

func (e *statusError) Error() string {
	message := e.status.Message()
	if message == "" {
		message = e.status.Code().String()
	}
	return e.endpoint + ": " + message
}
func (e *statusError) Unwrap() error              { return e.word }
func (e *statusError) GRPCStatus() *status.Status { return e.status }

// unreachable is the failure of an attempt for which there was no connection, so
// that nothing was sent.
func unreachable(endpoint string, err error) *failure {
	return &failure{verdict: notApplied, code: codes.Unavailable, err: fmt.Errorf("%s: not connected: %w", endpoint, err)}
}

// understand translates the error of a call to an endpoint.
func understand(endpoint string, err error) *failure {
	st, ok := status.FromError(err)
	if !ok {
		return &failure{verdict: unknown, code: codes.Unknown, err: fmt.Errorf("%s: %w", endpoint, err)}
	}
	var info *errdetails.ErrorInfo
	var violation *errdetails.BadRequest_FieldViolation
	f := &failure{code: st.Code()}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				info = detail
			}
		case *errdetails.RetryInfo:
			f.retryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			if len(detail.GetFieldViolations()) > 0 {
				violation = detail.GetFieldViolations()[0]
			}
		}
	}
	metadata := info.GetMetadata()
	f.leaderID, f.leader = metadata[metadataLeaderID], metadata[metadataLeader]
	verdict, word := wordOf(st.Code(), info.GetReason(), st.Message(), metadata)
	if violation != nil && word == tidemark.ErrInvalid {
		word = &tidemark.InvalidError{Field: violation.GetField(), Rule: violation.GetDescription()}
	}
	f.verdict = verdict
	f.err = &statusError{endpoint: endpoint, status: st, word: word}
	return f
}

// understandItem translates the error of one item of a call that has many.
func understandItem(endpoint string, e *pb.Error) *failure {
	code := codes.Code(e.GetCode())
	verdict, word := wordOf(code, e.GetReason(), e.GetMessage(), e.GetMetadata())
	st := status.New(code, e.GetMessage())
	return &failure{verdict: verdict, code: code, err: &statusError{endpoint: endpoint, status: st, word: word}}
}

// The domain of an ErrorInfo, and the keys of its metadata; see docs/errors.md.
const (
	errorDomain      = "tidemark"
	metadataLeaderID = "leader_id"
	metadataLeader   = "leader_address"
	metadataField    = "field"
	metadataRule     = "rule"
	metadataExpected = "expected_last_seq_id"
	metadataLast     = "last_seq_id"
)

// wordOf finds the error of package tidemark that a status stands for, or nil if
// none does, and what it says about the outcome.
func wordOf(code codes.Code, reason, message string, metadata map[string]string) (verdict, error) {
	known, ok := reasons[reason]
	if !ok {
		return wordOfCode(code, message)
	}
	switch reason {
	case "INVALID_ARGUMENT":
		if field := metadata[metadataField]; field != "" {
			return known.verdict, &tidemark.InvalidError{Field: field, Rule: metadata[metadataRule]}
		}
	case "SEQUENCE_CONFLICT":
		expected, err1 := strconv.ParseUint(metadata[metadataExpected], 10, 64)
		last, err2 := strconv.ParseUint(metadata[metadataLast], 10, 64)
		if err1 == nil && err2 == nil {
			// A node that does not say it trims nothing.
			first, err := strconv.ParseUint(metadata["first_seq_id"], 10, 64)
			if err != nil {
				first = 1
			}
			return known.verdict, &tidemark.SequenceConflictError{Expected: tidemark.SeqID(expected), Last: tidemark.SeqID(last), First: tidemark.SeqID(first)}
		}
	case "CHANGES_TRIMMED":
		first, err := tidemark.ParseChangePositionText("first_position", metadata["first_position"])
		if err == nil && !first.IsZero() {
			return known.verdict, &tidemark.ChangesTrimmedError{First: first}
		}
	case "REVISION_CONFLICT":
		expected, err1 := strconv.ParseUint(metadata["expected_revision"], 10, 64)
		revision, err2 := strconv.ParseUint(metadata["revision"], 10, 64)
		if err1 == nil && err2 == nil {
			return known.verdict, &tidemark.RevisionConflictError{Expected: expected, Revision: revision}
		}
	case "RECIPIENTS_CONFLICT":
		expected, err1 := strconv.ParseUint(metadata["expected_version"], 10, 64)
		version, err2 := strconv.ParseUint(metadata["version"], 10, 64)
		if err1 == nil && err2 == nil {
			return known.verdict, &tidemark.VersionConflictError{Expected: expected, Version: version}
		}
	}
	return known.verdict, known.err
}

// wordOfCode is for a status without a reason that is known here: it comes from
// gRPC itself, from something between client and node, or from a newer node.
func wordOfCode(code codes.Code, message string) (verdict, error) {
	switch code {
	case codes.InvalidArgument, codes.OutOfRange:
		return final, tidemark.ErrInvalid
	case codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied,
		codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition:
		return final, nil
	case codes.ResourceExhausted:
		// gRPC says so for a message beyond its limit, which no retry mends.
		if strings.Contains(message, "larger than max") {
			return final, nil
		}
		return unknown, nil
	case codes.Internal:
		// Made on this side, before anything was sent: text that is not UTF-8.
		if strings.HasPrefix(message, "grpc: error while marshaling") {
			return final, tidemark.ErrInvalid
		}
		return unknown, nil
	default:
		return unknown, nil
	}
}

// settles reports whether the final error of a later attempt also tells that an
// earlier attempt, whose outcome was unknown, has not been and will not be
// applied. An earlier attempt may still be on its way, so only what no later
// state of the cluster can change counts.
func settles(err error) bool {
	var conflict *tidemark.SequenceConflictError
	switch {
	case errors.As(err, &conflict):
		// The last SeqID only grows. If the message were there it would be the next one
		// after Expected, and found by its id unless it was trimmed.
		return conflict.Last > conflict.Expected && conflict.First <= conflict.Expected+1
	default:
		return errors.Is(err, tidemark.ErrMessageIDConflict)
	}
}
