package fsm

import (
	"fmt"

	"tidemark"
	"tidemark/internal/planted"
)

// verdict is what an append will do, found without writing anything.
type verdict struct {
	content tidemark.ContentHash
	// duplicate is the SeqID that already holds the message, or 0 for a new one.
	duplicate tidemark.SeqID
	// err is the business error that the append fails with.
	err error
}

// append applies one Append.
func (t *transition) append(a *Append) (AppendResult, error) {
	if err := checkAppend(a, whole); err != nil {
		return AppendResult{Err: err}, nil
	}
	head, exists, err := t.batch.Head(a.Draft.Timeline)
	if err != nil {
		return AppendResult{}, err
	}
	verdict, err := t.judge(a, &head, exists, nil)
	if err != nil {
		return AppendResult{}, err
	}
	if verdict.err != nil {
		return AppendResult{Err: verdict.err}, nil
	}
	return t.execute(a, &head, exists, &verdict)
}

// judge decides about one append whose draft is valid. before are messages that
// are not in the store yet but would be. A retry is recognized before the expected
// SeqID is looked at: a conditional append that was applied has moved the last
// SeqID itself, and its retry must get its first result.
func (t *transition) judge(a *Append, head *tidemark.Head, exists bool, before added) (v verdict, err error) {
	v.content = a.Draft.Hash(tidemark.HashPayload(a.Draft.Payload))
	known, found := before[a.Draft.ID]
	if !found && exists && !planted.Is(planted.NoDedupe) {
		if known, found, err = t.batch.Lookup(head.Number, a.Draft.ID); err != nil {
			return v, err
		}
	}
	switch {
	case found && known.Matches(v.content):
		v.duplicate = known.SeqID
	case found:
		v.err = tidemark.ErrMessageIDConflict
	case a.Expected != nil && *a.Expected != head.Last:
		v.err = &tidemark.SequenceConflictError{Expected: *a.Expected, Last: head.Last, First: head.First}
	}
	return v, nil
}

// execute does what judge decided. head is that of the draft's timeline, and is
// only meaningful if the timeline exists.
func (t *transition) execute(a *Append, head *tidemark.Head, exists bool, v *verdict) (AppendResult, error) {
	d := &a.Draft
	if v.duplicate != 0 {
		return t.repeat(head.Number, v.duplicate)
	}
	if !exists {
		*head = t.batch.CreateTimeline(d.Timeline, t.time)
	}
	message := tidemark.Message{Draft: *d, SeqID: head.Last + 1, ServerTime: max(t.time, head.LastTime)}
	if planted.Is(planted.TimeRegress) {
		message.ServerTime = t.time
	}
	if planted.Is(planted.UngatedChange) {
		// No more precise than a microsecond: on its own a harmless change.
		message.ServerTime = max(t.time-t.time%1000, head.LastTime)
	}
	message.Digest = tidemark.NextDigest(head.Digest, message.SeqID, message.ServerTime, d.ID, v.content)
	t.batch.PutMessage(head.Number, &message, v.content)
	head.Last = message.SeqID
	head.Bytes += uint64(d.Size())
	head.LastTime = message.ServerTime
	head.Digest = message.Digest
	t.batch.PutHead(*head)
	result := AppendResult{SeqID: message.SeqID, ServerTime: message.ServerTime, Digest: message.Digest}
	if a.FanOut.None() && !a.AdvanceSender {
		return result, nil
	}
	var err error
	if result.Inboxes, result.RecipientsVersion, err = t.deliver(&a.FanOut, &message, head.Number); err == nil && a.AdvanceSender {
		err = t.advance(head, &message)
	}
	return result, err
}

// checkAppend reports the first broken rule. item is where the append stands in its command.
func checkAppend(a *Append, item place) error {
	if err := checkDraft(&a.Draft, item); err != nil {
		return err
	}
	return checkFanOut(a, item)
}

// repeat gives the first result again to a retry.
func (t *transition) repeat(number uint64, seq tidemark.SeqID) (AppendResult, error) {
	message, err := t.batch.Message(number, seq)
	if err != nil {
		return AppendResult{}, fmt.Errorf("read the first append of a retry: %w", err)
	}
	return AppendResult{SeqID: seq, ServerTime: message.ServerTime, Digest: message.Digest, Duplicate: true}, nil
}
