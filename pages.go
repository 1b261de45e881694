package tidemark

// CursorPage is one page of cursors.
type CursorPage struct {
	Cursors []Cursor
	// Heads are those of the cursors' timelines, in parallel with Cursors.
	Heads []Head
	// Unread is, in parallel with Cursors, how many messages each reader has not read: those
	// that the timeline holds, behind the read mark, not before the floor, and not of the
	// reader's own user. Nil where it was not asked for.
	Unread []uint64
	// More says that cursors follow the last one.
	More bool
	// Applied is an index that covers all that the page shows.
	Applied uint64
}

// Activity is the place of a timeline in a listing by newest activity: the server time of
// its last message, and its number.
type Activity struct {
	Time   Time
	Number uint64
}

// Described is a timeline with what applications say about it.
type Described struct {
	Head       Head
	Attributes Attributes
}

// TimelinePage is one page of timelines, in byte order of their ids.
type TimelinePage struct {
	Timelines []Described
	// More says that timelines follow the last one.
	More bool
	// Applied is an index that covers all that the page shows.
	Applied uint64
}
