package fsm

import (
	"fmt"
	"slices"

	"tidemark"
	"tidemark/internal/planted"
	"tidemark/pebblestore"
)

// maxBatchBytes bounds the entries of one store batch by the size of their data. A
// store batch is held in memory and inserted at one go. An entry is never split.
const maxBatchBytes = 8 << 20

// ApplyBatch applies committed entries, which must be in the order of the log, and
// returns when their effect is visible. It does not wait for the disk.
//
// The result has one element for each entry: nil for one that holds members, or
// that was applied before, else one result for each command. Indexes may have
// gaps, where Raft keeps entries of its own.
//
// An entry that cannot be applied ends the process by Options.Fatal; the entries
// before it may or may not be applied then, and it and those after it are not.
func (m *Machine) ApplyBatch(entries []tidemark.Entry) [][]any {
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.stopped != nil {
		m.stop(m.stopped)
	}
	results := make([][]any, len(entries))
	run := run{machine: m}
	defer run.discard()
	for i := range entries {
		e := &entries[i]
		if i > 0 && e.Index <= entries[i-1].Index {
			m.stop(cannotApply(e, "", fmt.Errorf("%w: entry %d was handed over before it", errFault, entries[i-1].Index)))
		}
		if m.store.PinDue(e.Index) {
			run.commit()
			m.store.TakePin()
		}
		if !run.open {
			run.begin()
		}
		if e.Index <= run.applied.Index {
			continue
		}
		results[i] = run.apply(e)
		if run.bytes >= m.batchBytes {
			run.commit()
		}
	}
	run.commit()
	return results
}

// run is one store batch over consecutive entries.
type run struct {
	machine *Machine
	batch   *pebblestore.Batch
	open    bool
	// applied is what the batch leaves when it is committed.
	applied tidemark.Applied
	// entries and bytes count what is in the batch.
	entries, bytes int
}

// transition is the application of one entry: what its commands have in common.
type transition struct {
	batch *pebblestore.Batch
	// time is the leader's clock when it proposed the entry, and index its place in the log.
	time  tidemark.Time
	index uint64
	// members are those of the cluster at the entry, as tidemark.Applied has them.
	members []byte
	// delivered counts the references that were put into inboxes.
	delivered int
	late      *lateDeliveries
}

// deliveredBytes is what one reference counts against maxBatchBytes: about what it and
// the head of its inbox take in a store batch.
const deliveredBytes = 256

func (r *run) begin() {
	r.batch, r.open = r.machine.store.NewBatch(), true
	r.applied = r.machine.store.Applied()
	r.entries, r.bytes = 0, 0
}

// discard drops what was not committed. It is for a Fatal that unwinds the stack.
func (r *run) discard() {
	if r.open {
		r.batch.Discard()
	}
}

func (r *run) commit() {
	if !r.open {
		return
	}
	r.open = false
	if r.entries == 0 {
		r.batch.Discard()
		return
	}
	r.batch.SetApplied(r.applied)
	if err := r.batch.Commit(); err != nil {
		r.batch.Discard()
		last := tidemark.Entry{Index: r.applied.Index, Term: r.applied.Term}
		r.machine.stop(cannotApply(&last, fmt.Sprintf("commit of %d entries up to it", r.entries), err))
	}
	r.machine.waiters.publish(r.applied.Index)
	r.machine.changed(r.batch.Timelines())
}

// apply applies one entry to the batch.
func (r *run) apply(e *tidemark.Entry) []any {
	if e.Term < r.applied.Term {
		r.machine.stop(cannotApply(e, "", fmt.Errorf("%w: its term is less than %d, that of the entry %d before it", tidemark.ErrCorrupt, r.applied.Term, r.applied.Index)))
	}
	var results []any
	switch e.Kind {
	case tidemark.EntryCommands:
		results = r.applyCommands(e)
	case tidemark.EntryMembership:
		r.applied.Membership, r.applied.MembershipIndex = slices.Clone(e.Data), e.Index
	default:
		r.machine.stop(cannotApply(e, "", fmt.Errorf("%w: it has the unknown kind %d", tidemark.ErrNewerFormat, e.Kind)))
	}
	r.applied.Index, r.applied.Term = e.Index, e.Term
	r.entries++
	r.bytes += len(e.Data)
	return results
}

func (r *run) applyCommands(e *tidemark.Entry) []any {
	scratch := &r.machine.scratch
	decoded, err := decodeEntry(e.Data, scratch.commands)
	if err != nil {
		r.machine.stop(cannotApply(e, "", err))
	}
	scratch.commands = decoded.commands
	results := make([]any, len(decoded.commands))
	t := transition{batch: r.batch, time: decoded.leaderTime, index: e.Index, members: r.applied.Membership, late: &r.machine.late}
	if planted.Is(planted.FanOutInTwo) {
		if err := t.deliverLate(); err != nil {
			r.machine.stop(cannotApply(e, "", err))
		}
	}
	for i, data := range decoded.commands {
		err := decodeCommand(data, &scratch.command)
		if err == nil {
			results[i], err = t.apply(&scratch.command)
		}
		if err != nil {
			r.machine.stop(cannotApply(e, fmt.Sprintf("command %d of %d", i+1, len(decoded.commands)), err))
		}
	}
	r.batch.EndEntry(e.Index, t.time, r.batch.Level() >= changesLevel)
	r.bytes += t.delivered * deliveredBytes
	return results
}

// apply returns the command's result, or the error of the store.
func (t *transition) apply(c *command) (any, error) {
	switch c.kind {
	case kindAppend:
		return boxed(t.append(&c.append))
	case kindAppendBatch:
		return boxed(t.appendBatch(&c.batch))
	case kindAck:
		return boxed(t.ack(&c.ack))
	case kindNoop:
		return NoopResult{}, nil
	case kindRaiseLevel:
		return boxed(t.raiseLevel(&c.raise))
	case kindSetRecipients:
		return boxed(t.setRecipients(&c.set))
	case kindTrim:
		return boxed(t.trim(&c.trim))
	case kindDelete:
		return boxed(t.deleteTimeline(&c.delete))
	case kindUpdate:
		return boxed(t.updateTimeline(&c.update))
	case kindSetPolicy:
		return boxed(t.setPolicy(&c.policy))
	case kindImport:
		return boxed(t.importHistory(&c.imp))
	case kindRevise:
		return boxed(t.revise(&c.revise))
	case kindTrimChanges:
		return boxed(t.trimChanges(&c.forget))
	default:
		return nil, fmt.Errorf("%w: command has the unknown kind %d", tidemark.ErrNewerFormat, c.kind)
	}
}

// raiseLevel applies one RaiseLevel.
func (t *transition) raiseLevel(c *RaiseLevel) (RaiseLevelResult, error) {
	if c.Level > Level {
		return RaiseLevelResult{}, fmt.Errorf("%w: the cluster is raised to feature level %d; this build knows %d", tidemark.ErrNewerFormat, c.Level, Level)
	}
	if before := t.batch.Level(); c.Level > before {
		t.batch.SetLevel(c.Level)
		if before < changesLevel && c.Level >= changesLevel {
			if err := t.batch.StartFeed(t.feedID(), t.index); err != nil {
				return RaiseLevelResult{}, err
			}
		}
	}
	return RaiseLevelResult{t.batch.Level()}, nil
}

func boxed[T any](result T, err error) (any, error) { return result, err }
