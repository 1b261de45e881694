package pebblestore_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

// cost is what a page counts against its budget, and messages how many it holds.
func cost(page *tidemark.PullPage) (bytes, messages int) {
	for i := range page.Timelines {
		t := &page.Timelines[i]
		bytes += tidemark.PullCost(t.Head.Timeline, 0)
		for j := range t.Messages {
			bytes += tidemark.PullCost(t.Head.Timeline, t.Messages[j].Size())
		}
		messages += len(t.Messages)
	}
	return bytes, messages
}

// samePull pulls until nothing is left, and compares what came with all that the model
// holds after the positions that it began with.
func (m *model) samePull(t *testing.T, s *pebblestore.Store, p tidemark.Pull) {
	t.Helper()
	want := map[tidemark.TimelineID][]tidemark.Message{}
	places := map[tidemark.TimelineID]*tidemark.PullPosition{}
	for i := range p.Positions {
		at := &p.Positions[i]
		places[at.Timeline] = at
		line := m.timelines[at.Timeline]
		if line == nil {
			continue
		}
		after := at.After
		if at.FromCursor {
			after = line.cursors[p.Reader].Delivered
		}
		if after < line.head.Last { // beyond it there is no message
			want[at.Timeline] = line.messages[after:]
		}
	}
	got := map[tidemark.TimelineID][]tidemark.Message{}
	p.MaxBytes = max(p.MaxBytes, tidemark.PullCost("conv/0", 0)) // room to say that the reader is ahead
	for more := true; more; {
		page, err := s.Pull(p)
		if err != nil {
			t.Fatal(err)
		}
		bytes, messages := cost(&page)
		if page.Applied != m.applied.Index || bytes > p.MaxBytes && messages > 1 || page.More && len(page.Timelines) == 0 {
			t.Fatalf("page of %d messages and %d bytes, of %d, at index %d, more=%t", messages, bytes, p.MaxBytes, page.Applied, page.More)
		}
		anyMore := false
		for i := range page.Timelines {
			pulled := &page.Timelines[i]
			id := pulled.Head.Timeline
			m.checkPulled(t, &p, pulled)
			if len(pulled.Messages) > 0 {
				got[id] = append(got[id], pulled.Messages...)
			}
			if pulled.After > pulled.Head.Last {
				*places[id] = tidemark.PullPosition{Timeline: id, After: pulled.Head.Last, Class: places[id].Class}
			}
			if n := len(pulled.Messages); n > 0 {
				*places[id] = tidemark.PullPosition{Timeline: id, After: pulled.Messages[n-1].SeqID, Class: places[id].Class}
			}
			anyMore = anyMore || pulled.More
		}
		if anyMore && !page.More {
			t.Fatal("a timeline has more, and the page says that nothing is left")
		}
		more = page.More
		p.Turn++
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("pulled %v\nwant %v", got, want)
	}
}

// checkPulled compares all but the messages with the model.
func (m *model) checkPulled(t *testing.T, p *tidemark.Pull, pulled *tidemark.Pulled) {
	t.Helper()
	line := m.timelines[pulled.Head.Timeline]
	if line == nil && pulled.After > 0 && pulled.Head.Number == 0 && pulled.Head.Count() == 0 && len(pulled.Messages) == 0 {
		return // the reader is ahead of a timeline that is not there
	}
	if line == nil || pulled.Head != line.head || pulled.After == line.head.Last || len(pulled.Messages) > p.MaxMessages {
		t.Fatalf("pulled %+v, which is no news of %+v", pulled, line)
	}
	last := pulled.After
	if n := len(pulled.Messages); n > 0 {
		last = pulled.Messages[n-1].SeqID
		previous := tidemark.InitialDigest(pulled.Head.Timeline)
		if pulled.After > 0 {
			previous = line.messages[pulled.After-1].Digest
		}
		if pulled.Messages[0].SeqID != pulled.After+1 || pulled.PreviousDigest != previous {
			t.Fatalf("messages after %d begin at %d, digest %s", pulled.After, pulled.Messages[0].SeqID, pulled.PreviousDigest)
		}
	}
	if pulled.More != (last < line.head.Last) {
		t.Fatalf("more=%t after %d of %d", pulled.More, last, line.head.Last)
	}
	want, found := line.cursors[p.Reader]
	if p.Reader != "" && !found {
		want = tidemark.Cursor{Timeline: pulled.Head.Timeline, Reader: p.Reader, UpdatedTime: tidemark.NoTime}
	}
	if pulled.Cursor != want {
		t.Fatalf("cursor is %+v, want %+v", pulled.Cursor, want)
	}
}

func (c chance) pull() tidemark.Pull {
	p := tidemark.Pull{MaxBytes: 1 + c.IntN(3000), MaxMessages: 1 + c.IntN(20), Turn: c.Uint64()}
	if c.IntN(2) == 0 {
		p.MaxBytes *= 10
	}
	if c.IntN(2) == 0 {
		p.Reader = c.reader()
	}
	for i := range 7 { // one of them is never there
		if c.IntN(4) > 0 {
			p.Positions = append(p.Positions, tidemark.PullPosition{
				Timeline: tidemark.TimelineID(fmt.Sprintf("conv/%d", i)), After: tidemark.SeqID(c.IntN(30)),
				FromCursor: p.Reader != "" && c.IntN(3) == 0, Class: uint8(c.IntN(3)),
			})
		}
	}
	return p
}

func TestPullIsComplete(t *testing.T) {
	for seed := range uint64(4) {
		c := chance{rand.New(rand.NewPCG(seed, 7))}
		s, m := storetest.Open(t, nil), newModel()
		for range 30 {
			m = c.batch(t, s, m)
			m.samePull(t, s, c.pull())
		}
	}
}

// A timeline with much news leaves room for those with little, and what these do not
// need is its own.
func TestPullIsFair(t *testing.T) {
	s := storetest.Open(t, nil)
	var drafts []tidemark.Draft
	for i := range 500 {
		drafts = append(drafts, draft("busy", fmt.Sprint("m", i), strings.Repeat("x", 100)))
	}
	p := tidemark.Pull{MaxBytes: 40_000, MaxMessages: 1000, Positions: []tidemark.PullPosition{{Timeline: "busy"}}}
	for i := range 9 {
		id := tidemark.TimelineID(fmt.Sprint("calm/", i))
		p.Positions = append(p.Positions, tidemark.PullPosition{Timeline: id})
		for j := range 5 {
			drafts = append(drafts, draft(id, fmt.Sprint("m", j), strings.Repeat("x", 100)))
		}
	}
	commit(t, s, 1, drafts...)
	for p.Turn = range 10 {
		page, err := s.Pull(p)
		if err != nil {
			t.Fatal(err)
		}
		bytes, _ := cost(&page)
		if len(page.Timelines) != 10 || bytes < p.MaxBytes*8/10 {
			t.Errorf("turn %d: %d timelines in %d bytes, of %d", p.Turn, len(page.Timelines), bytes, p.MaxBytes)
		}
		for i := range page.Timelines {
			if got := &page.Timelines[i]; got.More != (got.Head.Timeline == "busy") {
				t.Errorf("turn %d: %s got %d messages, more=%t", p.Turn, got.Head.Timeline, len(got.Messages), got.More)
			}
		}
	}
}

// Two timelines with much news get as much as each other, wherever they stand.
func TestPullSharesEvenly(t *testing.T) {
	s := storetest.Open(t, nil)
	p := tidemark.Pull{MaxBytes: 100_000, MaxMessages: 1000}
	for i := range 50 {
		id := tidemark.TimelineID(fmt.Sprint("conv/", i))
		p.Positions = append(p.Positions, tidemark.PullPosition{Timeline: id})
		messages := 1
		if i == 0 || i == 49 {
			messages = 300
		}
		var drafts []tidemark.Draft
		for j := range messages {
			drafts = append(drafts, draft(id, fmt.Sprint("m", j), strings.Repeat("x", 500)))
		}
		commit(t, s, uint64(i+1), drafts...)
	}
	page, err := s.Pull(p)
	if err != nil {
		t.Fatal(err)
	}
	got := map[tidemark.TimelineID]int{}
	for i := range page.Timelines {
		got[page.Timelines[i].Head.Timeline] = len(page.Timelines[i].Messages)
	}
	first, last := got["conv/0"], got["conv/49"]
	if len(page.Timelines) != 50 || first < 20 || last < 20 || first > 2*last || last > 2*first {
		t.Errorf("%d timelines; the busy ones got %d and %d messages", len(page.Timelines), first, last)
	}
}

// A message that does not fit is looked at once, not in each round, however much else fits.
func TestPullDoesNotLookAgain(t *testing.T) {
	s := storetest.Open(t, nil)
	p := tidemark.Pull{MaxBytes: 256 << 10, MaxMessages: 1000}
	for i := range 60 {
		id := tidemark.TimelineID(fmt.Sprint("conv/", i))
		p.Positions = append(p.Positions, tidemark.PullPosition{Timeline: id})
		commit(t, s, uint64(i+1), draft(id, "small", "x"), draft(id, "large", strings.Repeat("x", tidemark.MaxPayloadBytes)))
	}
	var drafts []tidemark.Draft
	for i := range 900 {
		drafts = append(drafts, draft("many", fmt.Sprint("m", i), "x"))
	}
	p.Positions = append(p.Positions, tidemark.PullPosition{Timeline: "many"})
	commit(t, s, 100, drafts...)
	allocated := testing.AllocsPerRun(1, func() {
		page, err := s.Pull(p)
		if err != nil || len(page.Timelines) != 61 {
			t.Errorf("%d timelines, %v", len(page.Timelines), err)
		}
	})
	if allocated > 10_000 { // a message that is decoded costs some
		t.Errorf("%.0f allocations for fewer than a thousand messages", allocated)
	}
}

// Of what does not fit into one page, everything is the first at some turn; and a lower
// class gets nothing while a higher one waits.
func TestPullTurnsAndClasses(t *testing.T) {
	s := storetest.Open(t, nil)
	p := tidemark.Pull{MaxBytes: 3000, MaxMessages: 10}
	for i := range 12 {
		id := tidemark.TimelineID(fmt.Sprint("conv/", i))
		p.Positions = append(p.Positions, tidemark.PullPosition{Timeline: id, Class: uint8(i % 2)})
		commit(t, s, uint64(i+1), draft(id, "m", strings.Repeat("x", 900)))
	}
	first := map[tidemark.TimelineID]int{}
	for p.Turn = range 6 {
		page, err := s.Pull(p)
		if err != nil {
			t.Fatal(err)
		}
		first[page.Timelines[0].Head.Timeline]++
		for i := range page.Timelines {
			if page.Timelines[i].Class != 0 || !page.More {
				t.Errorf("turn %d: %s of class %d was served", p.Turn, page.Timelines[i].Head.Timeline, page.Timelines[i].Class)
			}
		}
	}
	if len(first) != 6 {
		t.Errorf("in six turns these came first: %v", first)
	}
}

// As many positions as a call may have are looked at in a fraction of a second.
func TestPullOfTenThousand(t *testing.T) {
	s := storetest.Open(t, nil)
	p := tidemark.Pull{Reader: "alice", MaxBytes: tidemark.MaxPageBytes, MaxMessages: 100}
	var drafts []tidemark.Draft
	for i := range tidemark.MaxSyncPositions {
		id := tidemark.TimelineID(fmt.Sprint("conv/", i))
		p.Positions = append(p.Positions, tidemark.PullPosition{Timeline: id, After: tidemark.SeqID(min(i%3, 1))})
		drafts = append(drafts, draft(id, "m", "hello"))
	}
	commit(t, s, 1, drafts...)
	begin := time.Now()
	page, err := s.Pull(p)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if want := (tidemark.MaxSyncPositions + 2) / 3; len(page.Timelines) != want || page.More {
		t.Errorf("%d timelines, more=%t; want %d", len(page.Timelines), page.More, want)
	}
	t.Logf("%d positions in %v", len(p.Positions), took)
	if took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A reader that is ahead gets the head and no message, however far ahead it is.
func TestPullOfReaderAhead(t *testing.T) {
	s := storetest.Open(t, nil)
	commit(t, s, 1, draft("a", "m1", "x"), draft("a", "m2", "x"))
	for _, after := range []tidemark.SeqID{3, math.MaxUint64 - 1, math.MaxUint64} {
		page, err := s.Pull(tidemark.Pull{MaxBytes: 10_000, MaxMessages: 10, Positions: []tidemark.PullPosition{{Timeline: "a", After: after}, {Timeline: "none", After: after}}})
		if err != nil || len(page.Timelines) != 2 || page.More {
			t.Fatalf("after %d: %d timelines, more=%t, %v", after, len(page.Timelines), page.More, err)
		}
		for i := range page.Timelines {
			if got := &page.Timelines[i]; len(got.Messages) != 0 || got.More || got.After != after || got.Head.Last >= after {
				t.Errorf("after %d: %+v", after, got)
			}
		}
	}
}

func TestDigestsOfSome(t *testing.T) {
	s := storetest.Open(t, nil)
	commit(t, s, 3, draft("a", "m1", "x"), draft("a", "m2", "y"), draft("a", "m3", "z"))
	page, err := s.Read(tidemark.Range{Timeline: "a", Limit: 10, MaxBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	got, head, applied, err := s.Digests("a", []tidemark.SeqID{1, 3, 4, 9})
	want := []tidemark.Digest{page.Messages[0].Digest, page.Messages[2].Digest}
	if err != nil || !reflect.DeepEqual(got, want) || head != page.Head || applied != 3 {
		t.Errorf("got %v, %+v at %d, %v; want %v", got, head, applied, err, want)
	}
	if _, _, _, err := s.Digests("none", []tidemark.SeqID{1}); err == nil {
		t.Error("a timeline that is not there has digests")
	}
}
