package fsm

import (
	"errors"

	"tidemark"
	"tidemark/pebblestore"
)

// revisionLevel is the feature level that has revisions, and so delivery lists.
const revisionLevel = 8

// revise applies one Revise. A retry is recognized before anything else is looked at: the
// revision that it made has changed the message's revision, and may have redacted it.
func (t *transition) revise(c *Revise) (ReviseResult, error) {
	if err := checkRevise(c); err != nil {
		return ReviseResult{Err: err}, nil
	}
	head, err := t.existing(c.Draft.Timeline)
	if head == nil {
		return ReviseResult{Err: err}, nil
	}
	if err != nil {
		return ReviseResult{}, err
	}
	request := tidemark.RevisionRequestHash(c.SeqID, c.Redact, &c.Draft)
	known, found, err := t.batch.Lookup(head.Number, c.Draft.ID)
	switch {
	case err != nil:
		return ReviseResult{}, err
	case found && known.Matches(request):
		return t.repeatRevision(head.Number, known.SeqID)
	case found:
		return ReviseResult{Err: tidemark.ErrMessageIDConflict}, nil
	}
	target, err := t.revisable(head, c)
	if business := (businessError{}); errors.As(err, &business) {
		return ReviseResult{Err: business.error}, nil
	}
	if err != nil {
		return ReviseResult{}, err
	}
	return t.execRevise(c, head, &target, request)
}

// revisable returns the message that is to be revised, or a businessError.
func (t *transition) revisable(head *tidemark.Head, c *Revise) (target tidemark.Message, err error) {
	if c.SeqID < head.First || c.SeqID > head.Last {
		return target, businessError{tidemark.ErrMessageNotFound}
	}
	reference, err := t.batch.IsReference(head.Number, c.SeqID)
	if err != nil {
		return target, err
	}
	if reference {
		return target, businessError{tidemark.Invalid("seq_id", "is an entry of an inbox: revise the message that it refers to")}
	}
	if target, err = t.batch.Message(head.Number, c.SeqID); err != nil {
		return target, err
	}
	target.Timeline = head.Timeline
	var revision uint64
	if target.Revision != nil {
		revision = target.Revision.Number
	}
	switch {
	case target.Revises != nil:
		return target, businessError{tidemark.Invalid("seq_id", "is a revision entry: revise message %d", target.Revises.SeqID)}
	case target.Revision != nil && target.Revision.Redacted:
		return target, businessError{tidemark.ErrRedacted}
	case c.Expected != nil && *c.Expected != revision:
		return target, businessError{&tidemark.RevisionConflictError{Expected: *c.Expected, Revision: revision}}
	}
	return target, nil
}

// execRevise does what is decided. The order matters: the entry names the content that the
// message gets, and the inboxes get references to the entry.
func (t *transition) execRevise(c *Revise, head *tidemark.Head, target *tidemark.Message, request tidemark.ContentHash) (ReviseResult, error) {
	revision := &tidemark.Revision{Number: 1, SeqID: head.Last + 1, Time: max(t.time, head.LastTime), Redacted: c.Redact}
	if before := target.Revision; before != nil {
		revision.Number, revision.Original = before.Number+1, before.Original
	} else {
		revision.Original = target.Hash(tidemark.HashPayload(target.Payload))
	}
	head.Bytes -= uint64(target.Size())
	target.Type, target.Attributes, target.Payload = c.Draft.Type, c.Draft.Attributes, c.Draft.Payload
	target.Revision = revision
	head.Bytes += uint64(target.Size())
	t.batch.ReplaceMessage(head.Number, target)

	entry := &tidemark.Message{
		Draft:      tidemark.Draft{Timeline: head.Timeline, ID: c.Draft.ID, Sender: c.Draft.Sender, ClientTime: tidemark.NoTime},
		SeqID:      revision.SeqID,
		ServerTime: revision.Time,
		Revises:    &tidemark.Revises{SeqID: target.SeqID, Number: revision.Number, Redacted: c.Redact},
	}
	if !c.Redact {
		entry.Revises.Content = target.Hash(tidemark.HashPayload(target.Payload))
	}
	entry.Digest = tidemark.NextRevisionDigest(head.Digest, entry)
	t.batch.PutMessage(head.Number, entry, request)
	head.Last, head.LastTime, head.Digest = entry.SeqID, entry.ServerTime, entry.Digest
	head.Bytes += uint64(entry.Size())
	t.batch.PutHead(*head)

	inboxes, err := t.deliverRevision(head.Number, target, entry)
	if err == nil && c.Redact {
		err = t.batch.PutRedacted(head.Number, target.SeqID, tidemark.UserOf(target.Sender))
	}
	return ReviseResult{Revision: revision.Number, SeqID: entry.SeqID, ServerTime: entry.ServerTime, Digest: entry.Digest, Inboxes: inboxes}, err
}

// deliverRevision puts a reference to a revision entry into each inbox that the message was
// delivered to, as far as it still exists, and counts what is there of a redacted message
// as redacted.
func (t *transition) deliverRevision(number uint64, target, entry *tidemark.Message) (inboxes int, err error) {
	list, err := t.batch.Deliveries(number, target.SeqID)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	targets := make([]tidemark.TimelineID, 0, len(list))
	redacted := make([]pebblestore.Delivery, 0, len(list))
	for _, delivery := range list {
		id, err := t.batch.TimelineID(delivery.Inbox)
		if err != nil {
			return 0, err
		}
		head, exists, err := t.batch.Head(id)
		if err != nil {
			return 0, err
		}
		if !exists {
			continue
		}
		targets = append(targets, id)
		if delivery.SeqID >= head.First {
			redacted = append(redacted, delivery)
		}
	}
	if err := t.deliverTo(targets, entry, number); err != nil || !entry.Revises.Redacted {
		return len(targets), err
	}
	user := tidemark.UserOf(target.Sender)
	for _, delivery := range redacted {
		if err := t.batch.PutRedacted(delivery.Inbox, delivery.SeqID, user); err != nil {
			return 0, err
		}
	}
	return len(targets), nil
}

// repeatRevision gives the first result again to a retry.
func (t *transition) repeatRevision(number uint64, seq tidemark.SeqID) (ReviseResult, error) {
	entry, err := t.batch.Message(number, seq)
	if err != nil {
		return ReviseResult{}, err
	}
	return ReviseResult{Revision: entry.Revises.Number, SeqID: seq, ServerTime: entry.ServerTime, Digest: entry.Digest, Duplicate: true}, nil
}

func checkRevise(c *Revise) error {
	if err := checkDraft(&c.Draft, whole); err != nil {
		return err
	}
	switch {
	case c.SeqID == 0:
		return tidemark.Invalid("seq_id", "must not be 0")
	case c.Redact && (c.Draft.Type != "" || len(c.Draft.Payload) > 0 || len(c.Draft.Attributes) > 0):
		return tidemark.Invalid("redact", "must not be set together with content")
	}
	return nil
}
