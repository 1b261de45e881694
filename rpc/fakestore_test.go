package rpc

import (
	"context"
	"slices"
	"sync/atomic"

	"tidemark"
	"tidemark/fsm"
)

// fakeStore holds one timeline, "t", of ten messages "m1" to "m10", and cursors of it.
type fakeStore struct {
	ranges atomic.Pointer[tidemark.Range]
	pulls  atomic.Pointer[tidemark.Pull]
	// read answers Read; nil gives the ten messages' head and no message.
	read func(tidemark.Range) (tidemark.Page, error)
	// recipients is the size of each recipient set, missingLevels how much is missing to
	// the present feature level.
	recipients    uint64
	missingLevels uint32
}

var fakeHead = tidemark.Head{Timeline: "t", Number: 1, First: 1, Last: 10, Bytes: 100, CreatedTime: 1, LastTime: 10}

func (s *fakeStore) GetHead(id tidemark.TimelineID) (tidemark.Head, uint64, error) {
	if id != "t" {
		return tidemark.Head{}, 0, tidemark.ErrTimelineNotFound
	}
	return fakeHead, 20, nil
}
func (s *fakeStore) Read(r tidemark.Range) (tidemark.Page, error) {
	s.ranges.Store(&r)
	if r.Timeline != "t" {
		return tidemark.Page{}, tidemark.ErrTimelineNotFound
	}
	if s.read != nil {
		return s.read(r)
	}
	return tidemark.Page{Head: fakeHead, Applied: 20}, nil
}

// Pull finds a message in each timeline that is asked for.
func (s *fakeStore) Pull(p tidemark.Pull) (page tidemark.PullPage, err error) {
	s.pulls.Store(&p)
	for _, at := range p.Positions {
		page.Timelines = append(page.Timelines, tidemark.Pulled{
			Head: tidemark.Head{Timeline: at.Timeline, First: 4, Last: 9}, After: at.After, Class: at.Class, More: true,
			Messages: []tidemark.Message{{SeqID: 4, Draft: tidemark.Draft{Timeline: at.Timeline, ClientTime: tidemark.NoTime}}},
			Cursor:   tidemark.Cursor{Timeline: at.Timeline, Reader: p.Reader, Delivered: 3},
		})
	}
	page.More, page.Applied = true, 20
	return page, nil
}
func (s *fakeStore) Digests(id tidemark.TimelineID, seqs []tidemark.SeqID) (digests []tidemark.Digest, h tidemark.Head, applied uint64, err error) {
	if id != "t" {
		return nil, h, 0, tidemark.ErrTimelineNotFound
	}
	for _, seq := range seqs {
		if seq <= 10 {
			digests = append(digests, tidemark.Digest{byte(seq)})
		}
	}
	return digests, fakeHead, 20, nil
}
func (s *fakeStore) Get(id tidemark.TimelineID, seq tidemark.SeqID) (tidemark.Message, uint64, error) {
	if id != "t" || seq > 10 {
		return tidemark.Message{}, 0, tidemark.ErrMessageNotFound
	}
	return tidemark.Message{SeqID: seq, Draft: tidemark.Draft{Timeline: id, ClientTime: tidemark.NoTime}}, 20, nil
}
func (s *fakeStore) GetByID(id tidemark.TimelineID, message tidemark.MessageID) (tidemark.Message, uint64, error) {
	m, applied, err := s.Get(id, 3)
	m.ID = message
	return m, applied, err
}
func (s *fakeStore) CursorsByTimeline(id tidemark.TimelineID, _ tidemark.SeqID, after tidemark.ReaderID, limit int) (page tidemark.CursorPage, err error) {
	for _, reader := range []tidemark.ReaderID{"a", "b", "c"} {
		if reader > after && len(page.Cursors) < limit {
			page.Cursors = append(page.Cursors, tidemark.Cursor{Timeline: id, Reader: reader, Read: 1, Delivered: 2})
			page.Heads = append(page.Heads, fakeHead)
		}
	}
	page.More = limit < 3 && after != "b" && after != "c" && !(after == "a" && limit == 2)
	page.Applied = 20
	return page, nil
}
func (s *fakeStore) CountCursors(tidemark.TimelineID, tidemark.SeqID) (uint64, uint64, error) {
	return 3, 20, nil
}
func (s *fakeStore) CursorsByReader(reader tidemark.ReaderID, after uint64, limit int) (page tidemark.CursorPage, err error) {
	for number := after + 1; number <= 3 && len(page.Cursors) < limit; number++ {
		page.Cursors = append(page.Cursors, tidemark.Cursor{Timeline: "t", Reader: reader})
		page.Heads = append(page.Heads, tidemark.Head{Number: number})
	}
	page.More = int(after)+limit < 3
	return page, nil
}
func (s *fakeStore) Conversations(reader tidemark.ReaderID, after *tidemark.Activity, limit int) (page tidemark.CursorPage, err error) {
	numbers := []uint64{3, 1, 2}
	if after != nil {
		numbers = numbers[slices.Index(numbers, after.Number)+1:]
	}
	for _, number := range numbers[:min(limit, len(numbers))] {
		page.Cursors = append(page.Cursors, tidemark.Cursor{Timeline: "t", Reader: reader})
		page.Heads = append(page.Heads, tidemark.Head{Number: number})
		page.Unread = append(page.Unread, number)
	}
	page.More = limit < len(numbers)
	return page, nil
}
func (s *fakeStore) Recipients(id, after tidemark.TimelineID, limit int) (page tidemark.RecipientPage, err error) {
	page.Version, page.Count = 7, 2
	for _, inbox := range []tidemark.TimelineID{"a", "b"} {
		if inbox > after && len(page.Inboxes) < limit {
			page.Inboxes = append(page.Inboxes, inbox)
		}
	}
	page.More = after == "" && limit < 2
	return page, nil
}
func (s *fakeStore) ArmPin(string, uint64) error { return nil }

func (s *fakeStore) PinnedPart(context.Context, string, []byte, int) (tidemark.StatePart, error) {
	return tidemark.StatePart{}, nil
}

func (s *fakeStore) Unpin(string) {}

func (s *fakeStore) Explain(timeline tidemark.TimelineID, seq tidemark.SeqID, id tidemark.MessageID, limit int) (tidemark.Explained, error) {
	return tidemark.Explained{Message: tidemark.Message{Draft: tidemark.Draft{Timeline: timeline, ID: id, ClientTime: tidemark.NoTime}, SeqID: seq}}, nil
}

func (s *fakeStore) CountDeliveries(tidemark.TimelineID, tidemark.SeqID) (int, error) {
	return int(s.recipients), nil
}

func (s *fakeStore) CountRecipients(id tidemark.TimelineID) (uint64, error) { return s.recipients, nil }
func (s *fakeStore) CountTimelines(string) (uint64, uint64, error)          { return 2, 20, nil }
func (s *fakeStore) Describe(id tidemark.TimelineID) (tidemark.Described, uint64, error) {
	h, applied, err := s.GetHead(id)
	return tidemark.Described{Head: h, Attributes: tidemark.Attributes{{Key: "k", Value: "v"}}}, applied, err
}
func (s *fakeStore) Policies() ([]tidemark.Policy, uint64, error) {
	return []tidemark.Policy{{Prefix: "t", MaxMessages: 5}}, 20, nil
}
func (s *fakeStore) TrimPoint(tidemark.TimelineID, *tidemark.Policy, tidemark.Time) (tidemark.SeqID, tidemark.Head, error) {
	return 6, fakeHead, nil
}
func (s *fakeStore) Changes(q tidemark.ChangesQuery) (tidemark.ChangesPage, error) {
	return tidemark.ChangesPage{Next: tidemark.ChangePosition{Feed: 1, Index: 21}, Applied: 20}, nil
}
func (s *fakeStore) ChangesEnd() (tidemark.ChangePosition, error) {
	return tidemark.ChangePosition{Feed: 1, Index: 21}, nil
}
func (s *fakeStore) ChangesTrimPoint(uint64, tidemark.Time) (keep uint64, more bool, err error) {
	return 0, false, nil
}
func (s *fakeStore) Level() uint32 { return fsm.Level - s.missingLevels }
func (s *fakeStore) Timelines(_ string, after tidemark.TimelineID, limit int) (page tidemark.TimelinePage, err error) {
	for _, id := range []tidemark.TimelineID{"t", "u"} {
		if id > after && len(page.Timelines) < limit {
			page.Timelines = append(page.Timelines, tidemark.Described{Head: tidemark.Head{Timeline: id, First: 1}})
		}
	}
	page.More = after == "" && limit < 2
	return page, nil
}
func (s *fakeStore) Applied() tidemark.Applied { return tidemark.Applied{Index: 20} }
