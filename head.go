package tidemark

// Head sums up a timeline.
type Head struct {
	Timeline TimelineID
	// Number stands for the timeline in keys. It is given at creation, in the
	// order of the log, starting at 1.
	Number uint64
	// First is the first retained SeqID, and Last the last one. A timeline that
	// holds nothing has First == Last+1.
	First, Last SeqID
	// Bytes is the sum of Draft.Size over the retained messages.
	Bytes uint64
	// CreatedTime and LastTime are the server times of the first message ever and of the last one.
	CreatedTime, LastTime Time
	// Digest is that of the message Last.
	Digest Digest
	// TrimmedDigest is that of the message before First, if First is above 1.
	TrimmedDigest Digest
	// Deleted says that the timeline is there for its SeqIDs only: whoever creates it again
	// goes on behind Last, so that no SeqID ever stands for two messages.
	Deleted bool
}

// FirstDigest is the digest that the chain of the retained messages starts from.
func (h *Head) FirstDigest() Digest {
	if h.First > 1 {
		return h.TrimmedDigest
	}
	return InitialDigest(h.Timeline)
}

// Count is the number of retained messages.
func (h *Head) Count() uint64 { return uint64(h.Last) + 1 - uint64(h.First) }

// Cursor says how far a reader has come in a timeline. Its marks only grow, unless they
// are set back on purpose, and Read never exceeds Delivered: what was read was delivered.
type Cursor struct {
	Timeline  TimelineID
	Reader    ReaderID
	Delivered SeqID
	Read      SeqID
	// Floor is the first message that the reader may see, who joined late or cleared the
	// history; 0 for all. It is at most one more than the timeline's last SeqID.
	Floor SeqID
	// UpdatedTime is the leader's clock at the last change.
	UpdatedTime Time
}
