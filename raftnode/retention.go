package raftnode

import (
	"sync"
	"time"
)

// retention decides how much of the applied log is kept for followers that were
// away: the entries of the last keepTime, as long as they have no more than
// keepBytes, and always what a follower needs that is receiving a snapshot now.
// Raft's own TrailingLogs counts entries, of which one can have ten bytes or half
// a mebibyte; so Raft asks to delete nearly everything, and the log store deletes
// no further than deletable.
//
// Ages and sizes are learned while entries are applied. After a restart all that
// the log holds counts as new and as empty, so a restart can keep up to twice as much.
type retention struct {
	keepTime  time.Duration
	keepBytes uint64
	now       func() time.Time

	mu sync.Mutex
	// marks are in order of index and time. Each says how many bytes the log had
	// got since the start when its index was applied.
	marks []logMark
	bytes uint64
	holds map[*hold]struct{}
}

// logMark says that the entry at index was applied at a time, and that the
// entries up to it had so many bytes.
type logMark struct {
	index uint64
	at    time.Time
	bytes uint64
}

// hold keeps the log after index for the receiver of a snapshot.
type hold struct {
	index uint64
	// until is when the hold ends by itself, unless it is prolonged.
	until time.Time
}

const (
	// entryOverhead stands for what a log store adds to the data of an entry.
	entryOverhead = 64
	// marksPerBound is how finely keepTime and keepBytes are divided.
	marksPerBound = 256
	// holdTime is how long the log is kept for a receiver that stopped reading its
	// snapshot: time to install it and to ask for the entries behind it, and the
	// most that one that died can cost.
	holdTime = time.Minute
)

func newRetention(keepTime time.Duration, keepBytes uint64) *retention {
	return &retention{keepTime: keepTime, keepBytes: keepBytes, now: time.Now, holds: map[*hold]struct{}{}}
}

// restart forgets everything: the log begins, or began, at the entry after index.
func (r *retention) restart(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes = 0
	r.marks = []logMark{{index: index, at: r.now()}}
}

// observe records that entries of so many bytes were applied, the last one at index.
func (r *retention) observe(index uint64, entryBytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.bytes += uint64(entryBytes) + entryOverhead
	if n := len(r.marks); n > 0 {
		last := r.marks[n-1]
		if now.Sub(last.at) < r.keepTime/marksPerBound && r.bytes-last.bytes < r.keepBytes/marksPerBound {
			return
		}
	}
	r.marks = append(r.marks, logMark{index: index, at: now, bytes: r.bytes})
	r.forget(now)
}

// forget drops the marks that say nothing any more: all before the newest one
// that is too old or too far back.
func (r *retention) forget(now time.Time) {
	i := 0
	for i+1 < len(r.marks) && r.expired(r.marks[i+1], now) {
		i++
	}
	if i > 0 {
		r.marks = append(r.marks[:0], r.marks[i:]...)
	}
}

func (r *retention) expired(m logMark, now time.Time) bool {
	return now.Sub(m.at) > r.keepTime || r.bytes-m.bytes > r.keepBytes
}

// deletable returns the last index, at most durable, that need not be kept.
func (r *retention) deletable(durable uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.forget(now)
	index := uint64(0)
	if len(r.marks) > 0 && r.expired(r.marks[0], now) {
		index = min(r.marks[0].index, durable)
	}
	for h := range r.holds {
		if now.After(h.until) {
			delete(r.holds, h)
			continue
		}
		index = min(index, h.index)
	}
	return index
}

// hold keeps the entries after index until holdTime after the last prolong.
func (r *retention) hold(index uint64) *hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &hold{index: index, until: r.now().Add(holdTime)}
	r.holds[h] = struct{}{}
	return h
}

func (r *retention) prolong(h *hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.until = r.now().Add(holdTime)
	r.holds[h] = struct{}{}
}
