package tidemark

// Direction says which way a page extends from its start.
type Direction uint8

const (
	// Forward takes newer messages.
	Forward Direction = iota
	// Backward takes older messages.
	Backward
)

// Start says where a page starts.
type Start uint8

const (
	// StartSeq starts at Range.Seq, with it, in either direction.
	StartSeq Start = iota
	// StartBefore starts at the message before Range.Seq, backward.
	StartBefore
	// StartNewest starts at the last message, backward.
	StartNewest
	// StartTime starts, forward, at the first message whose server time is at
	// least Range.Time or, backward, at the last one whose server time is at most that.
	StartTime
)

// Range asks for one page of a timeline.
type Range struct {
	Timeline  TimelineID
	Start     Start
	Seq       SeqID
	Time      Time
	Direction Direction
	// Reader is whose floor bounds the page, or empty.
	Reader ReaderID
	// Limit and MaxBytes bound the page, in messages and in bytes as counted by
	// Draft.Size; both are positive. One message is returned even if it is
	// larger than MaxBytes, so that a reader always gets on.
	Limit    int
	MaxBytes int
	// Memory, if it is not nil, is where the messages of the page may be put: they are good
	// until it is used for another page, or given to somebody else. Nil gives the page memory
	// of its own.
	Memory *PageMemory
}

// PageMemory is memory for the messages of one page at a time. The zero value is ready for
// use, and grows to what pages need.
type PageMemory struct {
	// Messages and Bytes belong to whoever fills the page: the messages themselves, and
	// what their texts and payloads are parts of.
	Messages []Message
	Bytes    []byte
}

// Page is a contiguous run of messages, in rising order of SeqID whichever way it
// was read.
type Page struct {
	Messages []Message
	// More says that the timeline holds further messages in the direction of the range.
	More bool
	// PreviousDigest is the digest that the chain of Messages starts from.
	PreviousDigest Digest
	// Head is that of the timeline in the same consistent view.
	Head Head
	// Floor is that of Range.Reader: no message before it is in the page, whatever the
	// timeline holds.
	Floor SeqID
	// Applied is an index that covers all that the page shows.
	Applied uint64
}
