package raftnode

import (
	"sync/atomic"
	"time"
)

// clockLeaseTime is longer than the others wait before they elect another leader.
const clockLeaseTime = 12 * time.Second

// clockLease is a planted bug: a leader that was confirmed once believes for a time, by
// its own clock, that it leads, unless it hears of a newer term.
type clockLease struct {
	last atomic.Pointer[clockLeaseTaken]
}

type clockLeaseTaken struct {
	at   time.Time
	term uint64
}

func (l *clockLease) take(at time.Time, term uint64) { l.last.Store(&clockLeaseTaken{at, term}) }

func (l *clockLease) held(term uint64) bool {
	taken := l.last.Load()
	return taken != nil && taken.term == term && time.Since(taken.at) < clockLeaseTime
}
