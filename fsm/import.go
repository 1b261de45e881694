package fsm

import (
	"fmt"

	"tidemark"
)

// importHistory applies one Import: all items are judged first, and written only if none
// fails.
func (t *transition) importHistory(c *Import) (ImportResult, error) {
	if err := checkName(string(c.Timeline), rule1TimelineIDBytes, whole, "timeline"); err != nil {
		return ImportResult{Err: err}, nil
	}
	if c.First == 0 || c.First > rule6ImportSeqID || len(c.Items) > rule6ImportSeqID-int(c.First) {
		return ImportResult{Err: tidemark.Invalid("items", "must have SeqIds of 1 to %d", uint64(rule6ImportSeqID))}, nil
	}
	chain, err := t.importTarget(c)
	if isBusiness(err) {
		return ImportResult{Err: err}, nil
	}
	if err != nil {
		return ImportResult{}, err
	}
	result := ImportResult{}
	var added []tidemark.Message
	ids := make(map[tidemark.MessageID]bool)
	for i := range c.Items {
		item := &c.Items[i]
		item.Draft.Timeline = c.Timeline
		message, duplicate, err := t.judgeImport(item, place(i), c.First+tidemark.SeqID(i), &chain, ids)
		if isBusiness(err) {
			return ImportResult{Err: err}, nil
		}
		if err != nil {
			return ImportResult{}, err
		}
		if duplicate {
			result.Duplicates++
			continue
		}
		ids[message.ID] = true
		added = append(added, message)
		chain.head.Last, chain.head.LastTime, chain.head.Digest = message.SeqID, message.ServerTime, message.Digest
	}
	if len(added) > 0 {
		t.writeImport(c, &chain, added)
	}
	result.Head = chain.head
	return result, nil
}

// importChain is the timeline that an import goes into.
type importChain struct {
	// head is that which the timeline would have with the items that were judged.
	head tidemark.Head
	// exists is whether the timeline does, and starts whether it never had a message.
	exists, starts bool
}

// importTarget finds the timeline. One that was deleted is not empty: its SeqIDs are taken.
// One that never had a message, but was made for its recipients or attributes, is.
func (t *transition) importTarget(c *Import) (chain importChain, err error) {
	if chain.head, chain.exists, err = t.batch.Head(c.Timeline); err != nil {
		return chain, err
	}
	if !chain.exists {
		if chain.head, _, err = t.batch.AnyHead(c.Timeline); err != nil {
			return chain, err
		}
	}
	head := &chain.head
	head.Timeline = c.Timeline
	if chain.starts = head.Last == 0; chain.starts {
		head.First, head.Last, head.LastTime = c.First, c.First-1, tidemark.Time(tidemark.MinTime.UnixNano())
		if c.First > 1 {
			head.TrimmedDigest = c.Previous
		}
		head.Digest = head.FirstDigest()
		return chain, nil
	}
	known := c.Previous
	switch c.First {
	case head.Last + 1:
		known = head.Digest
	case head.First:
		known = head.FirstDigest()
	}
	if c.Previous != (tidemark.Digest{}) && c.Previous != known {
		return chain, businessError{tidemark.Invalid("previous_digest", "is %v, and message %d here has %v: it is another history", c.Previous, c.First-1, known)}
	}
	return chain, nil
}

// judgeImport decides about one item, which is to have the SeqID, and returns it as a message.
func (t *transition) judgeImport(item *ImportItem, at place, seq tidemark.SeqID, chain *importChain, ids map[tidemark.MessageID]bool) (message tidemark.Message, duplicate bool, err error) {
	if err := checkDraft(&item.Draft, at); err != nil {
		return message, false, businessError{err}
	}
	if ids[item.Draft.ID] {
		return message, false, businessError{fmt.Errorf("%s: %w", at, tidemark.ErrMessageIDConflict)}
	}
	head := &chain.head
	content := item.Draft.Hash(tidemark.HashPayload(item.Draft.Payload))
	if chain.exists {
		known, found, err := t.batch.Lookup(head.Number, item.Draft.ID)
		if err != nil {
			return message, false, err
		}
		if found {
			return t.sameImport(item, at, seq, head, known.SeqID, known.Matches(content))
		}
	}
	switch {
	case chain.exists && seq < head.First:
		// It was trimmed, and its id forgotten. The digests of those behind it tell whether
		// it was the same.
		message.SeqID = seq
		if seq == head.First-1 {
			return message, true, checkImportDigest(item, at, head.TrimmedDigest)
		}
		return message, true, nil
	case seq != head.Last+1:
		return message, false, businessError{fmt.Errorf("%s: %w", at, &tidemark.SequenceConflictError{Expected: seq - 1, Last: head.Last, First: head.First})}
	case item.ServerTime < head.LastTime:
		return message, false, businessError{tidemark.Invalid(at.field("server_time"), "is before that of the message before it")}
	}
	message = tidemark.Message{Draft: item.Draft, SeqID: seq, ServerTime: item.ServerTime}
	message.Digest = tidemark.NextDigest(head.Digest, seq, message.ServerTime, message.ID, content)
	return message, false, checkImportDigest(item, at, message.Digest)
}

// sameImport says whether what the timeline holds under the message id is the item.
func (t *transition) sameImport(item *ImportItem, at place, seq tidemark.SeqID, head *tidemark.Head, known tidemark.SeqID, same bool) (message tidemark.Message, duplicate bool, err error) {
	if known != seq || !same {
		return message, false, businessError{fmt.Errorf("%s: %w: it stands at %d", at, tidemark.ErrMessageIDConflict, known)}
	}
	if message, err = t.batch.Message(head.Number, seq); err != nil {
		return message, false, err
	}
	if message.ServerTime != item.ServerTime {
		return message, false, businessError{tidemark.Invalid(at.field("server_time"), "is not that of message %d, which is there", seq)}
	}
	return message, true, checkImportDigest(item, at, message.Digest)
}

func checkImportDigest(item *ImportItem, at place, digest tidemark.Digest) error {
	if item.Digest != (tidemark.Digest{}) && item.Digest != digest {
		return businessError{tidemark.Invalid(at.field("digest"), "is %v, and what is here makes it %v: this message, or one before it, is another one", item.Digest, digest)}
	}
	return nil
}

// writeImport writes the messages, of which chain has the head but not the size.
func (t *transition) writeImport(c *Import, chain *importChain, added []tidemark.Message) {
	head, first := chain.head, added[0].ServerTime
	if !chain.exists {
		created := t.batch.CreateTimeline(c.Timeline, first)
		head.Number, head.CreatedTime = created.Number, created.CreatedTime
	}
	if chain.starts {
		head.CreatedTime = min(head.CreatedTime, first) // which may be older than the timeline is
	}
	head.Deleted = false
	for i := range added {
		message := &added[i]
		t.batch.PutMessage(head.Number, message, message.Hash(tidemark.HashPayload(message.Payload)))
		head.Bytes += uint64(message.Size())
	}
	t.batch.PutHead(head)
	chain.head = head
}

// businessError is a refusal of a command, which is the same on every replica.
type businessError struct{ error }

func (e businessError) Unwrap() error { return e.error }

func isBusiness(err error) bool {
	_, ok := err.(businessError)
	return ok
}
