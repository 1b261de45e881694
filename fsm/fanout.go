package fsm

import (
	"slices"

	"tidemark"
	"tidemark/internal/planted"
	"tidemark/pebblestore"
)

// deliver puts a reference to a message that was just appended into each inbox, and
// returns how many there are. In the order of the inboxes' names: the numbers of those
// that are created by it follow from that.
func (t *transition) deliver(fanOut *tidemark.FanOut, message *tidemark.Message, source uint64) (inboxes int, version uint64, err error) {
	targets, version, err := t.targets(fanOut, source)
	if err != nil {
		return 0, 0, err
	}
	if planted.Is(planted.FanOutInTwo) {
		t.late.add(message, source, targets[len(targets)/2:])
		targets = targets[:len(targets)/2]
	}
	return len(targets), version, t.deliverTo(targets, message, source)
}

// deliverTo puts a reference into each of the inboxes, and notes where.
func (t *transition) deliverTo(targets []tidemark.TimelineID, message *tidemark.Message, source uint64) error {
	t.delivered += len(targets)
	from := tidemark.Source{Timeline: message.Timeline, SeqID: message.SeqID, Digest: message.Digest}
	list := make([]pebblestore.Delivery, 0, len(targets))
	for _, inbox := range targets {
		head, exists, err := t.batch.Head(inbox)
		if err != nil {
			return err
		}
		if !exists {
			head = t.batch.CreateTimeline(inbox, t.time)
		}
		head.Last++
		head.LastTime = max(t.time, head.LastTime)
		head.Digest = tidemark.NextReferenceDigest(head.Digest, head.Last, head.LastTime, message.ID, &from)
		t.batch.PutReference(&head, message, source)
		t.batch.PutHead(head)
		list = append(list, pebblestore.Delivery{Inbox: head.Number, SeqID: head.Last})
	}
	if len(list) > 0 && t.batch.Level() >= revisionLevel {
		t.batch.PutDeliveries(source, message.SeqID, list)
	}
	return nil
}

// targets are the inboxes of a fan-out, each once, and the version of the recipient set
// that they are from.
func (t *transition) targets(fanOut *tidemark.FanOut, number uint64) (targets []tidemark.TimelineID, version uint64, err error) {
	if fanOut.Recipients {
		set, err := t.batch.Recipients(number)
		if err != nil {
			return nil, 0, err
		}
		targets, version = set.Inboxes, set.Version
	}
	if len(fanOut.Inboxes) > 0 {
		targets = slices.Concat(targets, fanOut.Inboxes)
		slices.Sort(targets)
		targets = slices.Compact(targets)
	}
	return targets, version, nil
}

// advance moves the sender's cursor behind the message that it has sent.
func (t *transition) advance(head *tidemark.Head, message *tidemark.Message) error {
	move := Ack{Reader: tidemark.ReaderID(message.Sender)}
	_, err := t.move(&move, &AckItem{Read: &message.SeqID}, head)
	return err
}

// setRecipients applies one SetRecipients. It creates the timeline if it does not exist.
func (t *transition) setRecipients(c *SetRecipients) (SetRecipientsResult, error) {
	if err := checkRecipients(c); err != nil {
		return SetRecipientsResult{Err: err}, nil
	}
	head, exists, err := t.batch.Head(c.Timeline)
	if err != nil {
		return SetRecipientsResult{}, err
	}
	set := &pebblestore.RecipientSet{}
	if exists {
		if set, err = t.batch.Recipients(head.Number); err != nil {
			return SetRecipientsResult{}, err
		}
	}
	change := &c.Change
	if change.ExpectedVersion != nil && *change.ExpectedVersion != set.Version {
		return SetRecipientsResult{Err: &tidemark.VersionConflictError{Expected: *change.ExpectedVersion, Version: set.Version}}, nil
	}
	next := changed(set.Inboxes, change)
	t.delivered += len(set.Inboxes) + len(next)
	if len(next) > rule3Recipients {
		return SetRecipientsResult{Err: tidemark.Invalid("add", "would make %d recipients; limit is %d: use fan-out on read (Sync) for larger groups", len(next), rule3Recipients)}, nil
	}
	if exists && slices.Equal(next, set.Inboxes) && set.Version > 0 {
		return SetRecipientsResult{Version: set.Version, Count: uint64(len(next))}, nil
	}
	if !exists {
		head = t.batch.CreateTimeline(c.Timeline, t.time)
	}
	after := &pebblestore.RecipientSet{Version: set.Version + 1, Inboxes: next}
	if err := t.batch.SetRecipients(head.Number, after); err != nil {
		return SetRecipientsResult{}, err
	}
	return SetRecipientsResult{Version: after.Version, Count: uint64(len(next))}, nil
}

// changed is the set after a change, in byte order. The one before is left as it is.
func changed(before []tidemark.TimelineID, change *tidemark.RecipientChange) []tidemark.TimelineID {
	if change.Replace {
		before = nil
	}
	removed := make(map[tidemark.TimelineID]bool, len(change.Remove))
	for _, inbox := range change.Remove {
		removed[inbox] = true
	}
	after := make([]tidemark.TimelineID, 0, len(before)+len(change.Add))
	for _, inbox := range before {
		if !removed[inbox] {
			after = append(after, inbox)
		}
	}
	after = append(after, change.Add...)
	slices.Sort(after)
	return slices.Compact(after)
}

// checkFanOut reports the first broken rule. item is where the append stands in its command.
func checkFanOut(a *Append, item place) error {
	if err := checkInboxes(a.FanOut.Inboxes, rule3ListedInboxes, a.Draft.Timeline, item, "fan_out.inboxes"); err != nil {
		return err
	}
	if a.AdvanceSender {
		return checkName(a.Draft.Sender, rule1ReaderIDBytes, item, "sender")
	}
	return nil
}

func checkRecipients(c *SetRecipients) error {
	if err := checkName(string(c.Timeline), rule1TimelineIDBytes, whole, "timeline"); err != nil {
		return err
	}
	if err := checkInboxes(c.Change.Add, rule3RecipientChanges, c.Timeline, whole, "add"); err != nil {
		return err
	}
	return checkInboxes(c.Change.Remove, rule3RecipientChanges, c.Timeline, whole, "remove")
}

func checkInboxes(inboxes []tidemark.TimelineID, limit int, timeline tidemark.TimelineID, item place, field string) error {
	if len(inboxes) > limit {
		return tidemark.Invalid(item.field(field), "has %d inboxes; limit is %d inboxes", len(inboxes), limit)
	}
	for _, inbox := range inboxes {
		if err := checkName(string(inbox), rule1TimelineIDBytes, item, field); err != nil {
			return err
		}
		if inbox == timeline {
			return tidemark.Invalid(item.field(field), "must not have the timeline itself")
		}
	}
	return nil
}
