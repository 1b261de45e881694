package pebblestore

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"tidemark"
)

// Cursor returns the cursor of a reader, and false if it never acknowledged
// anything in the timeline, or ErrTimelineNotFound.
func (s *Store) Cursor(id tidemark.TimelineID, reader tidemark.ReaderID) (tidemark.Cursor, bool, error) {
	v, err := s.view()
	if err != nil {
		return tidemark.Cursor{}, false, err
	}
	defer v.close()
	h, err := v.mustHead(id)
	if err != nil {
		return tidemark.Cursor{}, false, err
	}
	c, found, err := v.cursor(h.Number, reader)
	c.Timeline = h.Timeline
	return c, found, err
}

// CursorsByTimeline pages the cursors of a timeline that have read at least
// readAtLeast (0 for all), in byte order of their readers, after one of them (""
// for the start). It costs a step for each cursor that it passes over.
func (s *Store) CursorsByTimeline(id tidemark.TimelineID, readAtLeast tidemark.SeqID, after tidemark.ReaderID, limit int) (page tidemark.CursorPage, err error) {
	if err := validateLimit(limit); err != nil {
		return page, err
	}
	err = s.eachCursor(id, readAtLeast, after, &page.Applied, func(h *tidemark.Head, c tidemark.Cursor) bool {
		if len(page.Cursors) == limit {
			page.More = true
			return false
		}
		page.Cursors = append(page.Cursors, c)
		page.Heads = append(page.Heads, *h)
		return true
	})
	return page, err
}

// CountCursors counts what CursorsByTimeline lists.
func (s *Store) CountCursors(id tidemark.TimelineID, readAtLeast tidemark.SeqID) (count, applied uint64, err error) {
	err = s.eachCursor(id, readAtLeast, "", &applied, func(*tidemark.Head, tidemark.Cursor) bool {
		count++
		return true
	})
	return count, applied, err
}

// eachCursor visits the cursors of a timeline until visit returns false.
func (s *Store) eachCursor(id tidemark.TimelineID, readAtLeast tidemark.SeqID, after tidemark.ReaderID, applied *uint64, visit func(*tidemark.Head, tidemark.Cursor) bool) error {
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.close()
	h, err := v.mustHead(id)
	if err != nil {
		return err
	}
	if *applied, err = v.appliedIndex(); err != nil {
		return err
	}
	prefix := appendNumberPrefix(nil, tableCursor, h.Number)
	return v.scan(prefix, cursorsAfter(h.Number, after), func(key, record []byte) (bool, error) {
		c, err := decodeCursor(key, record)
		if err != nil || c.Read < readAtLeast {
			return true, err
		}
		c.Timeline = h.Timeline
		return visit(&h, c), nil
	})
}

// cursorsAfter is the least key that a reader after the given one can have.
func cursorsAfter(number uint64, after tidemark.ReaderID) []byte {
	key := appendCursorKey(nil, number, after)
	if after != "" {
		key = append(key, 0)
	}
	return key
}

// CursorsByReader pages the cursors of a reader in the order of their timelines'
// numbers, after one of them (0 for the start), with what is unread. A reader without cursors has an empty page.
func (s *Store) CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (page tidemark.CursorPage, err error) {
	if err := validateLimit(limit); err != nil {
		return page, err
	}
	v, err := s.view()
	if err != nil {
		return page, err
	}
	defer v.close()
	if page.Applied, err = v.appliedIndex(); err != nil || after+1 == 0 {
		return page, err
	}
	numbers, err := v.timelinesOf(reader, after+1, limit+1)
	if err != nil {
		return page, err
	}
	if page.More = len(numbers) > limit; page.More {
		numbers = numbers[:limit]
	}
	for _, number := range numbers {
		if err := v.addReaderCursor(&page, reader, number); err != nil {
			return tidemark.CursorPage{}, err
		}
	}
	return page, nil
}

// Conversations pages the cursors of a reader by newest activity: the timeline whose last
// message is the newest comes first. It begins behind a place of an earlier page (nil for
// the start); a timeline with activity since then is not shown again, but on the next
// first page. It costs two look-ups for each timeline of the reader, of which there may
// be tidemark.MaxConversations.
func (s *Store) Conversations(reader tidemark.ReaderID, after *tidemark.Activity, limit int) (page tidemark.CursorPage, err error) {
	if err := validateLimit(limit); err != nil {
		return page, err
	}
	v, err := s.view()
	if err != nil {
		return page, err
	}
	defer v.close()
	if page.Applied, err = v.appliedIndex(); err != nil {
		return page, err
	}
	places, err := v.activities(reader)
	if err != nil {
		return page, err
	}
	slices.SortFunc(places, func(a, b tidemark.Activity) int { return -compareActivity(a, b) })
	if after != nil {
		n, found := slices.BinarySearchFunc(places, *after, func(a, b tidemark.Activity) int { return -compareActivity(a, b) })
		if found {
			n++
		}
		places = places[n:]
	}
	if page.More = len(places) > limit; page.More {
		places = places[:limit]
	}
	for _, place := range places {
		if err := v.addReaderCursor(&page, reader, place.Number); err != nil {
			return tidemark.CursorPage{}, err
		}
	}
	return page, nil
}

func compareActivity(a, b tidemark.Activity) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Number, b.Number))
}

// activities are the places of all timelines in which the reader has a cursor.
func (v *view) activities(reader tidemark.ReaderID) ([]tidemark.Activity, error) {
	numbers, err := v.timelinesOf(reader, 1, tidemark.MaxConversations+1)
	if err != nil {
		return nil, err
	}
	if len(numbers) > tidemark.MaxConversations {
		return nil, tidemark.Invalid("order", "by activity is for readers of at most %d timelines", tidemark.MaxConversations)
	}
	places := make([]tidemark.Activity, len(numbers))
	for i, number := range numbers {
		id, err := v.timelineID(number)
		if err != nil {
			return nil, err
		}
		h, err := v.mustHead(id)
		if err != nil {
			return nil, err
		}
		places[i] = tidemark.Activity{Time: h.LastTime, Number: number}
	}
	return places, nil
}

// timelinesOf returns up to limit numbers, from one on, of timelines in which the reader has a cursor.
func (v *view) timelinesOf(reader tidemark.ReaderID, from uint64, limit int) ([]uint64, error) {
	var numbers []uint64
	prefix := appendReaderPrefix(nil, reader)
	err := v.scan(prefix, binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], from), func(key, _ []byte) (bool, error) {
		_, number, ok := splitReaderKey(key)
		if !ok {
			return false, damaged(key, "key is malformed")
		}
		numbers = append(numbers, number)
		return len(numbers) < limit, nil
	})
	return numbers, err
}

func (v *view) addReaderCursor(page *tidemark.CursorPage, reader tidemark.ReaderID, number uint64) error {
	c, found, err := v.cursor(number, reader)
	if err == nil && !found {
		err = damaged(v.key, "record is missing")
	}
	if err != nil {
		return err
	}
	if c.Timeline, err = v.timelineID(number); err != nil {
		return err
	}
	h, found, err := v.head(c.Timeline)
	if err == nil && !found {
		err = damaged(v.key, "record is missing")
	}
	if err != nil {
		return err
	}
	unread, err := v.unread(&h, &c)
	if err != nil {
		return err
	}
	page.Cursors = append(page.Cursors, c)
	page.Heads = append(page.Heads, h)
	page.Unread = append(page.Unread, unread)
	return nil
}

// Timelines pages the timelines whose ids start with prefix, in byte order of the
// ids, after one of them ("" for the start).
func (s *Store) Timelines(prefix string, after tidemark.TimelineID, limit int) (page tidemark.TimelinePage, err error) {
	if err := validateLimit(limit); err != nil {
		return page, err
	}
	v, err := s.view()
	if err != nil {
		return page, err
	}
	defer v.close()
	if page.Applied, err = v.appliedIndex(); err != nil {
		return page, err
	}
	from := prefix
	if after != "" && strings.Compare(string(after)+"\x00", prefix) > 0 {
		from = string(after) + "\x00"
	}
	err = v.scan(appendHeadKey(nil, tidemark.TimelineID(prefix)), appendHeadKey(nil, tidemark.TimelineID(from)), func(key, record []byte) (bool, error) {
		h, err := decodeHead(key, record)
		if err != nil || h.Deleted {
			return true, err
		}
		if len(page.Timelines) == limit {
			page.More = true
			return false, nil
		}
		page.Timelines = append(page.Timelines, tidemark.Described{Head: h})
		return true, nil
	})
	for i := 0; i < len(page.Timelines) && err == nil; i++ {
		described := &page.Timelines[i]
		described.Attributes, err = v.attributes(described.Head.Number)
	}
	return page, err
}

// CountTimelines counts what Timelines lists. It costs a step for each.
func (s *Store) CountTimelines(prefix string) (count, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return 0, 0, err
	}
	defer v.close()
	if applied, err = v.appliedIndex(); err != nil {
		return 0, 0, err
	}
	key := appendHeadKey(nil, tidemark.TimelineID(prefix))
	err = v.scan(key, key, func(key, record []byte) (bool, error) {
		h, err := decodeHead(key, record)
		if !h.Deleted {
			count++
		}
		return true, err
	})
	return count, applied, err
}

// Describe returns a timeline with its attributes, and an applied index that covers it, or
// ErrTimelineNotFound.
func (s *Store) Describe(id tidemark.TimelineID) (d tidemark.Described, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return d, 0, err
	}
	defer v.close()
	if d.Head, err = v.mustHead(id); err != nil {
		return d, 0, err
	}
	if d.Attributes, err = v.attributes(d.Head.Number); err != nil {
		return d, 0, err
	}
	applied, err = v.appliedIndex()
	return d, applied, err
}

func validateLimit(limit int) error {
	if limit <= 0 {
		return tidemark.Invalid("limit", "is %d; must be positive", limit)
	}
	return nil
}
