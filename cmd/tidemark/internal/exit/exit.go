// Package exit says with which status the process ends for an error, and what a
// person can do about it.
package exit

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"tidemark"
	"tidemark/raftnode/logstore"
)

// Exit statuses. Scripts and supervisors may rely on them; docs/operating.md lists them.
const (
	// OK is for success alone.
	OK = 0
	// Failed is for a call that failed, or a node that could not start.
	Failed = 1
	// Usage is for wrong flags, arguments or configuration: nothing was done.
	Usage = 2
	// Broken is for data that a node must not go on with: damaged, of a newer
	// format or of another node, or a disk that failed. To start again does not help.
	Broken = 3
	// DiskFull is for a disk that has no room left. A node that is started again
	// waits for room.
	DiskFull = 4
	// Interrupted is for a second signal, which waits for nothing.
	Interrupted = 130
)

// UsageError is a mistake on the command line or in the configuration.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a *UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Status is the exit status of a process that ends with the error.
func Status(err error) int {
	_, usage := errors.AsType[*UsageError](err)
	switch {
	case err == nil:
		return OK
	case usage:
		return Usage
	case errors.Is(err, tidemark.ErrDiskFull), errors.Is(err, syscall.ENOSPC):
		return DiskFull
	case errors.Is(err, tidemark.ErrCorrupt), errors.Is(err, tidemark.ErrNewerFormat), errors.Is(err, tidemark.ErrForeignData),
		errors.Is(err, logstore.ErrOtherKind):
		return Broken
	}
	return Failed
}

// nextSteps are in the order in which they are looked for: the more specific
// errors stand before those that they may wrap.
var nextSteps = []struct {
	err  error
	next string
}{
	{tidemark.ErrOutcomeUnknown, "It may or may not have been done. An append can be repeated with the same --message-id: it is never done twice."},
	{tidemark.ErrDiskFull, "Make room; the node waits for it when it is started again."},
	{syscall.ENOSPC, "Make room, and try again; a node waits for room when it is started again."},
	{tidemark.ErrForeignData, "Start the node with its own --data-dir and --node-id. Nothing was changed."},
	{logstore.ErrOtherKind, "Start the node with the --log-store that its directory has. Nothing was changed."},
	{tidemark.ErrNewerFormat, "Run the version of tidemark that wrote it, or a newer one. Nothing was changed."},
	{tidemark.ErrCorrupt, "The other members hold the data: run `tidemark rebuild --data-dir DIR --endpoints HOST:PORT,…` for this node, then start it with --join HOST:PORT."},
	{tidemark.ErrChangesTrimmed, "Whoever had come so far has missed changes. To begin anew: note the position that `tidemark changes --now` ends with, read all timelines, then go on from it."},
	{tidemark.ErrMemberNotReady, "It is still catching up; try again when `tidemark member list` shows little lag."},
	{tidemark.ErrStale, "Allow more --max-staleness, or ask other nodes with --endpoints."},
	{tidemark.ErrNotCaughtUp, "The node lags behind; ask another one, or wait. `tidemark status` shows the lag."},
	{tidemark.ErrNoLeader, "A majority of the members must run and reach each other; `tidemark status` says what a node sees."},
	{tidemark.ErrOverloaded, "Try again later, or with fewer calls at once."},
	{syscall.EADDRINUSE, "Another process listens there: stop it, or choose another address."},
	{syscall.ECONNREFUSED, "Nothing listens there: start the nodes, or name others with --endpoints."},
	{context.DeadlineExceeded, "It took longer than --timeout allows. Do the nodes at --endpoints run?"},
}

// NextStep says what a person can do about the error; empty if the error says it.
func NextStep(err error) string {
	if _, usage := errors.AsType[*UsageError](err); usage {
		return "See `tidemark help`, or --help behind the command."
	}
	for _, step := range nextSteps {
		if errors.Is(err, step.err) {
			return step.next
		}
	}
	return ""
}
