package rpc

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"tidemark"
	"tidemark/raftnode"
	"tidemark/rpc/tidemarkv1"
)

// Domain is the domain of every ErrorInfo that this API sends.
const Domain = "tidemark"

// reason is how one sentinel error is told to clients. docs/errors.md has a row for each.
type reason struct {
	err  error
	name string
	code codes.Code
	// final says that the same call will fail again, so that an item of a stream
	// or batch with this error is answered and what follows it goes on.
	final bool
	// retryAfter is sent as RetryInfo unless it is 0.
	retryAfter time.Duration
	// opaque hides the error's own text, which may name files or addresses of this
	// node; the sentinel's is sent and the text logged.
	opaque bool
}

// reasons is every error that a client can be told of. The first match counts: an
// unknown outcome is never told as anything milder that the same error wraps, and
// a context's error is only looked at when nothing else explains the failure.
var reasons = []reason{
	{err: tidemark.ErrOutcomeUnknown, name: "OUTCOME_UNKNOWN", code: codes.Unavailable, opaque: true},

	{err: tidemark.ErrInvalid, name: "INVALID_ARGUMENT", code: codes.InvalidArgument, final: true},
	{err: tidemark.ErrMessageIDConflict, name: "MESSAGE_ID_CONFLICT", code: codes.AlreadyExists, final: true},
	{err: tidemark.ErrSequenceConflict, name: "SEQUENCE_CONFLICT", code: codes.Aborted, final: true},
	{err: tidemark.ErrRecipientsConflict, name: "RECIPIENTS_CONFLICT", code: codes.Aborted, final: true},
	{err: tidemark.ErrBatchAborted, name: "BATCH_ABORTED", code: codes.Aborted, final: true},
	{err: tidemark.ErrTimelineNotFound, name: "TIMELINE_NOT_FOUND", code: codes.NotFound, final: true},
	{err: tidemark.ErrMessageNotFound, name: "MESSAGE_NOT_FOUND", code: codes.NotFound, final: true},
	{err: tidemark.ErrRevisionConflict, name: "REVISION_CONFLICT", code: codes.Aborted, final: true},
	{err: tidemark.ErrRedacted, name: "REDACTED", code: codes.FailedPrecondition, final: true},
	{err: tidemark.ErrPlacePassed, name: "PLACE_PASSED", code: codes.FailedPrecondition, final: true},
	{err: tidemark.ErrChangesTrimmed, name: "CHANGES_TRIMMED", code: codes.OutOfRange, final: true},
	{err: tidemark.ErrMemberExists, name: "MEMBER_EXISTS", code: codes.AlreadyExists, final: true},
	{err: tidemark.ErrMemberNotFound, name: "MEMBER_NOT_FOUND", code: codes.NotFound, final: true},
	{err: tidemark.ErrMemberNotReady, name: "MEMBER_NOT_READY", code: codes.FailedPrecondition, final: true},
	{err: tidemark.ErrMembershipUnsafe, name: "MEMBERSHIP_UNSAFE", code: codes.FailedPrecondition, final: true},

	{err: tidemark.ErrUpgradeIncomplete, name: "UPGRADE_INCOMPLETE", code: codes.FailedPrecondition, final: true, retryAfter: time.Second},
	{err: tidemark.ErrNotLeader, name: "NOT_LEADER", code: codes.Unavailable},
	{err: tidemark.ErrNoLeader, name: "NO_LEADER", code: codes.Unavailable, retryAfter: 200 * time.Millisecond},
	{err: tidemark.ErrOverloaded, name: "OVERLOADED", code: codes.ResourceExhausted, retryAfter: 100 * time.Millisecond},
	{err: tidemark.ErrStopping, name: "STOPPING", code: codes.Unavailable},
	{err: tidemark.ErrStale, name: "STALE", code: codes.Unavailable},
	{err: tidemark.ErrNotCaughtUp, name: "NOT_CAUGHT_UP", code: codes.Unavailable, retryAfter: 50 * time.Millisecond},

	{err: tidemark.ErrCorrupt, name: "CORRUPT", code: codes.DataLoss, opaque: true},
	{err: tidemark.ErrNewerFormat, name: "NEWER_FORMAT", code: codes.FailedPrecondition, opaque: true},
	{err: tidemark.ErrForeignData, name: "FOREIGN_DATA", code: codes.FailedPrecondition, opaque: true},
	{err: tidemark.ErrDiskFull, name: "DISK_FULL", code: codes.Unavailable, retryAfter: time.Second, opaque: true},

	{err: context.DeadlineExceeded, name: "DEADLINE_EXCEEDED", code: codes.DeadlineExceeded, opaque: true},
	{err: context.Canceled, name: "CANCELLED", code: codes.Canceled, opaque: true},
}

// internal is for errors that should not exist.
var internal = reason{err: errInternal, name: "INTERNAL", code: codes.Internal, opaque: true}

var errInternal = errors.New("internal error; the node's log says more")

// reasonOf finds what an error is told as.
func reasonOf(err error) reason {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return internal
}

// text is the message that a client may see.
func (r reason) text(err error) string {
	if r.opaque {
		return r.err.Error()
	}
	return err.Error()
}

// toStatus turns an error into what a client is told. An error that is a status
// already passes unchanged: the leader's is the truth about what the leader did, and
// that of an interceptor in Options.ServerOptions is meant for the client.
func toStatus(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	r := reasonOf(err)
	if given, ok := status.FromError(err); ok && r.name == internal.name {
		return given
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: r.name, Domain: Domain, Metadata: metadataOf(err)}}
	if invalid := (*tidemark.InvalidError)(nil); errors.As(err, &invalid) {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: invalid.Field, Description: invalid.Rule},
		}})
	}
	if r.retryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retryAfter)})
	}
	plain := status.New(r.code, r.text(err))
	full, err := plain.WithDetails(details...)
	if err != nil {
		return plain
	}
	return full
}

// toItem is toStatus for one item of a call that has many.
func toItem(err error) *tidemarkv1.Error {
	r := reasonOf(err)
	return &tidemarkv1.Error{Code: int32(r.code), Reason: r.name, Message: r.text(err), Metadata: metadataOf(err)}
}

// isFinal says that the same call would fail again with this error.
func isFinal(err error) bool { return reasonOf(err).final }

// metadataOf is what a program can do something with.
func metadataOf(err error) map[string]string {
	if invalid := (*tidemark.InvalidError)(nil); errors.As(err, &invalid) {
		return map[string]string{"field": invalid.Field, "rule": invalid.Rule}
	}
	if conflict := (*tidemark.SequenceConflictError)(nil); errors.As(err, &conflict) {
		return map[string]string{
			"expected_last_seq_id": strconv.FormatUint(uint64(conflict.Expected), 10),
			"last_seq_id":          strconv.FormatUint(uint64(conflict.Last), 10),
			"first_seq_id":         strconv.FormatUint(uint64(conflict.First), 10),
		}
	}
	if conflict := (*tidemark.RevisionConflictError)(nil); errors.As(err, &conflict) {
		return map[string]string{
			"expected_revision": strconv.FormatUint(conflict.Expected, 10), "revision": strconv.FormatUint(conflict.Revision, 10),
		}
	}
	if conflict := (*tidemark.VersionConflictError)(nil); errors.As(err, &conflict) {
		return map[string]string{
			"expected_version": strconv.FormatUint(conflict.Expected, 10), "version": strconv.FormatUint(conflict.Version, 10),
		}
	}
	if trimmed := (*tidemark.ChangesTrimmedError)(nil); errors.As(err, &trimmed) {
		return map[string]string{"first_position": trimmed.First.String()}
	}
	if elsewhere := (*notLeaderError)(nil); errors.As(err, &elsewhere) && elsewhere.leader.ID != "" {
		return map[string]string{"leader_id": elsewhere.leader.ID, "leader_address": elsewhere.leader.ClientAddress}
	}
	return nil
}

// notLeaderError says who leads instead. It is ErrNotLeader.
type notLeaderError struct{ leader raftnode.Leader }

func (e *notLeaderError) Error() string {
	if e.leader.ID == "" {
		return tidemark.ErrNotLeader.Error()
	}
	return tidemark.ErrNotLeader.Error() + "; " + e.leader.ID + " at " + e.leader.ClientAddress + " is"
}
func (e *notLeaderError) Unwrap() error { return tidemark.ErrNotLeader }

// hasReason says that a status was made by toStatus, here or on another node, and
// not by the machinery in between.
func hasReason(s *status.Status) bool {
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return true
		}
	}
	return false
}
