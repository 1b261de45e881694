// Package planted holds the names of bugs that a server can be built with on
// purpose, to see that the harness finds them:
//
//	go build -tags plantedbugs -o tidemark ./cmd/tidemark
//	TIDEMARK_PLANTED_BUG=early-ack ./tidemark serve …
//
// Without the tag, Is is false for good, so that the compiler leaves out what
// depends on it: an ordinary build has neither the variable nor the bugs. A test
// looks for them in the program.
//
// It imports nothing of the project, and may be imported by every floor.
package planted

// Bug is one of the bugs, by the name that the variable has.
type Bug string

// The bugs. What each does is told where it is planted.
const (
	// EarlyAck acknowledges entries of the log before they are fsynced (logstore).
	EarlyAck Bug = "early-ack"
	// NoReadIndex serves linearizable reads from what the node has applied (raftnode).
	NoReadIndex Bug = "no-read-index"
	// NoDedupe does not look message ids up (fsm).
	NoDedupe Bug = "no-dedupe"
	// HeartbeatFastPath handles heartbeats beside Raft's main loop (peer).
	HeartbeatFastPath Bug = "heartbeat-fast-path"
	// CursorRegress lets cursors go back (fsm).
	CursorRegress Bug = "cursor-regress"
	// TimeRegress takes server times from the leader's clock as it is (fsm).
	TimeRegress Bug = "time-regress"
	// AppliedOutsideBatch writes the applied index apart from the data (pebblestore).
	AppliedOutsideBatch Bug = "applied-outside-batch"
	// RestoreWithoutRename copies a received snapshot over the state (pebblestore).
	RestoreWithoutRename Bug = "restore-without-rename"
	// UnverifiedLog reads entries of the log without looking at their checksums (logstore).
	UnverifiedLog Bug = "unverified-log"
	// RefusedInFlight tells what was in flight when leadership was handed over as not
	// applied, although it is (raftnode).
	RefusedInFlight Bug = "refused-in-flight"
	// ClockLease lets a leader answer linearizable reads for a time by its own clock (raftnode).
	ClockLease Bug = "clock-lease"
	// FreshOnArrival counts the age of a node's data from when it heard, not from when it asked (raftnode).
	FreshOnArrival Bug = "fresh-on-arrival"
	// SnapshotWithoutCursors installs a received snapshot without its cursors (pebblestore).
	SnapshotWithoutCursors Bug = "snapshot-without-cursors"
	// UngatedChange applies appends otherwise than the version before did (fsm).
	UngatedChange Bug = "ungated-change"
	// UnreadByDevice counts what the user's other devices have sent as unread (pebblestore).
	UnreadByDevice Bug = "unread-by-device"
	// FanOutInTwo delivers to half of the inboxes with the next entry only, and forgets
	// that when the process ends (fsm).
	FanOutInTwo Bug = "fan-out-in-two"
	// TrimOneTooFar trims one message more than the policy lets go (rpc).
	TrimOneTooFar Bug = "trim-one-too-far"
	// TailSkip leaves a message out when a tail goes on behind another one (rpc).
	TailSkip Bug = "tail-skip"
	// ChangesSkip leaves the rest of an entry out when a change feed goes on amid it (pebblestore).
	ChangesSkip Bug = "changes-skip"
	// UnreadRedacted counts redacted messages as unread (pebblestore).
	UnreadRedacted Bug = "unread-redacted"
)

// All are the bugs, in a fixed order.
func All() []Bug {
	return []Bug{
		EarlyAck, NoReadIndex, NoDedupe, HeartbeatFastPath, CursorRegress, TimeRegress, AppliedOutsideBatch, RestoreWithoutRename,
		UnverifiedLog, RefusedInFlight, ClockLease, FreshOnArrival, SnapshotWithoutCursors, UngatedChange, UnreadByDevice, FanOutInTwo, TrimOneTooFar, TailSkip, ChangesSkip, UnreadRedacted,
	}
}

// Tag is the build tag that bugs need, and Variable the environment variable that
// chooses one when the process starts. With none chosen the server is as it should be.
const (
	Tag      = "plantedbugs"
	Variable = "TIDEMARK_PLANTED_BUG"
)
