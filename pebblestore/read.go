package pebblestore

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"tidemark"
)

// Head returns the head of a timeline, or ErrTimelineNotFound.
func (s *Store) Head(id tidemark.TimelineID) (tidemark.Head, error) {
	h, _, err := s.GetHead(id)
	return h, err
}

// GetHead is Head with an applied index that covers what it shows.
func (s *Store) GetHead(id tidemark.TimelineID) (h tidemark.Head, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return tidemark.Head{}, 0, err
	}
	defer v.close()
	if h, err = v.mustHead(id); err != nil {
		return tidemark.Head{}, 0, err
	}
	applied, err = v.appliedIndex()
	return h, applied, err
}

// Get returns a message by its SeqID, with an applied index that covers it, or
// ErrTimelineNotFound or ErrMessageNotFound.
func (s *Store) Get(id tidemark.TimelineID, seq tidemark.SeqID) (m tidemark.Message, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return tidemark.Message{}, 0, err
	}
	defer v.close()
	h, err := v.mustHead(id)
	if err != nil {
		return tidemark.Message{}, 0, err
	}
	if err := holds(&h, seq); err != nil {
		return tidemark.Message{}, 0, err
	}
	return v.messageAndApplied(&h, seq)
}

// holds is nil if a timeline holds the message, and else ErrMessageNotFound.
func holds(h *tidemark.Head, seq tidemark.SeqID) error {
	if seq < h.First || seq > h.Last {
		return fmt.Errorf("%w: %q holds %d to %d, not %d", tidemark.ErrMessageNotFound, h.Timeline, h.First, h.Last, seq)
	}
	return nil
}

// GetByID is Get by message id.
func (s *Store) GetByID(id tidemark.TimelineID, message tidemark.MessageID) (m tidemark.Message, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return tidemark.Message{}, 0, err
	}
	defer v.close()
	h, err := v.mustHead(id)
	if err != nil {
		return tidemark.Message{}, 0, err
	}
	seq, err := v.seqOf(&h, message)
	if err != nil {
		return tidemark.Message{}, 0, err
	}
	return v.messageAndApplied(&h, seq)
}

// seqOf is the SeqID of the message with an id, or ErrMessageNotFound.
func (v *view) seqOf(h *tidemark.Head, message tidemark.MessageID) (tidemark.SeqID, error) {
	e, found, err := v.dedupe(h.Number, message)
	if err == nil && !found {
		err = fmt.Errorf("%w: %q holds no message id %q", tidemark.ErrMessageNotFound, h.Timeline, message)
	}
	return e.SeqID, err
}

func (v *view) messageAndApplied(h *tidemark.Head, seq tidemark.SeqID) (tidemark.Message, uint64, error) {
	m, err := v.message(h.Timeline, h.Number, seq)
	if err != nil {
		return tidemark.Message{}, 0, err
	}
	applied, err := v.appliedIndex()
	return m, applied, err
}

// Read returns one page of a timeline, or ErrTimelineNotFound. A start outside of
// what the timeline holds is not an error: the page begins at the nearest message
// in the direction of the range, and is empty if there is none. The page's
// PreviousDigest then is that of the end from which it would have gone on.
func (s *Store) Read(r tidemark.Range) (tidemark.Page, error) {
	if r.Limit <= 0 {
		return tidemark.Page{}, tidemark.Invalid("limit", "is %d; must be positive", r.Limit)
	}
	if r.MaxBytes <= 0 {
		return tidemark.Page{}, tidemark.Invalid("max_bytes", "is %d; must be positive", r.MaxBytes)
	}
	v, err := s.view()
	if err != nil {
		return tidemark.Page{}, err
	}
	defer v.close()
	h, err := v.mustHead(r.Timeline)
	if err != nil {
		return tidemark.Page{}, err
	}
	seq, direction, err := v.start(&h, &r)
	if err != nil {
		return tidemark.Page{}, err
	}
	page := tidemark.Page{Head: h}
	if r.Reader != "" {
		cursor, err := v.cursorOrNone(&h, r.Reader)
		if err != nil {
			return tidemark.Page{}, err
		}
		page.Floor = cursor.Floor
	}
	if r.Memory != nil {
		page.Messages, v.piece = r.Memory.Messages[:0], r.Memory.Bytes[:0]
		defer v.giveBack(r.Memory, &page)
	}
	lowest := max(h.First, page.Floor)
	if direction == tidemark.Forward {
		err = v.readForward(&page, max(seq, lowest), &r)
	} else {
		err = v.readBackward(&page, min(seq, h.Last), lowest, &r)
	}
	if err != nil {
		return tidemark.Page{}, err
	}
	page.Applied, err = v.appliedIndex()
	return page, err
}

// giveBack keeps the memory that a page has grown to for the next one.
func (v *view) giveBack(m *tidemark.PageMemory, page *tidemark.Page) {
	if m.Messages = page.Messages; cap(v.piece) > cap(m.Bytes) {
		m.Bytes = v.piece
	}
}

// start finds the SeqID at which the page starts, and the direction. Backward,
// 0 is before all messages; forward, Last+1 is after all of them.
func (v *view) start(h *tidemark.Head, r *tidemark.Range) (tidemark.SeqID, tidemark.Direction, error) {
	switch r.Start {
	case tidemark.StartSeq:
		return r.Seq, r.Direction, nil
	case tidemark.StartBefore:
		return max(r.Seq, 1) - 1, tidemark.Backward, nil
	case tidemark.StartNewest:
		return h.Last, tidemark.Backward, nil
	case tidemark.StartTime:
		if r.Direction == tidemark.Forward {
			seq, err := v.firstAt(h, func(t tidemark.Time) bool { return t >= r.Time })
			return seq, tidemark.Forward, err
		}
		seq, err := v.firstAt(h, func(t tidemark.Time) bool { return t > r.Time })
		return seq - 1, tidemark.Backward, err
	}
	return 0, 0, tidemark.Invalid("start", "is %d, which is unknown", r.Start)
}

// firstAt returns the first message whose server time passes, or Last+1. Once
// one passes, all after it must.
func (v *view) firstAt(h *tidemark.Head, pass func(tidemark.Time) bool) (tidemark.SeqID, error) {
	var failed error
	offset := sort.Search(int(h.Count()), func(i int) bool {
		if failed != nil {
			return true
		}
		record, err := v.record(h.Number, h.First+tidemark.SeqID(i))
		if err != nil {
			failed = err
			return true
		}
		t, err := messageServerTime(v.key, record)
		if err != nil {
			failed = err
		}
		return pass(t)
	})
	return h.First + tidemark.SeqID(offset), failed
}

// readForward fills the page from first on, which is at least h.First.
func (v *view) readForward(page *tidemark.Page, first tidemark.SeqID, r *tidemark.Range) error {
	h := &page.Head
	if first > h.Last {
		page.PreviousDigest = h.Digest
		return nil
	}
	count := int(min(uint64(r.Limit), uint64(h.Last-first)+1))
	v.ahead = min(count, tidemark.MaxPageMessages)
	page.Messages = slices.Grow(page.Messages, v.ahead)
	// The message before the page is passed on the way, for its digest.
	seq := first
	if first > h.First {
		seq--
	} else {
		page.PreviousDigest = h.FirstDigest()
	}
	size := 0
	v.key = appendMessageKey(v.key[:0], h.Number, seq)
	for ok := v.iter.seekGE(v.key); len(page.Messages) < count; ok = v.iter.next() {
		record, err := v.recordHere(ok, h.Number, seq)
		if err != nil {
			return err
		}
		if seq < first {
			if page.PreviousDigest, err = messageDigest(v.key, record); err != nil {
				return err
			}
		} else if full, err := v.addMessage(page, v.key, record, r.MaxBytes, &size); err != nil || full {
			page.More = true
			return err
		}
		seq++
	}
	page.More = seq <= h.Last
	return nil
}

// readBackward fills the page with messages from last, which is at most h.Last, down to
// lowest, which is at least h.First.
func (v *view) readBackward(page *tidemark.Page, last, lowest tidemark.SeqID, r *tidemark.Range) (err error) {
	h := &page.Head
	if last < lowest {
		page.PreviousDigest, err = v.digestBefore(h, lowest)
		return err
	}
	count := int(min(uint64(r.Limit), uint64(last-lowest)+1))
	v.ahead = min(count, tidemark.MaxPageMessages)
	page.Messages = slices.Grow(page.Messages, v.ahead)
	seq, size, full := last, 0, false
	v.key = appendMessageKey(v.key[:0], h.Number, last+1)
	ok := v.iter.seekLT(v.key)
	for ; len(page.Messages) < count && !full; ok = v.iter.prev() {
		record, err := v.recordHere(ok, h.Number, seq)
		if err != nil {
			return err
		}
		if full, err = v.addMessage(page, v.key, record, r.MaxBytes, &size); err != nil {
			return err
		}
		if full {
			break
		}
		seq--
	}
	// seq is the message before the page, where the iterator stands.
	slices.Reverse(page.Messages)
	page.More = seq >= lowest
	if seq < h.First {
		page.PreviousDigest = h.FirstDigest()
		return nil
	}
	record, err := v.recordHere(ok, h.Number, seq)
	if err != nil {
		return err
	}
	page.PreviousDigest, err = messageDigest(v.key, record)
	return err
}

// digestBefore is the digest that the chain of the messages from seq on starts from.
func (v *view) digestBefore(h *tidemark.Head, seq tidemark.SeqID) (tidemark.Digest, error) {
	if seq <= h.First {
		return h.FirstDigest(), nil
	}
	record, err := v.record(h.Number, seq-1)
	if err != nil {
		return tidemark.Digest{}, err
	}
	return messageDigest(v.key, record)
}

// recordHere returns the record at the iterator's position, where the message
// must be: what lies between first and last is there, or the store is damaged.
func (v *view) recordHere(positioned bool, number uint64, seq tidemark.SeqID) ([]byte, error) {
	v.key = appendMessageKey(v.key[:0], number, seq)
	if !positioned {
		if err := v.err(v.key); err != nil {
			return nil, err
		}
	}
	if !positioned || !bytes.Equal(v.iter.key(), v.key) {
		return nil, damaged(v.key, "record is missing")
	}
	return v.value()
}

// addMessage appends the record's message to the page, or reports that it is full.
func (v *view) addMessage(page *tidemark.Page, key, record []byte, maxBytes int, size *int) (full bool, err error) {
	m, err := v.decode(page.Head.Timeline, key, record)
	if err != nil {
		return false, err
	}
	*size += m.Size()
	if *size > maxBytes && len(page.Messages) > 0 {
		return true, nil
	}
	page.Messages = append(page.Messages, m)
	return false, nil
}
