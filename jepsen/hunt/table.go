//go:build linux

package hunt

import (
	"strings"
	"time"

	"tidemark/internal/planted"
	"tidemark/jepsen/run"
)

// Search says by which run a bug is found.
type Search struct {
	// Bug is planted in all nodes; in the control there is none, and the run passes.
	Bug planted.Bug
	// Mix names nemeses and mixes of them.
	Mix []string
	// Checkers are those that are there for this bug. One of them must find it.
	Checkers []string
	// Duration is how long the nemeses work.
	Duration time.Duration
	// Adjust changes further options; nil leaves them.
	Adjust func(*run.Options)
}

// Name tells the search from others.
func (s Search) Name() string {
	bug := s.Bug
	if bug == "" {
		bug = "control"
	}
	return string(bug) + "-by-" + strings.Join(s.Mix, "-")
}

// lost are the checkers for acknowledged messages that are gone, or that one node does
// not have.
var lost = []string{"lost-append", "vanished-message", "seq-mismatch", "replica-divergence"}

// Searches are all searches in the order in which they are made: the control, each
// bug by the nemesis that finds it best, and then bugs by other nemeses.
func Searches() []Search {
	return []Search{
		{Bug: "", Mix: []string{"kill", "partition"}, Duration: 12 * time.Second},

		{Bug: planted.EarlyAck, Mix: []string{"part-kill"}, Checkers: lost, Duration: 18 * time.Second},
		{Bug: planted.NoReadIndex, Mix: []string{"none"}, Checkers: []string{"stale-read"}, Duration: 4 * time.Second},
		{Bug: planted.NoDedupe, Mix: []string{"none"}, Checkers: []string{"duplicate-message"}, Duration: 4 * time.Second},
		{Bug: planted.HeartbeatFastPath, Mix: []string{"usurp"}, Checkers: []string{logMismatch}, Duration: 20 * time.Second, Adjust: keepLogs},
		{Bug: planted.CursorRegress, Mix: []string{"none"}, Checkers: []string{"cursor-regress"}, Duration: 4 * time.Second},
		{Bug: planted.TimeRegress, Mix: []string{"clock"}, Checkers: []string{"digest-chain"}, Duration: 12 * time.Second, Adjust: hasty},
		{Bug: planted.AppliedOutsideBatch, Mix: []string{"power"}, Checkers: lost, Duration: 12 * time.Second, Adjust: hasty},
		{Bug: planted.RestoreWithoutRename, Mix: []string{"install"}, Checkers: append([]string{"session-violation", "stale-read", "gap", "page-contiguity"}, lost...), Duration: 30 * time.Second, Adjust: hasty},
		{Bug: planted.UnverifiedLog, Mix: []string{"log-corrupt"}, Checkers: []string{logMismatch}, Duration: 25 * time.Second, Adjust: keepLogs},
		{Bug: planted.RefusedInFlight, Mix: []string{"transfer"}, Checkers: []string{"failed-append-visible"}, Duration: 15 * time.Second, Adjust: hasty},
		{Bug: planted.ClockLease, Mix: []string{"cut-leader"}, Checkers: []string{"stale-read"}, Duration: 15 * time.Second},
		{Bug: planted.FreshOnArrival, Mix: []string{"slow"}, Checkers: []string{"staleness-bound"}, Duration: 15 * time.Second, Adjust: hasty},
		{Bug: planted.SnapshotWithoutCursors, Mix: []string{"replace"}, Checkers: []string{"cursor-regress", "replica-divergence"}, Duration: 15 * time.Second, Adjust: hasty},
		{Bug: planted.UngatedChange, Mix: []string{"rolling-upgrade"}, Checkers: []string{"seq-mismatch", "replica-divergence", "digest-chain"}, Duration: 20 * time.Second, Adjust: hasty},
		{Bug: planted.UnreadByDevice, Mix: []string{"none"}, Checkers: []string{"unread-count"}, Duration: 4 * time.Second},
		{Bug: planted.FanOutInTwo, Mix: []string{"kill"}, Checkers: []string{"fan-out"}, Duration: 12 * time.Second, Adjust: hasty},
		{Bug: planted.TrimOneTooFar, Mix: []string{"none"}, Checkers: []string{"retention"}, Duration: 8 * time.Second},
		{Bug: planted.ChangesSkip, Mix: []string{"none"}, Checkers: []string{"change-feed"}, Duration: 8 * time.Second},
		{Bug: planted.UnreadRedacted, Mix: []string{"none"}, Checkers: []string{"unread-count"}, Duration: 8 * time.Second},
		{Bug: planted.TailSkip, Mix: []string{"kill"}, Checkers: []string{"tail-continuity"}, Duration: 12 * time.Second, Adjust: hasty},

		{Bug: planted.EarlyAck, Mix: []string{"pause-kill"}, Checkers: lost, Duration: 18 * time.Second},
		{Bug: planted.EarlyAck, Mix: []string{"power-all"}, Checkers: lost, Duration: 12 * time.Second, Adjust: hasty},
		{Bug: planted.AppliedOutsideBatch, Mix: []string{"kill"}, Checkers: lost, Duration: 12 * time.Second, Adjust: hasty},
		{Bug: planted.AppliedOutsideBatch, Mix: []string{"disk-failing"}, Checkers: lost, Duration: 15 * time.Second, Adjust: hasty},
		{Bug: planted.RefusedInFlight, Mix: []string{"rolling-restart"}, Checkers: []string{"failed-append-visible"}, Duration: 20 * time.Second, Adjust: hasty},
		{Bug: planted.ClockLease, Mix: []string{"one-way"}, Checkers: []string{"stale-read"}, Duration: 20 * time.Second},
		{Bug: planted.ClockLease, Mix: []string{"pause-leader"}, Checkers: []string{"stale-read"}, Duration: 20 * time.Second},
		{Bug: planted.FreshOnArrival, Mix: []string{"lossy"}, Checkers: []string{"staleness-bound"}, Duration: 15 * time.Second, Adjust: hasty},
		{Bug: planted.SnapshotWithoutCursors, Mix: []string{"remove"}, Checkers: []string{"cursor-regress", "replica-divergence"}, Duration: 15 * time.Second, Adjust: hasty},
		{Bug: planted.SnapshotWithoutCursors, Mix: []string{"grow-shrink"}, Checkers: []string{"cursor-regress", "replica-divergence"}, Duration: 15 * time.Second, Adjust: hasty},
	}
}

// hasty lets faults follow each other quickly.
func hasty(o *run.Options) { o.Calm, o.Hold = time.Second, 1500*time.Millisecond }

// keepLogs has nodes keep their whole logs, in which to look.
func keepLogs(o *run.Options) {
	hasty(o)
	o.Args = []string{"--trailing-time=1h"}
}
