package pebblestore

import "tidemark"

// maxCheckedHeads bounds the heads that a check of the change feed remembers.
const maxCheckedHeads = 1 << 14

// checkChanges reads the change feed: its records are those of entries from its start to
// the applied index, and what they name is there or was.
func (c *checker) checkChanges() error {
	f, found, err := c.look.feed()
	if err != nil {
		return err
	}
	applied := c.report.Applied.Index
	if found && f.first > applied+1 {
		return damaged(keyFeed, "its first entry is %d, and the last that was applied %d", f.first, applied)
	}
	heads := make(map[uint64]tidemark.Head)
	var runs []tidemark.ChangeRun
	prefix := []byte{tableChange}
	return c.changes.scan(prefix, prefix, func(key, record []byte) (bool, error) {
		index, ok := splitChangeKey(key)
		if !ok || !found || index < f.first || index > applied {
			return false, damaged(key, "key has no place in the change feed")
		}
		if _, runs, err = decodeChanges(key, record, runs[:0]); err != nil {
			return false, err
		}
		for i := range runs {
			if err := c.checkRun(key, &runs[i], heads); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// checkRun checks that what a run names does not lie behind the end of its timeline, and
// that what it says to be gone is.
func (c *checker) checkRun(key []byte, run *tidemark.ChangeRun, heads map[uint64]tidemark.Head) error {
	h, known := heads[run.Timeline]
	if !known {
		if run.Timeline >= c.next {
			return damaged(key, "there is no timeline number %d", run.Timeline)
		}
		id, err := c.look.timelineID(run.Timeline)
		if err != nil {
			return err
		}
		if h, _, err = c.look.anyHead(id); err != nil {
			return err
		}
		if len(heads) == maxCheckedHeads {
			clear(heads)
		}
		heads[run.Timeline] = h
	}
	end := run.Seq + tidemark.SeqID(run.Count) - 1
	if run.Kind == tidemark.ChangeAppended && (end < run.Seq || end > h.Last) ||
		run.Kind == tidemark.ChangeTrimmed && run.Seq > h.First ||
		run.Kind == tidemark.ChangeDeleted && run.Seq >= h.First {
		return damaged(key, "%q holds %d to %d: it cannot have had a change of kind %d at %d", h.Timeline, h.First, h.Last, run.Kind, end)
	}
	return nil
}
