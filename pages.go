package tidemark

// CursorPage is one page of cursors.
type CursorPage struct {
	Cursors []Cursor
	// Heads are those of the cursors' timelines, in parallel with Cursors.
	Heads []Head
	// More says that cursors follow the last one.
	More bool
	// Applied is an index that covers all that the page shows.
	Applied uint64
}

// TimelinePage is one page of timelines, in byte order of their ids.
type TimelinePage struct {
	Heads []Head
	// More says that timelines follow the last one.
	More bool
	// Applied is an index that covers all that the page shows.
	Applied uint64
}
