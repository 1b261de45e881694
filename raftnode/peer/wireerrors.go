package peer

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
)

// errorDomain marks the reasons as those of this service.
const errorDomain = "peer.tidemark"

// wireErrors are the errors that keep their identity from one node to the other.
var wireErrors = []struct {
	err    error
	reason string
	code   codes.Code
}{
	{tidemark.ErrNotLeader, "NOT_LEADER", codes.FailedPrecondition},
	{tidemark.ErrNoLeader, "NO_LEADER", codes.Unavailable},
	{tidemark.ErrOverloaded, "OVERLOADED", codes.ResourceExhausted},
	{tidemark.ErrStopping, "STOPPING", codes.Unavailable},
	{tidemark.ErrNotCaughtUp, "NOT_CAUGHT_UP", codes.FailedPrecondition},
}

func toStatus(err error) error {
	for _, w := range wireErrors {
		if !errors.Is(err, w.err) {
			continue
		}
		st, detailErr := status.New(w.code, err.Error()).WithDetails(&errdetails.ErrorInfo{Reason: w.reason, Domain: errorDomain})
		if detailErr != nil {
			return status.Error(w.code, err.Error())
		}
		return st.Err()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	}
	return status.Error(codes.Unknown, err.Error())
}

// fromStatus makes what a peer answered an error that says who answered, and that
// is one of wireErrors or a context's error where it was one.
func fromStatus(id string, err error) error {
	st := status.Convert(err)
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != errorDomain {
			continue
		}
		for _, w := range wireErrors {
			if w.reason == info.GetReason() {
				return &remoteError{id, st.Message(), w.err}
			}
		}
	}
	switch st.Code() {
	case codes.DeadlineExceeded:
		return &remoteError{id, st.Message(), context.DeadlineExceeded}
	case codes.Canceled:
		return &remoteError{id, st.Message(), context.Canceled}
	}
	return &remoteError{id, st.Message(), nil}
}

// remoteError is an error in another node's words.
type remoteError struct {
	id, message string
	// kind is what errors.Is finds, or nil.
	kind error
}

func (e *remoteError) Error() string { return fmt.Sprintf("node %q: %s", e.id, e.message) }
func (e *remoteError) Unwrap() error { return e.kind }
