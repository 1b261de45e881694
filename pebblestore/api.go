// Package pebblestore keeps timelines in Pebble.
package pebblestore

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

var errUnfinished = errors.New("pebblestore: unfinished")

// Options configure a Store; start from DefaultOptions.
type Options struct {
	// FS is the file system; nil is the disk.
	FS vfs.FS
	// Logger receives the store's log; nil discards it.
	Logger            *slog.Logger
	BlockCacheBytes   int64
	MemTableBytes     uint64
	BloomBitsPerKey   int
	MaxOpenFiles      int
	MaxCompactions    int
	Compression       Compression
	HeadCacheEntries  int
	Fatal             func(msg string)
	OnDiskSlow        func(path string, took time.Duration)
	OnBackgroundError func(error)
}

// Compression names how blocks of tables are compressed.
type Compression string

// DefaultOptions returns the options that suit a node of a cluster.
func DefaultOptions() Options { return Options{} }

// Store holds timelines. All its methods are safe for concurrent use, but there
// may be only one Batch at a time.
type Store struct{}

// Open opens the store in dir, and creates it if there is none.
func Open(dir string, o Options) (*Store, error) { return nil, errUnfinished }

// Close closes the store.
func (s *Store) Close() error { return errUnfinished }

// Applied is that of the last committed batch.
func (s *Store) Applied() tidemark.Applied { return tidemark.Applied{} }

// Sync makes everything committed durable.
func (s *Store) Sync() error { return errUnfinished }

// DurableIndex is the applied index that is known to survive a loss of power.
func (s *Store) DurableIndex() uint64 { return 0 }

// NewBatch starts a batch; there may be one at a time.
func (s *Store) NewBatch() *Batch { return &Batch{} }

// Batch gathers writes that become visible together.
type Batch struct{}

// DedupeEntry is what the store remembers of a message id.
type DedupeEntry struct {
	SeqID tidemark.SeqID
	// Content is the prefix of the message's ContentHash.
	Content [16]byte
}

// Matches reports whether content is that of the message under the id.
func (e DedupeEntry) Matches(content tidemark.ContentHash) bool {
	return e.Content == [16]byte(content[:16])
}

// Head returns the head of a timeline as this batch would leave it.
func (b *Batch) Head(id tidemark.TimelineID) (tidemark.Head, bool, error) {
	return tidemark.Head{}, false, errUnfinished
}

// CreateTimeline gives a new timeline the next number.
func (b *Batch) CreateTimeline(id tidemark.TimelineID, now tidemark.Time) tidemark.Head {
	return tidemark.Head{}
}

// PutHead replaces the head of its timeline.
func (b *Batch) PutHead(h tidemark.Head) {}

// Lookup finds a message id in the timeline with the number.
func (b *Batch) Lookup(number uint64, id tidemark.MessageID) (DedupeEntry, bool, error) {
	return DedupeEntry{}, false, errUnfinished
}

// Message returns a message of the timeline with the number; its Timeline is left empty.
func (b *Batch) Message(number uint64, seq tidemark.SeqID) (tidemark.Message, error) {
	return tidemark.Message{}, errUnfinished
}

// PutMessage writes a message and its dedupe entry.
func (b *Batch) PutMessage(number uint64, m *tidemark.Message, content tidemark.ContentHash) {}

// Cursor returns a cursor as this batch would leave it.
func (b *Batch) Cursor(number uint64, reader tidemark.ReaderID) (tidemark.Cursor, bool, error) {
	return tidemark.Cursor{}, false, errUnfinished
}

// PutCursor writes a cursor.
func (b *Batch) PutCursor(number uint64, c tidemark.Cursor) {}

// SetApplied sets the applied record that the batch leaves.
func (b *Batch) SetApplied(a tidemark.Applied) {}

// Commit writes the batch. It does not wait for the disk.
func (b *Batch) Commit() error { return errUnfinished }

// Discard drops the batch. It is a no-op after Commit.
func (b *Batch) Discard() {}

// Head returns the head of a timeline, or ErrTimelineNotFound.
func (s *Store) Head(id tidemark.TimelineID) (tidemark.Head, uint64, error) {
	return tidemark.Head{}, 0, errUnfinished
}

// Read returns a page of messages.
func (s *Store) Read(r tidemark.Range) (tidemark.Page, error) {
	return tidemark.Page{}, errUnfinished
}

// Get returns a message by its SeqID.
func (s *Store) Get(id tidemark.TimelineID, seq tidemark.SeqID) (tidemark.Message, uint64, error) {
	return tidemark.Message{}, 0, errUnfinished
}

// GetByID returns a message by its message id.
func (s *Store) GetByID(id tidemark.TimelineID, message tidemark.MessageID) (tidemark.Message, uint64, error) {
	return tidemark.Message{}, 0, errUnfinished
}

// Cursor returns the cursor of a reader.
func (s *Store) Cursor(id tidemark.TimelineID, reader tidemark.ReaderID) (tidemark.Cursor, bool, error) {
	return tidemark.Cursor{}, false, errUnfinished
}

// CursorsByTimeline pages the cursors of a timeline.
func (s *Store) CursorsByTimeline(id tidemark.TimelineID, readAtLeast tidemark.SeqID, after tidemark.ReaderID, limit int) (tidemark.CursorPage, error) {
	return tidemark.CursorPage{}, errUnfinished
}

// CountCursors counts the cursors of a timeline.
func (s *Store) CountCursors(id tidemark.TimelineID, readAtLeast tidemark.SeqID) (count, applied uint64, err error) {
	return 0, 0, errUnfinished
}

// CursorsByReader pages the cursors of a reader.
func (s *Store) CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (tidemark.CursorPage, error) {
	return tidemark.CursorPage{}, errUnfinished
}

// Timelines pages the timelines whose ids have the prefix.
func (s *Store) Timelines(prefix, after tidemark.TimelineID, limit int) (tidemark.TimelinePage, error) {
	return tidemark.TimelinePage{}, errUnfinished
}

// Snapshot streams a consistent copy of the store. It is a tidemark.SnapshotReader.
type Snapshot struct{}

func (*Snapshot) Applied() tidemark.Applied  { return tidemark.Applied{} }
func (*Snapshot) Size() int64                { return 0 }
func (*Snapshot) Read(p []byte) (int, error) { return 0, errUnfinished }
func (*Snapshot) Close() error               { return errUnfinished }

// OpenSnapshot opens a consistent copy of the store for streaming.
func (s *Store) OpenSnapshot() (*Snapshot, error) { return nil, errUnfinished }

// Incoming receives a snapshot stream. It is a tidemark.SnapshotWriter.
type Incoming struct{}

func (*Incoming) Write(p []byte) (int, error)       { return 0, errUnfinished }
func (*Incoming) Finish() (tidemark.Applied, error) { return tidemark.Applied{}, errUnfinished }
func (*Incoming) Abort() error                      { return errUnfinished }

// Receive starts to receive a snapshot stream beside the present state.
func (s *Store) Receive() (*Incoming, error) { return nil, errUnfinished }

// Install replaces the present state by a finished one.
func (s *Store) Install(in *Incoming) error { return errUnfinished }

// CheckProgress tells how far a check has come.
type CheckProgress struct {
	Step            string
	Timelines, Keys uint64
}

// CheckReport sums up a check that found no damage.
type CheckReport struct {
	Applied                      tidemark.Applied
	Timelines, Messages, Cursors uint64
	Bytes                        uint64
	Tables                       int
	TableBytes                   uint64
}

// Check verifies the whole store.
func (s *Store) Check(progress func(CheckProgress)) (CheckReport, error) {
	return CheckReport{}, errUnfinished
}

// Metrics are plain numbers about the store.
type Metrics struct{}

// Metrics returns the present numbers.
func (s *Store) Metrics() Metrics { return Metrics{} }
