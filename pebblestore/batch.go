package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"tidemark"
)

// Batch gathers writes that become visible together, with the applied record that
// they lead to. It is the only way to write. Its reads see its own writes on top
// of the store. Ids handed to it may share memory with a request: it keeps none
// of them past Commit, but for the Timeline of heads.
//
// A batch ends by Commit or Discard; until then no other may begin.
type Batch struct {
	store *Store
	view  *view
	err   error // the first that a write met, which Commit returns
	done  bool

	*gathered
	nextNumber uint64 // 0 until a timeline is created
	// feed is the start of the change feed, if it was set.
	feed    *feed
	applied *tidemark.Applied
	level   uint32 // 0 if it was not set
}

// gathered is what a batch has so far. Its memory serves one batch after the other.
type gathered struct {
	// out has the heads in the order of their first change.
	out writes

	headAt  map[tidemark.TimelineID]int // where a timeline is in out.heads
	created map[uint64]tidemark.TimelineID

	// places are the dedupe entries of this batch, those that it deletes without a SeqID,
	// and the records that they point to.
	places  map[placeKey]DedupeEntry
	records map[recordKey][]byte

	cursors     map[placeKey]*cursorChange
	cursorOrder []placeKey

	// policies are the prefixes whose policy this batch sets (true) or takes away.
	policies map[string]bool
	// cleared are the timelines that this batch deleted: of what it does not know of them
	// itself, there is nothing.
	cleared map[uint64]bool
	// attributes are those that this batch sets.
	attributes map[uint64]tidemark.Attributes
	// recipients are the sets that were looked at, as this batch would leave them.
	recipients map[uint64]*RecipientSet
	// sent are the ordinals of the last messages of users; see senders.go.
	sent map[placeKey]uint64
	// sentAt are the messages that they are of, as far as they are of this batch.
	sentAt map[placeKey]tidemark.SeqID

	// changes are what was changed since the last EndEntry.
	changes []tidemark.ChangeRun

	// redacted are the messages that this batch redacts, with their users, and blocks the
	// counts that it changes; see redactions.go.
	redacted map[recordKey]string
	blocks   map[redactedBlock]uint64
	// deliveries are the lists of this batch; see deliveries.go.
	deliveries map[recordKey][]Delivery
}

func newGathered() *gathered {
	return &gathered{
		headAt:     make(map[tidemark.TimelineID]int),
		created:    make(map[uint64]tidemark.TimelineID),
		places:     make(map[placeKey]DedupeEntry),
		records:    make(map[recordKey][]byte),
		cursors:    make(map[placeKey]*cursorChange),
		policies:   make(map[string]bool),
		cleared:    make(map[uint64]bool),
		attributes: make(map[uint64]tidemark.Attributes),
		recipients: make(map[uint64]*RecipientSet),
		sent:       make(map[placeKey]uint64),
		sentAt:     make(map[placeKey]tidemark.SeqID),
		redacted:   make(map[recordKey]string),
		blocks:     make(map[redactedBlock]uint64),
		deliveries: make(map[recordKey][]Delivery),
	}
}

// maxReusedWrites bounds the batches whose memory is used again: what a large one leaves is
// dear to clear for a small one, and to keep.
const maxReusedWrites = 8192

// reset returns memory for the next batch.
func (g *gathered) reset() *gathered {
	if len(g.out.list)+len(g.out.heads) > maxReusedWrites {
		next := newGathered()
		next.out.slab = g.out.slab
		return next
	}
	clear(g.out.list) // so that what they point to can go
	g.out.list, g.out.bytes = g.out.list[:0], 0
	g.out.heads, g.cursorOrder, g.changes = g.out.heads[:0], g.cursorOrder[:0], g.changes[:0]
	clear(g.headAt)
	clear(g.created)
	clear(g.places)
	clear(g.records)
	clear(g.cursors)
	clear(g.policies)
	clear(g.cleared)
	clear(g.attributes)
	clear(g.recipients)
	clear(g.sent)
	clear(g.sentAt)
	clear(g.redacted)
	clear(g.blocks)
	clear(g.deliveries)
	return g
}

// placeKey is a message id, a reader or a user within a timeline.
type placeKey struct {
	number uint64
	name   string
}

type recordKey struct {
	number uint64
	seq    tidemark.SeqID
}

type cursorChange struct {
	cursor tidemark.Cursor
	// indexed says that the reader's index has the timeline already.
	indexed bool
}

// NewBatch starts a batch. It panics if another one is open: two writers are a
// bug that would cost messages.
func (s *Store) NewBatch() *Batch {
	if !s.batchOpen.CompareAndSwap(false, true) {
		panic("pebblestore: a batch is open already; there may be one writer")
	}
	s.gathered = s.gathered.reset()
	b := &Batch{store: s, gathered: s.gathered}
	g, err := s.acquire()
	if err != nil {
		b.err = err
		return b
	}
	if b.view, err = openView(g, g.iterateLive); err != nil {
		b.err = err
	}
	return b
}

// Head returns the head of a timeline as this batch would leave it, and false if
// there is none, or it was deleted.
func (b *Batch) Head(id tidemark.TimelineID) (tidemark.Head, bool, error) {
	h, found, err := b.AnyHead(id)
	if h.Deleted {
		return tidemark.Head{}, false, err
	}
	return h, found, err
}

// AnyHead is Head, and returns those of deleted timelines too.
func (b *Batch) AnyHead(id tidemark.TimelineID) (tidemark.Head, bool, error) {
	if at, ok := b.headAt[id]; ok {
		return b.out.heads[at], true, nil
	}
	if b.err != nil {
		return tidemark.Head{}, false, b.err
	}
	if h, ok := b.store.heads.get(id); ok {
		return h, true, nil
	}
	h, found, err := b.view.anyHead(id)
	if found {
		b.store.heads.put(h.Timeline, h)
	}
	return h, found, err
}

// CreateTimeline gives the next number to a timeline that Head did not find, and
// returns its head, which is empty: First is 1, Last 0, and Digest the initial one. One
// that was deleted keeps its number, and goes on behind its last SeqID.
func (b *Batch) CreateTimeline(id tidemark.TimelineID, now tidemark.Time) tidemark.Head {
	deleted, found, err := b.AnyHead(id)
	if err != nil && b.err == nil {
		b.err = err
	}
	if err == nil && found {
		deleted.Deleted, deleted.CreatedTime, deleted.LastTime = false, now, max(now, deleted.LastTime)
		b.PutHead(deleted)
		return deleted
	}
	if b.nextNumber == 0 && b.err == nil {
		b.nextNumber, b.err = b.view.nextNumber()
	}
	h := tidemark.Head{
		Timeline: id, Number: b.nextNumber, First: 1,
		CreatedTime: now, LastTime: now, Digest: tidemark.InitialDigest(id),
	}
	b.nextNumber++
	b.created[h.Number] = id
	b.out.set(appendNumberKey(nil, h.Number), []byte(id))
	b.PutHead(h)
	return h
}

// PutHead replaces the head of its timeline.
func (b *Batch) PutHead(h tidemark.Head) {
	if at, ok := b.headAt[h.Timeline]; ok {
		b.out.heads[at] = h
		return
	}
	b.headAt[h.Timeline] = len(b.out.heads)
	b.out.heads = append(b.out.heads, h)
}

// Timelines are those whose heads were put, also after the batch has ended, until the next one.
func (b *Batch) Timelines() iter.Seq[tidemark.TimelineID] {
	return func(yield func(tidemark.TimelineID) bool) {
		for i := range b.out.heads {
			if !yield(b.out.heads[i].Timeline) {
				return
			}
		}
	}
}

// Lookup finds a message id in the timeline with the number.
func (b *Batch) Lookup(number uint64, id tidemark.MessageID) (DedupeEntry, bool, error) {
	if e, ok := b.places[placeKey{number, string(id)}]; ok || b.cleared[number] {
		return e, e.SeqID > 0, nil
	}
	if b.err != nil {
		return DedupeEntry{}, false, b.err
	}
	if !b.view.gen.ids.mayHave(number, id) {
		return DedupeEntry{}, false, nil
	}
	return b.view.dedupe(number, id)
}

// Message returns a message that Lookup found. Its Timeline is empty.
func (b *Batch) Message(number uint64, seq tidemark.SeqID) (tidemark.Message, error) {
	record, err := b.record(number, seq)
	if err != nil {
		return tidemark.Message{}, err
	}
	return decodeMessage("", appendMessageKey(nil, number, seq), record)
}

// IsReference says whether a message of the timeline is an entry of an inbox, whose content
// is another timeline's.
func (b *Batch) IsReference(number uint64, seq tidemark.SeqID) (bool, error) {
	record, err := b.record(number, seq)
	return isReference(record), err
}

// PutMessage writes a message, its dedupe entry, and that of its sender. The head is the caller's to
// put; the message's Timeline is not written, and of a revision entry no content: that is
// in the message that it revises (see ReplaceMessage).
func (b *Batch) PutMessage(number uint64, m *tidemark.Message, content tidemark.ContentHash) {
	if b.err != nil {
		return
	}
	b.putRecord(number, m)
	e := DedupeEntry{SeqID: m.SeqID, Content: [16]byte(content[:16])}
	keyBytes := numberPrefixBytes + len(m.ID)
	data := appendDedupeKey(b.out.reserve(keyBytes + dedupeEntryBytes)[:0], number, m.ID)
	data = binary.BigEndian.AppendUint64(data, uint64(e.SeqID))
	b.out.add(append(data, e.Content[:]...), keyBytes)
	b.places[placeKey{number, string(m.ID)}] = e
	b.view.gen.ids.add(number, m.ID)
	user := tidemark.UserOf(m.Sender)
	if m.Revises != nil {
		user = revisions
	}
	if (user != "" || m.Revises != nil) && b.err == nil {
		b.countSent(number, user, m.SeqID)
	}
	b.changed(tidemark.ChangeAppended, number, m.SeqID)
}

// ReplaceMessage writes a message that is there already, with its revision.
func (b *Batch) ReplaceMessage(number uint64, m *tidemark.Message) {
	if b.err == nil {
		b.putRecord(number, m)
	}
}

// putRecord encodes a message straight into the memory that the buffer keeps.
func (b *Batch) putRecord(number uint64, m *tidemark.Message) {
	size := messageRecordSize(m)
	data := appendMessage(b.reserveMessage(number, m.SeqID, size), m)
	if len(data) != messageKeyBytes+size {
		panic(fmt.Sprintf("pebblestore: message record has %d bytes, and was sized as %d", len(data)-messageKeyBytes, size))
	}
	b.putAt(number, m.SeqID, data)
}

// reserveMessage returns the key of a message, with room for its record behind it.
func (b *Batch) reserveMessage(number uint64, seq tidemark.SeqID, size int) []byte {
	return appendMessageKey(b.out.reserve(messageKeyBytes + size)[:0], number, seq)
}

// putAt writes the record of a message, which is behind its key, of reserveMessage.
func (b *Batch) putAt(number uint64, seq tidemark.SeqID, data []byte) {
	b.out.add(data, messageKeyBytes)
	b.records[recordKey{number, seq}] = data[messageKeyBytes:]
}

// Cursor returns a reader's cursor as this batch would leave it, and false if
// there is none. Its Timeline may be empty.
func (b *Batch) Cursor(number uint64, reader tidemark.ReaderID) (tidemark.Cursor, bool, error) {
	if change, ok := b.cursors[placeKey{number, string(reader)}]; ok {
		return change.cursor, true, nil
	}
	if b.cleared[number] {
		return tidemark.Cursor{}, false, nil
	}
	if b.err != nil {
		return tidemark.Cursor{}, false, b.err
	}
	return b.view.cursor(number, reader)
}

// PutCursor writes a cursor, and the timeline into its reader's index. That
// marks only grow is the caller's to keep.
func (b *Batch) PutCursor(number uint64, c tidemark.Cursor) {
	if b.err != nil {
		return
	}
	key := placeKey{number, string(c.Reader)}
	change, ok := b.cursors[key]
	if !ok {
		change = &cursorChange{}
		if !b.cleared[number] {
			if _, change.indexed, b.err = b.view.cursor(number, c.Reader); b.err != nil {
				return
			}
		}
		b.cursors[key] = change
		b.cursorOrder = append(b.cursorOrder, key)
	}
	change.cursor = c
}

// SetApplied sets the applied record that the batch leaves. Its index is at least
// the present one.
func (b *Batch) SetApplied(a tidemark.Applied) {
	last := b.store.Applied()
	if bytes.Equal(a.Membership, last.Membership) {
		a.Membership = last.Membership
	} else {
		a.Membership = bytes.Clone(a.Membership)
	}
	b.applied = &a
}

// Commit writes the batch, all of it or nothing, and publishes it to reads. It
// does not wait for the disk: see Sync. It ends the batch even if it fails; what
// the batch would have written may then be written or not, and the store is to be closed.
func (b *Batch) Commit() error {
	if b.done {
		return errors.New("commit batch: it has ended already")
	}
	defer b.Discard()
	if b.err != nil {
		return fmt.Errorf("commit batch: %w", b.err)
	}
	g := b.view.gen
	last := g.last.Load()
	if b.applied == nil || b.applied.Index < last.applied.Index {
		return fmt.Errorf("commit batch: it must set an applied index of at least %d", last.applied.Index)
	}
	b.writeRecords()
	b.store.writing.Lock()
	defer b.store.writing.Unlock()
	if err := b.store.willRedact(b.redacted); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	g.commit(&b.out)
	for i := range b.out.heads {
		b.store.heads.put(b.out.heads[i].Timeline, b.out.heads[i])
	}
	b.rememberSent()
	b.store.didRedact(b.redacted)
	if b.level != 0 {
		g.level.Store(b.level)
	}
	g.last.Store(&commit{applied: *b.applied, number: last.number + 1})
	return nil
}

// writeRecords adds what can change more than once within a batch.
func (b *Batch) writeRecords() {
	var key, value []byte
	for _, at := range b.cursorOrder {
		change := b.cursors[at]
		key, value = appendCursorKey(key[:0], at.number, change.cursor.Reader), appendCursor(value[:0], &change.cursor)
		b.out.set(key, value)
		if change.indexed {
			continue
		}
		key, value = appendReaderKey(key[:0], change.cursor.Reader, at.number), value[:0]
		b.out.set(key, value)
	}
	if b.level != 0 {
		key, value = append(key[:0], keyLevel...), appendLevel(value[:0], b.level)
		b.out.set(key, value)
	}
	if b.feed != nil {
		key, value = append(key[:0], keyFeed...), appendFeed(value[:0], *b.feed)
		b.out.set(key, value)
	}
	if b.nextNumber != 0 {
		key, value = append(key[:0], keyNextNumber...), binary.BigEndian.AppendUint64(value[:0], b.nextNumber)
		b.out.set(key, value)
	}
	key, value = append(key[:0], keyApplied...), appendApplied(value[:0], b.applied)
	b.out.set(key, value)
}

// Discard drops the batch. It is a no-op after Commit.
func (b *Batch) Discard() {
	if b.done {
		return
	}
	b.done = true
	if b.view != nil {
		b.view.close()
	}
	b.store.batchOpen.Store(false)
}
