package pebblestore_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tidemark"
	"tidemark/pebblestore"
)

// model is what a store should hold, in maps and slices.
type model struct {
	applied   tidemark.Applied
	timelines map[tidemark.TimelineID]*modelTimeline
	created   []tidemark.TimelineID // in the order of their numbers
}

type modelTimeline struct {
	head     tidemark.Head
	messages []tidemark.Message
	cursors  map[tidemark.ReaderID]tidemark.Cursor
}

func newModel() *model { return &model{timelines: make(map[tidemark.TimelineID]*modelTimeline)} }

func (m *model) clone() *model {
	c := newModel()
	c.applied, c.created = m.applied, slices.Clone(m.created)
	for id, line := range m.timelines {
		copied := &modelTimeline{head: line.head, messages: slices.Clone(line.messages), cursors: make(map[tidemark.ReaderID]tidemark.Cursor)}
		for reader, cursor := range line.cursors {
			copied.cursors[reader] = cursor
		}
		c.timelines[id] = copied
	}
	return c
}

func (m *model) append(d tidemark.Draft, now tidemark.Time) (seq tidemark.SeqID, duplicate bool, err error) {
	line := m.timelines[d.Timeline]
	if line == nil {
		m.created = append(m.created, d.Timeline)
		line = &modelTimeline{cursors: make(map[tidemark.ReaderID]tidemark.Cursor)}
		line.head = tidemark.Head{Timeline: d.Timeline, Number: uint64(len(m.created)), First: 1, CreatedTime: now, LastTime: now, Digest: tidemark.InitialDigest(d.Timeline)}
		m.timelines[d.Timeline] = line
	}
	content := d.Hash(tidemark.HashPayload(d.Payload))
	for i := range line.messages {
		if known := &line.messages[i]; known.ID == d.ID {
			if known.Hash(tidemark.HashPayload(known.Payload)) != content {
				return 0, false, tidemark.ErrMessageIDConflict
			}
			return known.SeqID, true, nil
		}
	}
	h := &line.head
	h.Last++
	h.LastTime = max(h.LastTime, now)
	h.Digest = tidemark.NextDigest(h.Digest, h.Last, h.LastTime, d.ID, content)
	h.Bytes += uint64(d.Size())
	line.messages = append(line.messages, tidemark.Message{Draft: d, SeqID: h.Last, ServerTime: h.LastTime, Digest: h.Digest})
	return h.Last, false, nil
}

func (m *model) acknowledge(id tidemark.TimelineID, reader tidemark.ReaderID, delivered, read tidemark.SeqID, now tidemark.Time) {
	line := m.timelines[id]
	if line == nil {
		return
	}
	c := line.cursors[reader]
	c.Timeline, c.Reader, c.UpdatedTime = id, reader, now
	c.Read = min(max(c.Read, read), line.head.Last)
	c.Delivered = min(max(c.Delivered, delivered, c.Read), line.head.Last)
	line.cursors[reader] = c
}

// read answers a range by filtering all messages.
func (m *model) read(r tidemark.Range) (tidemark.Page, error) {
	line := m.timelines[r.Timeline]
	if line == nil {
		return tidemark.Page{}, tidemark.ErrTimelineNotFound
	}
	forward := r.Start != tidemark.StartBefore && r.Start != tidemark.StartNewest && r.Direction == tidemark.Forward
	var in []tidemark.Message
	for _, message := range line.messages {
		var inside bool
		switch {
		case r.Start == tidemark.StartSeq && forward:
			inside = message.SeqID >= r.Seq
		case r.Start == tidemark.StartSeq:
			inside = message.SeqID <= r.Seq
		case r.Start == tidemark.StartBefore:
			inside = message.SeqID < r.Seq
		case r.Start == tidemark.StartNewest:
			inside = true
		case forward:
			inside = message.ServerTime >= r.Time
		default:
			inside = message.ServerTime <= r.Time
		}
		if inside {
			in = append(in, message)
		}
	}
	page := tidemark.Page{Head: line.head, Applied: m.applied.Index}
	if !forward {
		slices.Reverse(in)
	}
	size := 0
	for _, message := range in {
		size += message.Size()
		if len(page.Messages) == r.Limit || size > r.MaxBytes && len(page.Messages) > 0 {
			page.More = true
			break
		}
		page.Messages = append(page.Messages, message)
	}
	if !forward {
		slices.Reverse(page.Messages)
	}
	page.PreviousDigest = tidemark.InitialDigest(r.Timeline)
	switch {
	case len(page.Messages) > 0 && page.Messages[0].SeqID > 1:
		page.PreviousDigest = line.messages[page.Messages[0].SeqID-2].Digest
	case len(page.Messages) == 0 && forward:
		page.PreviousDigest = line.head.Digest
	}
	return page, nil
}

// same reports how the store differs from the model.
func (m *model) same(t *testing.T, s *pebblestore.Store) {
	t.Helper()
	if got := s.Applied(); !reflect.DeepEqual(got, m.applied) {
		t.Errorf("applied: got %+v, want %+v", got, m.applied)
	}
	ids := slices.Clone(m.created)
	slices.Sort(ids)
	page, err := s.Timelines("", "", len(ids)+1)
	if err != nil || len(page.Timelines) != len(ids) || page.More {
		t.Fatalf("got %d timelines, more=%t, %v; want %d", len(page.Timelines), page.More, err, len(ids))
	}
	for i, id := range ids {
		if page.Timelines[i].Head != m.timelines[id].head {
			t.Errorf("head: got %+v, want %+v", page.Timelines[i].Head, m.timelines[id].head)
		}
		m.sameRange(t, s, tidemark.Range{Timeline: id, Limit: 1 << 20, MaxBytes: 1 << 30})
		m.sameCursors(t, s, id, 0, "", 1<<20)
	}
}

func (m *model) sameRange(t *testing.T, s *pebblestore.Store, r tidemark.Range) {
	t.Helper()
	want, wantErr := m.read(r)
	got, err := s.Read(r)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("read %+v: got %v, want %v", r, err, wantErr)
	}
	if len(got.Messages) == 0 {
		got.Messages = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("read %+v:\ngot  %+v\nwant %+v", r, got, want)
	}
}

func (m *model) sameCursors(t *testing.T, s *pebblestore.Store, id tidemark.TimelineID, read tidemark.SeqID, after tidemark.ReaderID, limit int) {
	t.Helper()
	var want []tidemark.Cursor
	for reader, cursor := range m.timelines[id].cursors {
		if reader > after && cursor.Read >= read {
			want = append(want, cursor)
		}
	}
	slices.SortFunc(want, func(a, b tidemark.Cursor) int { return strings.Compare(string(a.Reader), string(b.Reader)) })
	more := len(want) > limit
	want = want[:min(limit, len(want))]
	got, err := s.CursorsByTimeline(id, read, after, limit)
	if err != nil || !slices.Equal(got.Cursors, want) || got.More != more || len(got.Heads) != len(want) {
		t.Fatalf("cursors of %s from %q reading %d: got %+v, %v; want %+v, more=%t", id, after, read, got, err, want, more)
	}
}

func (m *model) sameReader(t *testing.T, s *pebblestore.Store, reader tidemark.ReaderID, after uint64, limit int) {
	t.Helper()
	want := tidemark.CursorPage{Applied: m.applied.Index}
	for i, id := range m.created {
		cursor, found := m.timelines[id].cursors[reader]
		if !found || uint64(i+1) <= after {
			continue
		}
		if len(want.Cursors) == limit {
			want.More = true
			break
		}
		want.Cursors, want.Heads = append(want.Cursors, cursor), append(want.Heads, m.timelines[id].head)
		want.Unread = append(want.Unread, m.unread(id, cursor))
	}
	got, err := s.CursorsByReader(reader, after, limit)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("timelines of %s: got %+v, %v; want %+v", reader, got, err, want)
	}
}

// unread counts by looking at all messages.
func (m *model) unread(id tidemark.TimelineID, c tidemark.Cursor) (count uint64) {
	for _, message := range m.timelines[id].messages {
		if message.SeqID > c.Read && tidemark.UserOf(message.Sender) != c.Reader.User() {
			count++
		}
	}
	return count
}

// chance makes random operations from few names, so that they meet often.
type chance struct{ *rand.Rand }

func (c chance) timeline() tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("conv/%d", c.IntN(6)))
}

func (c chance) reader() tidemark.ReaderID {
	return tidemark.ReaderID(strings.Repeat("r", 1+c.IntN(4)))
}

func (c chance) draft() tidemark.Draft {
	d := draft(c.timeline(), fmt.Sprintf("m%d", c.IntN(1000)), strings.Repeat("x", c.IntN(8)))
	if c.IntN(20) == 0 {
		d.Payload = make([]byte, 30_000)
	}
	if len(d.Payload) == 0 {
		d.Payload = nil
	}
	if c.IntN(3) == 0 {
		d.ClientTime = tidemark.Time(c.IntN(100))
		d.Sender, d.Type = string(c.reader()), "text"
		if c.IntN(2) == 0 {
			d.Sender += "#phone"
		}
		d.Attributes = tidemark.Attributes{{Key: "k", Value: "v"}}
	}
	return d
}

// batch does the same random writes to the store and to the model, and commits
// them, or one time in ten discards them.
func (c chance) batch(t *testing.T, s *pebblestore.Store, m *model) *model {
	t.Helper()
	next := m.clone()
	b := s.NewBatch()
	defer b.Discard()
	for range 1 + c.IntN(20) {
		now := tidemark.Time(1000*m.applied.Index) + tidemark.Time(c.IntN(3000))
		if c.IntN(4) == 0 {
			id, reader, delivered, read := c.timeline(), c.reader(), tidemark.SeqID(c.IntN(50)), tidemark.SeqID(c.IntN(50))
			_, _ = acknowledge(b, id, reader, delivered, read, now) // of a timeline that may not exist
			next.acknowledge(id, reader, delivered, read, now)
			continue
		}
		d := c.draft()
		seq, duplicate, err := appendDraft(b, d, now)
		wantSeq, wantDuplicate, wantErr := next.append(d, now)
		if seq != wantSeq || duplicate != wantDuplicate || err != wantErr {
			t.Fatalf("append %s %s: got %d, %t, %v; want %d, %t, %v", d.Timeline, d.ID, seq, duplicate, err, wantSeq, wantDuplicate, wantErr)
		}
	}
	next.applied.Index += 1 + uint64(c.IntN(5))
	next.applied.Term++
	if c.IntN(10) == 0 {
		next.applied.Membership, next.applied.MembershipIndex = []byte(fmt.Sprint(next.applied.Index)), next.applied.Index
	}
	if c.IntN(10) == 0 {
		return m
	}
	b.SetApplied(next.applied)
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return next
}

func (c chance) rangeOf(id tidemark.TimelineID) tidemark.Range {
	return tidemark.Range{
		Timeline: id, Start: tidemark.Start(c.IntN(4)), Direction: tidemark.Direction(c.IntN(2)),
		Seq: tidemark.SeqID(c.IntN(60)), Time: tidemark.Time(c.IntN(100_000)),
		Limit: 1 + c.IntN(20), MaxBytes: 1 + c.IntN(200),
	}
}
