package fsm

import "tidemark"

// Append puts one message at the end of a timeline, and creates the timeline if
// it does not exist. Its result is an AppendResult.
type Append struct {
	Draft tidemark.Draft
	// Expected, if not nil, is what the timeline's last SeqID must be; 0 for a
	// timeline that does not exist. A retry of an append that was applied is
	// recognized by its message id first, so it gets its first result.
	Expected *tidemark.SeqID
	// FanOut says which inboxes get a reference, together with the message. A retry
	// delivers nothing, whatever it says: the first append has. It needs Level 3.
	FanOut tidemark.FanOut
	// AdvanceSender moves the read mark of the cursor that the sender has, as a reader of
	// its name, to the message. It needs Level 3.
	AdvanceSender bool
}

// AppendBatch is atomic: all of its items are appended, or none. Items take
// effect in order and see those before them. Its result is an AppendBatchResult.
type AppendBatch struct{ Items []Append }

// Ack moves cursors of one reader forward: all of its items, or none. Its result
// is an AckResult.
type Ack struct {
	Reader tidemark.ReaderID
	Items  []AckItem
	// Rewind sets marks to what the items say, also back. It needs Level 2.
	Rewind bool
}

// AckItem says how far the reader has come in one timeline. A mark that is nil,
// or not beyond the one that the cursor has unless Ack.Rewind is set, changes nothing.
type AckItem struct {
	Timeline tidemark.TimelineID
	// Delivered and Read are at most the timeline's last SeqID. Read implies Delivered;
	// with Rewind, a Delivered before the read mark takes that back too.
	Delivered, Read *tidemark.SeqID
	// Floor is the first message that the reader may see, at most the last SeqID + 1. It
	// needs Level 2.
	Floor *tidemark.SeqID
}

// Level is the feature level that this version understands: 2 has floors and rewinds
// of cursors, 3 recipients and fan-out, 4 trims, deletions and attributes, 5 retention policies, 6 imports of history,
// 7 the change feed, 8 revisions. What a level adds may be proposed only when the store has it.
const Level uint32 = 8

// SetRecipients changes the recipient set of a timeline, which it creates if it does not
// exist. It needs Level 3. Its result is a SetRecipientsResult.
type SetRecipients struct {
	Timeline tidemark.TimelineID
	Change   tidemark.RecipientChange
}

// SetRecipientsResult is the outcome of a SetRecipients.
type SetRecipientsResult struct {
	// Version and Count are those after it. A change that changes nothing leaves the version.
	Version, Count uint64
	// Err is nil, or wraps tidemark.ErrInvalid or ErrRecipientsConflict. Nothing was
	// changed then.
	Err error
}

// Revise edits or redacts a message, and puts a revision entry at the end of its timeline
// and into the inboxes that the message was delivered to. It needs Level 8. Its result is a
// ReviseResult.
type Revise struct {
	// Draft has the timeline, the message id and sender of the revision, and the new type,
	// attributes and payload, which a redaction has none of. It has no client time.
	Draft tidemark.Draft
	// SeqID is that of the message to revise.
	SeqID tidemark.SeqID
	// Expected, if not nil, is what the message's revision must be; 0 for one that was never
	// revised. A retry is recognized by its message id first.
	Expected *uint64
	// Redact takes type, attributes and payload away for good.
	Redact bool
}

// ReviseResult is the outcome of a Revise.
type ReviseResult struct {
	// Revision is the one that was made, from 1. SeqID, ServerTime and Digest are those of
	// its entry.
	Revision   uint64
	SeqID      tidemark.SeqID
	ServerTime tidemark.Time
	Digest     tidemark.Digest
	// Duplicate says that the timeline held the same revision before.
	Duplicate bool
	// Inboxes is how many inboxes got a reference to the entry; 0 for a duplicate.
	Inboxes int
	// Err is nil, or wraps tidemark.ErrInvalid, ErrTimelineNotFound, ErrMessageNotFound,
	// ErrMessageIDConflict, ErrRevisionConflict or ErrRedacted. Nothing was changed then.
	Err error
}

// RaiseLevel says that all members of the cluster understand a feature level. Less than
// the present one changes nothing. A version that does not understand the level stops.
// Its result is a RaiseLevelResult.
type RaiseLevel struct{ Level uint32 }

// RaiseLevelResult is the outcome of a RaiseLevel: the level that is in force.
type RaiseLevelResult struct{ Level uint32 }

// Noop changes nothing but the applied index. A new leader proposes one, to know
// that all entries of the terms before its own are applied. Its result is a NoopResult.
type Noop struct{}

// Trim takes away the messages of a timeline before First: at most
// tidemark.MaxTrimMessages of them, the oldest. What is gone already is no error. It needs
// Level 4. Its result is a TrimResult.
type Trim struct {
	Timeline tidemark.TimelineID
	// First is at most the last SeqID + 1, which leaves nothing.
	First tidemark.SeqID
}

// TrimResult is the outcome of a Trim.
type TrimResult struct {
	// Head is the timeline's after it. Its First is less than that of the command if more
	// is to be trimmed than one command may.
	Head tidemark.Head
	// Trimmed counts the messages that this command took away.
	Trimmed uint64
	// Err is nil, or wraps tidemark.ErrInvalid or ErrTimelineNotFound.
	Err error
}

// DeleteTimeline takes away everything of a timeline but its last SeqID. Who appends to it
// later makes it anew, and goes on behind that. It needs Level 4. Its result is a
// DeleteTimelineResult.
type DeleteTimeline struct {
	Timeline tidemark.TimelineID
	// Expected, if not nil, is what the timeline's last SeqID must be.
	Expected *tidemark.SeqID
}

// DeleteTimelineResult is the outcome of a DeleteTimeline.
type DeleteTimelineResult struct {
	// Head is the timeline's before it.
	Head tidemark.Head
	// Err is nil, or wraps tidemark.ErrInvalid, ErrTimelineNotFound or ErrSequenceConflict.
	Err error
}

// UpdateTimeline changes the attributes of a timeline, which it creates if it does not
// exist. It needs Level 4. Its result is an UpdateTimelineResult.
type UpdateTimeline struct {
	Timeline tidemark.TimelineID
	// Set are attributes with their new values, and Remove are keys; both in rising order,
	// and no key in both.
	Set    tidemark.Attributes
	Remove []string
}

// UpdateTimelineResult is the outcome of an UpdateTimeline.
type UpdateTimelineResult struct {
	Head       tidemark.Head
	Attributes tidemark.Attributes
	// Err is nil, or wraps tidemark.ErrInvalid. Nothing was changed then.
	Err error
}

// SetPolicy replaces the retention policy of its prefix, or takes it away if it has no
// condition. The leader trims by it, by Trim commands. It needs Level 5. Its result is a
// SetPolicyResult.
type SetPolicy struct{ Policy tidemark.Policy }

// SetPolicyResult is the outcome of a SetPolicy: nil, or tidemark.ErrInvalid.
type SetPolicyResult struct{ Err error }

// Import puts messages of an older history into a timeline, with the SeqIDs and server
// times that they had: all of its items, or none. Those that the timeline holds already,
// the same under the same SeqIDs, are passed over, so that an import can be repeated, and so
// are those below its first one, which were trimmed; the others must follow the last one. Nothing is fanned out. It needs Level 6. Its result is
// an ImportResult.
type Import struct {
	Timeline tidemark.TimelineID
	// First is the SeqID of the first item, up to tidemark.MaxImportSeqID. A timeline that
	// never had a message starts there.
	First tidemark.SeqID
	// Previous is the digest before First, or zero: then it is not compared, and is that of
	// a timeline which starts with a First above 1.
	Previous tidemark.Digest
	Items    []ImportItem
}

// ImportItem is one message of an older history.
type ImportItem struct {
	// Draft is without its Timeline.
	Draft      tidemark.Draft
	ServerTime tidemark.Time
	// Digest is that which the message must have then, or zero: then none is asked for.
	Digest tidemark.Digest
}

// ImportResult is the outcome of an Import.
type ImportResult struct {
	// Head is the timeline's after it, and Duplicates counts the items that were passed over.
	Head       tidemark.Head
	Duplicates int
	// Err is nil, or wraps tidemark.ErrInvalid, ErrMessageIDConflict or ErrSequenceConflict.
	// Nothing was changed then.
	Err error
}

// AppendResult is the outcome of one append.
type AppendResult struct {
	// SeqID, ServerTime and Digest are those that the message got when it was
	// first appended.
	SeqID      tidemark.SeqID
	ServerTime tidemark.Time
	Digest     tidemark.Digest
	// Duplicate says that the timeline held the same message before.
	Duplicate bool
	// Inboxes is how many inboxes got a reference, and RecipientsVersion the version of the
	// recipient set that was used; 0 for a duplicate.
	Inboxes           int
	RecipientsVersion uint64
	// Err is nil, or wraps tidemark.ErrInvalid, ErrMessageIDConflict or
	// ErrSequenceConflict, or, within an atomic batch, ErrBatchAborted. Nothing
	// was appended then.
	Err error
}

// AppendBatchResult is the outcome of an atomic batch.
type AppendBatchResult struct {
	// Results has one element for each item, in order. If Err is not nil, the
	// items that failed have their own error and the others tidemark.ErrBatchAborted.
	Results []AppendResult
	// Err is nil, or the error of the first item that failed, with its place.
	// Nothing was appended then.
	Err error
}

// AckResult is the outcome of an Ack.
type AckResult struct {
	// Cursors are those after the Ack, in the order of its items. A cursor that
	// was never moved has no marks, and tidemark.NoTime as UpdatedTime.
	Cursors []tidemark.Cursor
	// Heads are those of the items' timelines, in the order of the items.
	Heads []tidemark.Head
	// Err is nil, or wraps tidemark.ErrInvalid or ErrTimelineNotFound. No cursor
	// was moved then, and Cursors and Heads are nil.
	Err error
}

// NoopResult is the outcome of a Noop.
type NoopResult struct{}
