package tidemark

// MaxExplained bounds how many inboxes, and how many cursors, one explanation lists; it
// counts all of them. DefaultExplained is how many it lists if nobody says.
const (
	MaxExplained     = 10_000
	DefaultExplained = 1_000
)

// Explained is what a node knows of one message, as one view shows it.
type Explained struct {
	Message Message
	// Index is that of the log entry that appended it, or 0 if it is not known: the change
	// feed, which says so, does not go back to it.
	Index uint64
	// InboxCount counts the inboxes that it was delivered to, and Inboxes are the first of
	// them. Deliveries are known of messages that were appended at feature level 8 or later.
	InboxCount int
	Inboxes    []InboxEntry
	// CursorCount counts the cursors of the timeline, DeliveredCount and ReadCount those
	// whose marks are at or past the message, and Cursors are the first of DeliveredCount.
	CursorCount, DeliveredCount, ReadCount uint64
	Cursors                                []Cursor
	Head                                   Head
	// Applied is an index that covers all of this.
	Applied uint64
}

// InboxEntry is the entry of an inbox that refers to a message.
type InboxEntry struct {
	Inbox TimelineID
	SeqID SeqID
	// Gone says that the entry was trimmed, or the inbox deleted.
	Gone bool
}
