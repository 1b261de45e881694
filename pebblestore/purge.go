package pebblestore

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"tidemark"
)

// A redaction overwrites a message's record, which in a log-structured store only hides the
// old one: it stays in an older table until a compaction happens to meet both. The purge
// compacts the records of redacted messages on purpose, so that what was taken away is gone
// from the tables soon.
//
// That there is something to purge survives a crash by an empty file beside the
// generations, which is there before the first redaction is committed and removed after the
// last was purged. Whoever finds it, or gets a snapshot, whose tables may hold old records,
// purges everything that the index of redactions names.

// purgeName is the file that says that there is something to purge.
const purgeName = "PURGE"

// maxPurgeRanges is how many records are compacted one by one. More are compacted together
// with all that is between them.
const maxPurgeRanges = 128

type purger struct {
	delay time.Duration
	wake  chan struct{} // of room for one
	stop  context.CancelFunc
	done  chan struct{}

	mu sync.Mutex
	// pending are redacted messages, and all says that they are not the only ones. committing
	// are those of a batch that is about to be committed: a purge may not meet them yet.
	pending    map[recordKey]bool
	committing map[recordKey]string
	all        bool
	marked     bool // the file is there
	// interrupt ends the purge that runs.
	interrupt context.CancelFunc
}

// startPurging starts the purge unless it is switched off.
func (s *Store) startPurging() error {
	p := &s.purger
	p.delay, p.pending, p.interrupt = s.options.PurgeDelay, make(map[recordKey]bool), func() {}
	if p.delay == 0 {
		return nil
	}
	_, err := s.fs.Stat(s.fs.PathJoin(s.dir, purgeName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.marked = err == nil
	p.wake, p.done = make(chan struct{}, 1), make(chan struct{})
	if p.marked {
		p.all = true
		p.wake <- struct{}{}
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go s.purgeUntil(ctx)
	return nil
}

// stopPurging waits for a purge to end, which it interrupts. What is left is purged after
// the next Open.
func (s *Store) stopPurging() {
	if s.purger.done == nil {
		return
	}
	s.purger.stop()
	<-s.purger.done
}

// willRedact is told of the redactions of a batch before they are committed.
func (s *Store) willRedact(redacted map[recordKey]string) error {
	p := &s.purger
	if len(redacted) == 0 || p.done == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := s.markPurge(); err != nil {
		return err
	}
	p.committing = redacted
	return nil
}

// purgeInstalled is told that the generation in force came from elsewhere.
func (s *Store) purgeInstalled() {
	p := &s.purger
	if p.done == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = true
	p.interrupt()
	if err := s.markPurge(); err != nil {
		// Then only a crash before the purge leaves old records for longer.
		s.log.Warn("could not note that the installed snapshot is to be purged", "error", err)
	}
	p.signal()
}

// markPurge makes the file. The caller holds mu.
func (s *Store) markPurge() error {
	if s.purger.marked {
		return nil
	}
	if err := writeFileSync(s.fs, s.fs.PathJoin(s.dir, purgeName), nil); err != nil {
		return wrapFull(err)
	}
	if err := syncDir(s.fs, s.dir); err != nil {
		return err
	}
	s.purger.marked = true
	return nil
}

// didRedact has the purge run some time after the batch of willRedact was committed.
func (s *Store) didRedact(redacted map[recordKey]string) {
	p := &s.purger
	if len(redacted) == 0 || p.done == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committing = nil
	for key := range redacted {
		if p.all = p.all || len(p.pending) >= maxPurgeRanges; p.all {
			break
		}
		p.pending[key] = true
	}
	p.signal()
}

func (p *purger) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// purgeUntil purges delay after the first of some redactions, so that many of them cost as
// much as one, and again after delay if it could not.
func (s *Store) purgeUntil(ctx context.Context) {
	defer close(s.purger.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.purger.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.purger.delay):
		}
		if err := s.purge(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("could not purge what was redacted, and will try again", "error", err)
			s.purger.signal()
		}
	}
}

// errPurgeHeldUp says that a view that is open keeps old records from going.
var errPurgeHeldUp = errors.New("a view of the store is open that holds what was redacted")

// purge has all redactions that were committed by now go from the tables.
func (s *Store) purge(ctx context.Context) (err error) {
	p := &s.purger
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	pending, all := p.pending, p.all
	p.pending, p.all, p.interrupt = make(map[recordKey]bool), false, cancel
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.all = true
			return
		}
		if len(p.pending)+len(p.committing) == 0 && !p.all && p.marked {
			err = errors.Join(s.fs.Remove(s.fs.PathJoin(s.dir, purgeName)), syncDir(s.fs, s.dir))
			p.marked = err != nil
		}
	}()
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	g.flushAll()
	if all {
		if pending, err = g.redactions(maxPurgeRanges + 1); err != nil {
			return err
		}
	}
	if len(pending) == 0 {
		return nil
	}
	for _, r := range purgeRanges(pending) {
		if err := g.db.Compact(ctx, r.from, r.to, false); err != nil {
			return wrapPebble(err)
		}
	}
	// Old records stay for a snapshot that was open meanwhile.
	if g.db.Metrics().Snapshots.Count > 0 {
		return errPurgeHeldUp
	}
	return nil
}

type purgeRange struct{ from, to []byte }

func purgeRanges(pending map[recordKey]bool) (ranges []purgeRange) {
	if len(pending) > maxPurgeRanges {
		return []purgeRange{{[]byte{tableMessage}, []byte{tableMessage + 1}}}
	}
	for at := range pending {
		ranges = append(ranges, purgeRange{appendMessageKey(nil, at.number, at.seq), appendMessageKey(nil, at.number, at.seq+1)})
	}
	return ranges
}

// redactions are up to limit redacted messages.
func (g *generation) redactions(limit int) (map[recordKey]bool, error) {
	found := make(map[recordKey]bool)
	iter, err := g.db.NewIter(nil)
	if err != nil {
		return nil, wrapPebble(err)
	}
	for ok := iter.SeekGE([]byte{tableRedacted}); ok && len(found) < limit; ok = iter.Next() {
		number, user, kind, at, valid := splitRedactedKey(iter.Key())
		if iter.Key()[0] != tableRedacted {
			break
		}
		if valid && user == everyone && kind == redactedMessages {
			found[recordKey{number, tidemark.SeqID(at)}] = true
		}
	}
	return found, wrapPebble(errors.Join(iter.Error(), iter.Close()))
}
