package tidemark

import (
	"errors"
	"fmt"
)

// Errors by what the caller then knows. Upper floors wrap these; none declares
// its own for the same thing. The file rpc/errors.go maps each to a status.

// Never will be: nothing was changed, and the same call will fail again.
var (
	// ErrInvalid is returned when a request breaks a rule; see InvalidError.
	ErrInvalid = errors.New("invalid argument")
	// ErrMessageIDConflict is returned when the timeline holds other content under the message id.
	ErrMessageIDConflict = errors.New("message id is taken by other content")
	// ErrSequenceConflict is returned when expected_last_seq_id is not the last SeqID; see SequenceConflictError.
	ErrSequenceConflict = errors.New("last sequence id is not the expected one")
	// ErrRecipientsConflict is returned when the recipient set has another version than expected_version; see VersionConflictError.
	ErrRecipientsConflict = errors.New("recipient set has another version than the expected one")
	// ErrBatchAborted is returned for the valid items of an atomic batch of which another item failed.
	ErrBatchAborted = errors.New("another item of the atomic batch failed")
	// ErrTimelineNotFound is returned when nothing was ever appended to the timeline.
	ErrTimelineNotFound = errors.New("timeline does not exist")
	// ErrMessageNotFound is returned when the timeline does not hold the message.
	ErrMessageNotFound = errors.New("message does not exist")
	// ErrRevisionConflict is returned when a message has another revision than expected_revision; see RevisionConflictError.
	ErrRevisionConflict = errors.New("message has another revision than the expected one")
	// ErrRedacted is returned when a message that was redacted is to be revised: a redaction is final.
	ErrRedacted = errors.New("message is redacted")
	// ErrPlacePassed is returned when a replica is to pin its state at a place of the log that it
	// has passed, or has given up what it pinned there.
	ErrPlacePassed = errors.New("the place of the log was passed, or the state that was pinned there was given up")
	// ErrChangesTrimmed is returned when the change feed does not go back to the position; see ChangesTrimmedError.
	ErrChangesTrimmed = errors.New("changes after the position are not retained any more")
	// ErrMemberExists is returned when a member with the id is in the cluster already.
	ErrMemberExists = errors.New("member exists already")
	// ErrMemberNotFound is returned when no member has the id.
	ErrMemberNotFound = errors.New("member does not exist")
	// ErrMemberNotReady is returned when a member cannot be promoted because it lags behind.
	ErrMemberNotReady = errors.New("member has not caught up")
	// ErrMembershipUnsafe is returned when a change would leave the cluster without a quorum.
	ErrMembershipUnsafe = errors.New("membership change would endanger the quorum")
)

// Not applied: nothing was changed, and the same call may succeed later or elsewhere.
var (
	// ErrNotLeader is returned when this node does not lead.
	ErrNotLeader = errors.New("node is not the leader")
	// ErrNoLeader is returned when the cluster has no leader that this node knows of.
	ErrNoLeader = errors.New("cluster has no leader")
	// ErrOverloaded is returned when too many bytes or calls are in flight.
	ErrOverloaded = errors.New("node is overloaded")
	// ErrStopping is returned when the node shuts down.
	ErrStopping = errors.New("node is stopping")
	// ErrStale is returned when a local read would be older than the bound that it asked for.
	ErrStale = errors.New("node's data is older than the bound")
	// ErrUpgradeIncomplete is returned for what not all members of the cluster are known to understand.
	ErrUpgradeIncomplete = errors.New("not all members run a version that can do this")
	// ErrNotCaughtUp is returned when a node did not apply a position before the deadline.
	ErrNotCaughtUp = errors.New("node has not applied the position yet")
)

// ErrOutcomeUnknown is returned when a write may or may not be applied, now or
// later. A retry with the same message id tells.
var ErrOutcomeUnknown = errors.New("outcome is unknown")

// Broken: the node must not go on with the data that it has.
var (
	// ErrCorrupt is returned when stored bytes are not what was written.
	ErrCorrupt = errors.New("data is corrupt")
	// ErrNewerFormat is returned when data was written by a newer version of Tidemark.
	ErrNewerFormat = errors.New("data has a newer format")
	// ErrForeignData is returned when a data directory belongs to another node.
	ErrForeignData = errors.New("data belongs to another node")
	// ErrDiskFull is returned when there is no room left to write.
	ErrDiskFull = errors.New("disk is full")
)

// InvalidError says which field of a request breaks which rule. It is ErrInvalid.
type InvalidError struct {
	// Field is the name in the API, such as payload or items[3].message_id.
	Field string
	// Rule says what is wrong and what the limit is.
	Rule string
}

// Invalid returns an *InvalidError for the field.
func Invalid(field, rule string, args ...any) error {
	return &InvalidError{Field: field, Rule: fmt.Sprintf(rule, args...)}
}

func (e *InvalidError) Error() string        { return e.Field + " " + e.Rule }
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// SequenceConflictError says what the last SeqID is, and the first that is retained. It is
// ErrSequenceConflict.
type SequenceConflictError struct{ Expected, Last, First SeqID }

func (e *SequenceConflictError) Error() string {
	return fmt.Sprintf("expected_last_seq_id is %d, but the last sequence id is %d", e.Expected, e.Last)
}
func (e *SequenceConflictError) Is(target error) bool { return target == ErrSequenceConflict }

// RevisionConflictError says what the revision of a message is; 0 is one that was never
// revised. It is ErrRevisionConflict.
type RevisionConflictError struct{ Expected, Revision uint64 }

func (e *RevisionConflictError) Error() string {
	return fmt.Sprintf("%s: expected %d, it is %d", ErrRevisionConflict, e.Expected, e.Revision)
}

// Is makes it ErrRevisionConflict.
func (e *RevisionConflictError) Is(target error) bool { return target == ErrRevisionConflict }

// VersionConflictError says what the version of a recipient set is. It is ErrRecipientsConflict.
type VersionConflictError struct{ Expected, Version uint64 }

func (e *VersionConflictError) Error() string {
	return fmt.Sprintf("expected_version is %d, but the version is %d", e.Expected, e.Version)
}
func (e *VersionConflictError) Is(target error) bool { return target == ErrRecipientsConflict }
