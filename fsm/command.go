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
}

// AppendBatch is atomic: all of its items are appended, or none. Items take
// effect in order and see those before them. Its result is an AppendBatchResult.
type AppendBatch struct{ Items []Append }

// Ack moves cursors of one reader forward: all of its items, or none. Its result
// is an AckResult.
type Ack struct {
	Reader tidemark.ReaderID
	Items  []AckItem
}

// AckItem says how far the reader has come in one timeline. A mark that is nil,
// or not beyond the one that the cursor has, changes nothing.
type AckItem struct {
	Timeline tidemark.TimelineID
	// Delivered and Read are at most the timeline's last SeqID. Read implies Delivered.
	Delivered, Read *tidemark.SeqID
}

// Noop changes nothing but the applied index. A new leader proposes one, to know
// that all entries of the terms before its own are applied. Its result is a NoopResult.
type Noop struct{}

// AppendResult is the outcome of one append.
type AppendResult struct {
	// SeqID, ServerTime and Digest are those that the message got when it was
	// first appended.
	SeqID      tidemark.SeqID
	ServerTime tidemark.Time
	Digest     tidemark.Digest
	// Duplicate says that the timeline held the same message before.
	Duplicate bool
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
