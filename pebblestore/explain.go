package pebblestore

import (
	"sort"

	"tidemark"
)

// Explain says what is known of a message, by its SeqID or, if that is 0, by its id. It
// lists up to limit inboxes and cursors. ErrTimelineNotFound and ErrMessageNotFound are
// returned as by Get.
func (s *Store) Explain(id tidemark.TimelineID, seq tidemark.SeqID, message tidemark.MessageID, limit int) (e tidemark.Explained, err error) {
	v, err := s.view()
	if err != nil {
		return e, err
	}
	defer v.close()
	if e.Head, err = v.mustHead(id); err != nil {
		return e, err
	}
	if seq == 0 {
		if seq, err = v.seqOf(&e.Head, message); err != nil {
			return e, err
		}
	}
	if err := holds(&e.Head, seq); err != nil {
		return e, err
	}
	if e.Message, e.Applied, err = v.messageAndApplied(&e.Head, seq); err != nil {
		return e, err
	}
	if e.Index, err = v.entryOf(e.Head.Number, &e.Message); err != nil {
		return e, err
	}
	if err := v.explainInboxes(&e, limit); err != nil {
		return e, err
	}
	return e, v.explainCursors(&e, limit)
}

func (v *view) explainInboxes(e *tidemark.Explained, limit int) error {
	list, err := v.deliveries(e.Head.Number, e.Message.SeqID)
	if err != nil {
		return err
	}
	e.InboxCount = len(list)
	for _, delivery := range list[:min(len(list), limit)] {
		inbox, err := v.timelineID(delivery.Inbox)
		if err != nil {
			return err
		}
		head, found, err := v.head(inbox)
		if err != nil {
			return err
		}
		e.Inboxes = append(e.Inboxes, tidemark.InboxEntry{Inbox: inbox, SeqID: delivery.SeqID, Gone: !found || delivery.SeqID < head.First})
	}
	return nil
}

func (v *view) explainCursors(e *tidemark.Explained, limit int) error {
	number := e.Head.Number
	return v.scan(appendNumberPrefix(nil, tableCursor, number), cursorsAfter(number, ""), func(key, record []byte) (bool, error) {
		c, err := decodeCursor(key, record)
		if err != nil {
			return false, err
		}
		e.CursorCount++
		if c.Read >= e.Message.SeqID {
			e.ReadCount++
		}
		if c.Delivered < e.Message.SeqID {
			return true, nil
		}
		e.DeliveredCount++
		if len(e.Cursors) < limit {
			c.Timeline = e.Head.Timeline
			e.Cursors = append(e.Cursors, c)
		}
		return true, nil
	})
}

// maxEntrySearch is how many log entries around the likely one are looked at for a message.
const maxEntrySearch = 16 << 10

// entryOf finds the log entry that appended a message, by what the change feed says; it is 0
// if that does not go back to it. The leader's time of an entry is the server time of its
// messages, unless a clock was set back between two leaders. So the search begins where
// the feed's times reach the message's, and looks on in both directions from there.
func (v *view) entryOf(number uint64, m *tidemark.Message) (uint64, error) {
	f, err := v.mustFeed()
	if err != nil {
		return 0, nil // there is no feed
	}
	applied, err := v.appliedIndex()
	if err != nil {
		return 0, err
	}
	if m.Source != nil {
		return 0, nil // the feed has references by their source only
	}
	near, err := v.entryAt(f.first, applied, m.ServerTime)
	if err != nil {
		return 0, err
	}
	low := f.first
	if near > maxEntrySearch {
		low = max(low, near-maxEntrySearch)
	}
	found := uint64(0)
	var runs []tidemark.ChangeRun
	err = v.scan([]byte{tableChange}, appendChangeKey(nil, low), func(key, record []byte) (bool, error) {
		index, ok := splitChangeKey(key)
		if !ok {
			return false, damaged(key, "key is malformed")
		}
		if _, runs, err = decodeChanges(key, record, runs[:0]); err != nil {
			return false, err
		}
		for i := range runs {
			r := &runs[i]
			if r.Kind == tidemark.ChangeAppended && r.Timeline == number && r.Seq <= m.SeqID && m.SeqID < r.Seq+tidemark.SeqID(r.Count) {
				found = index
			}
		}
		return found == 0 && index < near+maxEntrySearch, nil
	})
	return found, err
}

// entryAt is about the first entry from one to another whose leader's time is at least now.
func (v *view) entryAt(from, to uint64, now tidemark.Time) (uint64, error) {
	var err error
	n := sort.Search(int(to-from+1), func(i int) bool {
		if err != nil {
			return true
		}
		reached := true // there is no change from here on
		err = v.scan([]byte{tableChange}, appendChangeKey(nil, from+uint64(i)), func(key, record []byte) (bool, error) {
			t, err := changesTime(key, record)
			reached = t >= now
			return false, err
		})
		return reached
	})
	return from + uint64(n), err
}
