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
	if c.First == 0 || c.First+tidemark.SeqID(len(c.Items)) < c.First {
		return ImportResult{Err: tidemark.Invalid("items", "must have SeqIds from 1 on")}, nil
	}
	chain, err := t.importTarget(c)
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
	// exists is whether the timeline does, and starts whether its first message is the
	// first item.
	exists, starts bool
}

// importTarget finds the timeline. One that was deleted is not empty: its SeqIDs are taken.
func (t *transition) importTarget(c *Import) (chain importChain, err error) {
	if chain.head, chain.exists, err = t.batch.Head(c.Timeline); err != nil {
		return chain, err
	}
	deleted := false
	if !chain.exists {
		if chain.head, deleted, err = t.batch.AnyHead(c.Timeline); err != nil {
			return chain, err
		}
	}
	if !chain.exists && !deleted {
		chain.head = tidemark.Head{Timeline: c.Timeline, First: c.First, Last: c.First - 1, Digest: tidemark.InitialDigest(c.Timeline)}
		if c.First > 1 {
			chain.head.TrimmedDigest, chain.head.Digest = c.Previous, c.Previous
		}
	}
	// Also one that was made for its recipients or attributes has no message yet.
	if chain.starts = !deleted && chain.head.Last == c.First-1 && chain.head.Count() == 0 && (c.First == 1 || !chain.exists); chain.starts {
		chain.head.LastTime = tidemark.Time(tidemark.MinTime.UnixNano())
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
		head.CreatedTime = min(head.CreatedTime, first)
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
