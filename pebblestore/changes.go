package pebblestore

import (
	"encoding/binary"
	"fmt"
	"strings"

	"tidemark"
	"tidemark/internal/planted"
)

// feed is where the change feed begins.
type feed struct {
	id uint64
	// first is the index of the first log entry whose changes are retained, if it has any:
	// from it on, each entry that changed something has its record.
	first uint64
}

func appendFeed(b []byte, f feed) []byte {
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, f.id)
	return binary.BigEndian.AppendUint64(b, f.first)
}

func decodeFeed(record []byte) (f feed, err error) {
	d := decoder{rest: record}
	if err := d.version(keyFeed); err != nil {
		return f, err
	}
	f = feed{id: d.u64(), first: d.u64()}
	d.bad = d.bad || f.first == 0
	return f, d.finish(keyFeed)
}

func appendChanges(b []byte, now tidemark.Time, runs []tidemark.ChangeRun) []byte {
	b = appendTime(append(b, recordVersion), now)
	for i := range runs {
		r := &runs[i]
		b = append(b, byte(r.Kind))
		b = binary.AppendUvarint(b, r.Timeline)
		b = binary.AppendUvarint(b, uint64(r.Seq))
		if r.Kind == tidemark.ChangeAppended {
			b = binary.AppendUvarint(b, r.Count)
		}
	}
	return b
}

// decodeChanges appends the runs of a record to runs.
func decodeChanges(key, record []byte, runs []tidemark.ChangeRun) (now tidemark.Time, _ []tidemark.ChangeRun, err error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return 0, nil, err
	}
	now = d.time()
	d.bad = d.bad || len(d.rest) == 0
	for len(d.rest) > 0 && !d.bad {
		r := tidemark.ChangeRun{Kind: tidemark.ChangeKind(d.u8()), Timeline: d.uvarint(), Seq: tidemark.SeqID(d.uvarint()), Count: 1}
		switch r.Kind {
		case tidemark.ChangeAppended:
			r.Count = d.uvarint()
			d.bad = d.bad || r.Count == 0 || r.Seq == 0
		case tidemark.ChangeTrimmed, tidemark.ChangeDeleted:
		default:
			if !d.bad {
				return 0, nil, fmt.Errorf("%w: %s has a change of the unknown kind %d", tidemark.ErrNewerFormat, describeKey(key), r.Kind)
			}
		}
		d.bad = d.bad || r.Timeline == 0
		runs = append(runs, r)
	}
	return now, runs, d.finish(key)
}

// changed notes a change. Messages that follow each other in a timeline become one run.
func (b *Batch) changed(kind tidemark.ChangeKind, number uint64, seq tidemark.SeqID) {
	if n := len(b.changes); n > 0 && kind == tidemark.ChangeAppended {
		last := &b.changes[n-1]
		if last.Kind == kind && last.Timeline == number && last.Seq+tidemark.SeqID(last.Count) == seq {
			last.Count++
			return
		}
	}
	b.changes = append(b.changes, tidemark.ChangeRun{Kind: kind, Timeline: number, Seq: seq, Count: 1})
}

// EndEntry says that what was changed since the last call is what the log entry with the
// index and the leader's time did. If listed is set it goes into the change feed, which
// StartFeed must have started. References are in the feed by the message that they refer to alone.
func (b *Batch) EndEntry(index uint64, now tidemark.Time, listed bool) {
	runs := b.changes
	b.changes = runs[:0]
	if len(runs) == 0 || !listed || b.err != nil {
		return
	}
	b.out.set(appendChangeKey(nil, index), appendChanges(nil, now, runs))
}

// StartFeed starts the change feed, or gives it another id: the positions of before are
// those of another history then. The entries from first on are in it; one that exists
// keeps its own start.
func (b *Batch) StartFeed(id, first uint64) error {
	f, found, err := b.feedHere()
	if err != nil {
		return err
	}
	if !found {
		f.first = first
	}
	f.id = id
	b.feed = &f
	return nil
}

// Feed is the id of the change feed and its first index as this batch would leave it, and
// false if there is none.
func (b *Batch) Feed() (id, first uint64, found bool, err error) {
	f, found, err := b.feedHere()
	return f.id, f.first, found, err
}

func (b *Batch) feedHere() (f feed, found bool, err error) {
	switch {
	case b.feed != nil:
		return *b.feed, true, nil
	case b.err != nil:
		return f, false, b.err
	}
	return b.view.feed()
}

// TrimChanges takes away what the change feed has of log entries before first, which is
// more than its present start. It costs the same however many there are.
func (b *Batch) TrimChanges(first uint64) error {
	f, found, err := b.feedHere()
	if err != nil {
		return err
	}
	if !found || first <= f.first {
		return fmt.Errorf("trim the change feed to %d, which starts at %d", first, f.first)
	}
	from := appendChangeKey(nil, f.first)
	f.first = first
	b.feed = &f
	b.out.deleteRange(from, appendChangeKey(nil, first))
	return nil
}

// feed reads where the change feed begins; there may be none.
func (v *view) feed() (f feed, found bool, err error) {
	record, found, err := v.find(keyFeed)
	if err != nil || !found {
		return f, false, err
	}
	f, err = decodeFeed(record)
	return f, err == nil, err
}

// mustFeed returns ErrUpgradeIncomplete if there is no change feed.
func (v *view) mustFeed() (feed, error) {
	f, found, err := v.feed()
	if err == nil && !found {
		err = fmt.Errorf("%w: the change feed has not started", tidemark.ErrUpgradeIncomplete)
	}
	return f, err
}

// These bound the entries, and the runs in them, that one page passes, and the entries that
// one look at the retention does: how long it keeps an iterator, and how much memory it takes.
const (
	maxChangeRecords     = 4096
	maxChangeRuns        = 1 << 16
	maxChangeTrimRecords = 1 << 18
)

// Changes returns a page of the change feed. A position before its start is a
// *tidemark.ChangesTrimmedError, one of another feed, or one that is no place in it, an
// *tidemark.InvalidError, and one behind what was applied an empty page. A message that is
// gone meanwhile is listed without its content. ErrUpgradeIncomplete is returned if there
// is no feed.
//
// It passes up to 4,096 log entries, and so may return nothing although there is more. It
// costs a step for each entry, a look-up for each timeline, and one for each run of messages.
func (s *Store) Changes(q tidemark.ChangesQuery) (page tidemark.ChangesPage, err error) {
	v, err := s.view()
	if err != nil {
		return page, err
	}
	defer v.close()
	if page.Applied, err = v.appliedIndex(); err != nil {
		return page, err
	}
	f, err := v.mustFeed()
	if err != nil {
		return page, err
	}
	page.Next = q.From
	if page.Next.IsZero() {
		page.Next = tidemark.ChangePosition{Feed: f.id, Index: f.first}
	}
	switch {
	case page.Next.Feed != f.id:
		return page, tidemark.Invalid("position", "is of another cluster, or of this one before it was recovered: what it has seen may not be what is here")
	case page.Next.Index < f.first:
		return page, &tidemark.ChangesTrimmedError{First: tidemark.ChangePosition{Feed: f.id, Index: f.first}}
	case page.Next.Index > page.Applied:
		return page, nil
	}
	listed, err := v.changesFrom(page.Next, &q, page.Applied)
	if err != nil {
		return page, err
	}
	r := changeReader{view: v, query: &q, page: &page, timelines: make(map[uint64]changedTimeline)}
	for i := range listed.runs {
		run := &listed.runs[i]
		if full, err := r.read(run); err != nil || full {
			page.More = true
			return page, err
		}
		page.Next = run.behind
	}
	// Behind what was listed, nothing was changed up to there.
	page.Next.Index, page.Next.Offset = listed.next, 0
	page.More = listed.next <= page.Applied
	return page, nil
}

// listedRun is a run of the feed, and where it stands.
type listedRun struct {
	tidemark.ChangeRun
	// at is the place before its first change, and behind that after its last.
	at, behind tidemark.ChangePosition
	// last says that it ends its entry.
	last bool
}

// listedRuns are the runs of consecutive entries, up to the one before next.
type listedRuns struct {
	runs []listedRun
	next uint64
}

// changesFrom reads the runs from a position on: at least those of one entry, if there is one.
func (v *view) changesFrom(from tidemark.ChangePosition, q *tidemark.ChangesQuery, applied uint64) (listed listedRuns, err error) {
	listed.next = applied + 1
	var scratch []tidemark.ChangeRun
	found, records, changes := from.Offset == 0, 0, uint64(0)
	prefix := []byte{tableChange}
	err = v.scan(prefix, appendChangeKey(nil, from.Index), func(key, record []byte) (bool, error) {
		index, ok := splitChangeKey(key)
		if !ok || index > applied {
			return false, damaged(key, "key is malformed, or of an entry that was not applied")
		}
		if records == maxChangeRecords || len(listed.runs) >= maxChangeRuns || q.Prefix == "" && changes >= uint64(q.MaxChanges) {
			listed.next = index
			return false, nil
		}
		records++
		_, runs, err := decodeChanges(key, record, scratch[:0])
		if err != nil {
			return false, err
		}
		scratch = runs
		skip := uint64(0)
		if index == from.Index {
			skip = from.Offset
		}
		added := listed.add(tidemark.ChangePosition{Feed: from.Feed, Index: index}, runs, skip)
		found = found || index == from.Index && added > 0
		changes += added
		return true, nil
	})
	if err == nil && !found {
		err = tidemark.Invalid("position", "is no place in the change feed")
	}
	return listed, err
}

// add lists the runs of an entry but for the changes before skip, and returns how many changes that are.
func (l *listedRuns) add(at tidemark.ChangePosition, runs []tidemark.ChangeRun, skip uint64) (added uint64) {
	for i, run := range runs {
		end := at
		end.Offset += run.Count
		if skip >= end.Offset {
			at = end
			continue
		}
		if skip > at.Offset {
			gone := skip - at.Offset
			run.Seq, run.Count, at.Offset = run.Seq+tidemark.SeqID(gone), run.Count-gone, skip
		}
		listed := listedRun{ChangeRun: run, at: at, behind: end, last: i == len(runs)-1}
		if listed.last {
			listed.behind = tidemark.ChangePosition{Feed: at.Feed, Index: at.Index + 1}
		}
		l.runs = append(l.runs, listed)
		added += run.Count
		at = end
	}
	if planted.Is(planted.ChangesSkip) && skip > 0 && added > 0 {
		l.runs = l.runs[:0] // who goes on amid an entry does not get the rest of it
	}
	return added
}

// changedTimeline is what a page needs to know of a timeline.
type changedTimeline struct {
	id    tidemark.TimelineID
	first tidemark.SeqID
}

// changeReader fills a page with the changes of runs.
type changeReader struct {
	view      *view
	query     *tidemark.ChangesQuery
	page      *tidemark.ChangesPage
	timelines map[uint64]changedTimeline
	size      int
}

func (r *changeReader) timeline(number uint64) (t changedTimeline, err error) {
	if t, known := r.timelines[number]; known {
		return t, nil
	}
	if t.id, err = r.view.timelineID(number); err != nil {
		return t, err
	}
	if strings.HasPrefix(string(t.id), r.query.Prefix) {
		h, found, err := r.view.anyHead(t.id)
		if err == nil && !found {
			err = damaged(appendHeadKey(nil, t.id), "record is missing")
		}
		if err != nil {
			return t, err
		}
		t.first = h.First
	}
	r.timelines[number] = t
	return t, nil
}

// read adds the changes of a run to the page, or reports that it is full; Next is behind
// what was added then.
func (r *changeReader) read(run *listedRun) (full bool, err error) {
	t, err := r.timeline(run.Timeline)
	if err != nil || !strings.HasPrefix(string(t.id), r.query.Prefix) {
		return false, err
	}
	v, positioned := r.view, false
	for i := range run.Count {
		if len(r.page.Changes) >= r.query.MaxChanges {
			return true, nil
		}
		change := tidemark.Change{Kind: run.Kind, Timeline: t.id, Seq: run.Seq + tidemark.SeqID(i), Position: run.at}
		if change.Position.Offset += i + 1; i == run.Count-1 {
			change.Position = run.behind
		}
		cost := tidemark.PullCost(t.id, 0)
		if run.Kind == tidemark.ChangeAppended && change.Seq >= t.first {
			if v.key = appendMessageKey(v.key[:0], run.Timeline, change.Seq); positioned {
				positioned = v.iter.next()
			} else {
				positioned = v.iter.seekGE(v.key)
			}
			record, err := v.recordHere(positioned, run.Timeline, change.Seq)
			if err != nil {
				return false, err
			}
			message, err := v.decode(t.id, v.key, record)
			if err != nil {
				return false, err
			}
			change.Message = &message
			cost += message.Size()
		}
		if r.size += cost; r.size > r.query.MaxBytes && len(r.page.Changes) > 0 {
			return true, nil
		}
		r.page.Changes = append(r.page.Changes, change)
		r.page.Next = change.Position
	}
	return false, nil
}

// ChangesEnd is the place behind all changes that were applied, or ErrUpgradeIncomplete.
func (s *Store) ChangesEnd() (tidemark.ChangePosition, error) {
	v, err := s.view()
	if err != nil {
		return tidemark.ChangePosition{}, err
	}
	defer v.close()
	f, err := v.mustFeed()
	if err != nil {
		return tidemark.ChangePosition{}, err
	}
	applied, err := v.appliedIndex()
	return tidemark.ChangePosition{Feed: f.id, Index: applied + 1}, err
}

// ChangesTrimPoint is the first log entry whose changes are to be kept: those of the last
// maxEntries entries of the log, as far as their leader's time is at least oldest; 0 entries
// for no bound. It is 0 if no change is before it, so that a trim, which is an entry
// itself, is never the reason for another one. It looks at no more than 262,144 records by
// their time; more says that there may be more to trim afterwards.
func (s *Store) ChangesTrimPoint(maxEntries uint64, oldest tidemark.Time) (keep uint64, more bool, err error) {
	v, err := s.view()
	if err != nil {
		return 0, false, err
	}
	defer v.close()
	f, err := v.mustFeed()
	if err != nil {
		return 0, false, err
	}
	applied, err := v.appliedIndex()
	if err != nil {
		return 0, false, err
	}
	keep = f.first
	if maxEntries > 0 && applied >= maxEntries {
		keep = max(keep, applied-maxEntries+1)
	}
	prefix, records := []byte{tableChange}, 0
	err = v.scan(prefix, appendChangeKey(nil, keep), func(key, record []byte) (bool, error) {
		index, ok := splitChangeKey(key)
		if !ok {
			return false, damaged(key, "key is malformed")
		}
		t, err := changesTime(key, record)
		if err != nil || t >= oldest {
			return false, err
		}
		if more = records == maxChangeTrimRecords; more {
			return false, nil
		}
		records++
		keep = index + 1
		return true, nil
	})
	if err != nil {
		return 0, false, err
	}
	some := false
	err = v.scan(prefix, prefix, func(key, _ []byte) (bool, error) {
		index, ok := splitChangeKey(key)
		if !ok {
			return false, damaged(key, "key is malformed")
		}
		some = index < keep
		return false, nil
	})
	if err != nil || !some {
		return 0, false, err
	}
	return min(keep, applied+1), more, nil
}

// changesTime reads only the time of a record of changes.
func changesTime(key, record []byte) (tidemark.Time, error) {
	d := decoder{rest: record}
	if err := d.version(key); err != nil {
		return 0, err
	}
	t := d.time()
	if d.bad {
		return 0, damaged(key, "record is malformed")
	}
	return t, nil
}
