package tidemark

// PullPosition says how far a reader has come in one timeline.
type PullPosition struct {
	Timeline TimelineID
	// After is the last SeqID that the reader has; 0 for none.
	After SeqID
	// FromCursor takes what Pull.Reader has acknowledged as delivered in place of After.
	FromCursor bool
	// Class is served before any higher one.
	Class uint8
}

// Pull asks for what is new in many timelines, in one consistent view.
type Pull struct {
	// Reader is whose cursors the answer shows; empty for nobody's.
	Reader ReaderID
	// Positions are of different timelines.
	Positions []PullPosition
	// MaxBytes bounds the answer as PullCost counts it. One message is returned even if
	// it is larger, so that a reader always gets on.
	MaxBytes int
	// MaxMessages bounds the messages of each timeline.
	MaxMessages int
	// Turn says which timeline of each class is served first: the Turn-th of those with
	// news, modulo their number. Whoever draws it anew for each pull lets none wait for ever.
	Turn uint64
}

// Pulled is what is new in one timeline. A timeline that ends before After is there too,
// without messages: the reader has what this replica does not have, or not yet. Of one
// that does not exist the head has no number, and holds nothing.
type Pulled struct {
	Head Head
	// After is the position that it was asked from, and Class its class.
	After SeqID
	Class uint8
	// Messages are contiguous. They start behind After or, if messages after that are
	// gone, at Head.First, or at the floor of Cursor. There may be none if others took all bytes.
	Messages []Message
	// PreviousDigest is the digest that the chain of Messages starts from, if there are any.
	PreviousDigest Digest
	// More says that there is more after Messages.
	More bool
	// Cursor is that of Pull.Reader; without marks if it has none. No message before its
	// floor is among Messages.
	Cursor Cursor
	// Unread is what the reader has not read; see CursorPage.
	Unread uint64
}

// PullPage is the answer to a Pull: only timelines with news, in the order in which
// they were served.
type PullPage struct {
	Timelines []Pulled
	// More says that there is news that is not among Timelines, or more in one of them.
	More bool
	// Applied is an index that covers all that the page shows.
	Applied uint64
}

// PullCost is what n bytes of a message or timeline with the id count in a Pull. It is
// about the size on the wire, so that an answer of many small messages stays small too.
func PullCost(timeline TimelineID, n int) int {
	const fields = 96 // tags, lengths, SeqIDs, times and the digest
	return fields + len(timeline) + n
}
