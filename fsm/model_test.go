package fsm

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// model is what the state machine should be, in maps and slices, with every rule in its
// shortest form.
type model struct {
	level     uint32
	timelines map[tidemark.TimelineID]*modelTimeline
}

type modelTimeline struct {
	messages   []modelMessage
	cursors    map[tidemark.ReaderID]tidemark.Cursor
	recipients map[tidemark.TimelineID]bool
	version    uint64
	time       tidemark.Time
	attributes map[string]string
	// trimmed counts the messages, from the first one on, that are gone.
	trimmed int
	deleted bool
}

// modelMessage is one of the timeline itself, or one that refers to another.
type modelMessage struct {
	draft  tidemark.Draft
	time   tidemark.Time
	source *tidemark.Source
}

func newModel() *model { return &model{level: 1, timelines: map[tidemark.TimelineID]*modelTimeline{}} }

func (m *model) clone() *model {
	c := newModel()
	c.level = m.level
	for id, line := range m.timelines {
		copied := *line
		copied.messages, copied.cursors, copied.recipients = slices.Clone(line.messages), maps.Clone(line.cursors), maps.Clone(line.recipients)
		copied.attributes = maps.Clone(line.attributes)
		c.timelines[id] = &copied
	}
	return c
}

func (m *model) timeline(id tidemark.TimelineID, now tidemark.Time) *modelTimeline {
	line := m.timelines[id]
	if line == nil {
		line = &modelTimeline{cursors: map[tidemark.ReaderID]tidemark.Cursor{}, recipients: map[tidemark.TimelineID]bool{}, time: now, attributes: map[string]string{}}
		m.timelines[id] = line
	}
	if line.deleted {
		line.deleted, line.time = false, max(line.time, now)
	}
	return line
}

// there is a timeline that exists, or nil.
func (m *model) there(id tidemark.TimelineID) *modelTimeline {
	if line := m.timelines[id]; line != nil && !line.deleted {
		return line
	}
	return nil
}

func (m *model) trim(c *Trim) (trimmed int, err error) {
	line := m.there(c.Timeline)
	if line == nil {
		return 0, tidemark.ErrTimelineNotFound
	}
	if c.First == 0 || int(c.First) > len(line.messages)+1 {
		return 0, tidemark.ErrInvalid
	}
	trimmed = max(int(c.First)-1-line.trimmed, 0)
	line.trimmed += trimmed
	return trimmed, nil
}

func (m *model) delete(id tidemark.TimelineID) error {
	line := m.there(id)
	if line == nil {
		return tidemark.ErrTimelineNotFound
	}
	line.deleted, line.trimmed, line.version = true, len(line.messages), 0
	clear(line.cursors)
	clear(line.attributes)
	line.recipients = map[tidemark.TimelineID]bool{}
	return nil
}

func (m *model) update(c *UpdateTimeline, now tidemark.Time) {
	line := m.timeline(c.Timeline, now)
	for _, key := range c.Remove {
		delete(line.attributes, key)
	}
	for _, attribute := range c.Set {
		line.attributes[attribute.Key] = attribute.Value
	}
}

func (m *model) importHistory(c *Import) (duplicates int, err error) {
	line, exists := m.timelines[c.Timeline], m.there(c.Timeline) != nil
	if line == nil {
		line = &modelTimeline{cursors: map[tidemark.ReaderID]tidemark.Cursor{}, recipients: map[tidemark.TimelineID]bool{}, attributes: map[string]string{}}
	}
	last, at, below := len(line.messages), line.time, 0
	if last == 0 {
		// Its messages may be older than it is, and start anywhere.
		at, below = tidemark.Time(tidemark.MinTime.UnixNano()), int(c.First)-1
		last = below
	}
	var added []modelMessage
	for i, item := range c.Items {
		seq := c.First + tidemark.SeqID(i)
		known := tidemark.SeqID(0)
		if exists {
			known = line.find(item.Draft.ID)
		}
		again := slices.ContainsFunc(added, func(m modelMessage) bool { return m.draft.ID == item.Draft.ID })
		switch {
		case item.Draft.Sender == "\xff":
			return 0, tidemark.ErrInvalid
		case again || known > 0 && (known != seq || line.messages[seq-1].draft.Sender != item.Draft.Sender || string(line.messages[seq-1].draft.Payload) != string(item.Draft.Payload)):
			return 0, tidemark.ErrMessageIDConflict
		case known > 0 && line.messages[seq-1].time != item.ServerTime:
			return 0, tidemark.ErrInvalid
		case known > 0 || exists && int(seq) <= line.trimmed:
			duplicates++
		case int(seq) != last+len(added)+1:
			return 0, tidemark.ErrSequenceConflict
		case item.ServerTime < at:
			return 0, tidemark.ErrInvalid
		default:
			at = item.ServerTime
			added = append(added, modelMessage{draft: item.Draft, time: at})
		}
	}
	if len(added) > 0 {
		line.messages, line.trimmed = append(line.messages, make([]modelMessage, below)...), line.trimmed+below
		line.messages, line.time, line.deleted = append(line.messages, added...), at, false
		m.timelines[c.Timeline] = line
	}
	return duplicates, nil
}

func (l *modelTimeline) add(d tidemark.Draft, now tidemark.Time, source *tidemark.Source) tidemark.SeqID {
	l.time = max(l.time, now)
	l.messages = append(l.messages, modelMessage{d, l.time, source})
	return tidemark.SeqID(len(l.messages))
}

// find is the place of a message id among those that are no references.
func (l *modelTimeline) find(id tidemark.MessageID) tidemark.SeqID {
	for i, message := range l.messages {
		if i >= l.trimmed && message.source == nil && message.draft.ID == id {
			return tidemark.SeqID(i + 1)
		}
	}
	return 0
}

func (m *model) append(a *Append, now tidemark.Time) (tidemark.SeqID, error) {
	if a.Draft.Sender == "\xff" || slices.Contains(a.FanOut.Inboxes, a.Draft.Timeline) || a.AdvanceSender && a.Draft.Sender == "" {
		return 0, tidemark.ErrInvalid
	}
	last := tidemark.SeqID(0)
	if line := m.there(a.Draft.Timeline); line != nil {
		last = tidemark.SeqID(len(line.messages))
		if at := line.find(a.Draft.ID); at > 0 {
			if known := &line.messages[at-1].draft; known.Sender != a.Draft.Sender || string(known.Payload) != string(a.Draft.Payload) {
				return 0, tidemark.ErrMessageIDConflict
			}
			return at, nil
		}
	}
	if a.Expected != nil && *a.Expected != last {
		return 0, tidemark.ErrSequenceConflict
	}
	line := m.timeline(a.Draft.Timeline, now)
	seq := line.add(a.Draft, now, nil)
	targets := map[tidemark.TimelineID]bool{}
	if a.FanOut.Recipients {
		maps.Copy(targets, line.recipients)
	}
	for _, inbox := range a.FanOut.Inboxes {
		targets[inbox] = true
	}
	for inbox := range targets {
		m.timeline(inbox, now).add(a.Draft, now, &tidemark.Source{Timeline: a.Draft.Timeline, SeqID: seq})
	}
	if a.AdvanceSender {
		line.move(a.Draft.Timeline, tidemark.ReaderID(a.Draft.Sender), AckItem{Read: &seq}, false)
	}
	return seq, nil
}

func (l *modelTimeline) move(id tidemark.TimelineID, reader tidemark.ReaderID, item AckItem, rewind bool) {
	c := l.cursors[reader]
	before := c
	c.Timeline, c.Reader = id, reader
	set := func(mark *tidemark.SeqID, to *tidemark.SeqID) {
		if to != nil && (rewind || *to > *mark) {
			*mark = *to
		}
	}
	set(&c.Delivered, item.Delivered)
	if rewind && item.Delivered != nil {
		c.Read = min(c.Read, c.Delivered)
	}
	set(&c.Read, item.Read)
	c.Delivered = max(c.Delivered, c.Read)
	set(&c.Floor, item.Floor)
	if c.Delivered != before.Delivered || c.Read != before.Read || c.Floor != before.Floor {
		l.cursors[reader] = c
	}
}

func (m *model) ack(a *Ack) error {
	for _, item := range a.Items {
		line := m.there(item.Timeline)
		if line == nil {
			return tidemark.ErrTimelineNotFound
		}
		last := tidemark.SeqID(len(line.messages))
		for _, mark := range []*tidemark.SeqID{item.Delivered, item.Read} {
			if mark != nil && *mark > last {
				return tidemark.ErrInvalid
			}
		}
		if item.Floor != nil && *item.Floor > last+1 {
			return tidemark.ErrInvalid
		}
	}
	for _, item := range a.Items {
		m.timelines[item.Timeline].move(item.Timeline, a.Reader, item, a.Rewind)
	}
	return nil
}

func (m *model) setRecipients(c *SetRecipients, now tidemark.Time) (version uint64, err error) {
	if slices.Contains(c.Change.Add, c.Timeline) || slices.Contains(c.Change.Remove, c.Timeline) {
		return 0, tidemark.ErrInvalid
	}
	before := &modelTimeline{}
	if line := m.there(c.Timeline); line != nil {
		before = line
	}
	if c.Change.ExpectedVersion != nil && *c.Change.ExpectedVersion != before.version {
		return 0, tidemark.ErrRecipientsConflict
	}
	after := map[tidemark.TimelineID]bool{}
	if !c.Change.Replace {
		maps.Copy(after, before.recipients)
	}
	for _, inbox := range c.Change.Remove {
		delete(after, inbox)
	}
	for _, inbox := range c.Change.Add {
		after[inbox] = true
	}
	if before.version > 0 && maps.Equal(after, before.recipients) {
		return before.version, nil
	}
	line := m.timeline(c.Timeline, now)
	line.recipients = after
	line.version++
	return line.version, nil
}

// TestModel applies random commands to a machine and to a model, with random bounds of
// entries and calls, restarts and losses of power, and compares each answer, and now and
// then all that there is.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 77))
			b, m := newBench(t, vfs.NewCrashableMem()), newModel()
			b.machine.batchBytes = 1 + random.IntN(4000)
			index, clock := uint64(0), int64(1e18)
			for range 60 {
				var entries []tidemark.Entry
				var checks []func(results [][]any)
				for range 1 + random.IntN(4) {
					index++
					clock += random.Int64N(3e9) - 5e8
					commands, check := someCommands(t, generator{random}, m, tidemark.Time(clock))
					entries = append(entries, tidemark.Entry{Index: index, Term: 1, Kind: tidemark.EntryCommands, Data: EncodeEntry(tidemark.Time(clock).Go(), commands)})
					at := len(checks)
					checks = append(checks, func(results [][]any) { check(results[at]) })
				}
				results := b.mustApply(entries...)
				for _, check := range checks {
					check(results)
				}
				switch random.IntN(12) {
				case 0:
					b.reopen()
					b.machine.batchBytes = 1 + random.IntN(4000)
				case 1:
					if err := b.machine.Sync(); err != nil {
						t.Fatal(err)
					}
					b.crash(vfs.CrashCloneCfg{})
				}
				if random.IntN(5) == 0 {
					compare(t, b, m)
				}
			}
			compare(t, b, m)
		})
	}
}

// someCommands are those of one entry, applied to the model, and what their results must be.
func someCommands(t *testing.T, g generator, m *model, now tidemark.Time) (commands [][]byte, check func([]any)) {
	var checks []func(any)
	for range g.IntN(5) {
		switch g.IntN(13) {
		case 12:
			c := g.history(m)
			duplicates, err := m.importHistory(&c)
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				if got := result.(ImportResult); !errors.Is(got.Err, err) || err == nil && got.Duplicates != duplicates {
					t.Errorf("import %+v: %+v, want %d duplicates, %v", c, got, duplicates, err)
				}
			})
		case 0:
			c := RaiseLevel{Level: 1 + g.Uint32N(Level)}
			m.level = max(m.level, c.Level)
			want := m.level
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				if got := result.(RaiseLevelResult); got.Level != want {
					t.Errorf("level is %d, want %d", got.Level, want)
				}
			})
		case 1:
			c := g.recipients()
			version, err := m.setRecipients(&c, now)
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				if got := result.(SetRecipientsResult); got.Version != version || !errors.Is(got.Err, err) {
					t.Errorf("recipients of %s: %+v, want version %d, %v", c.Timeline, got, version, err)
				}
			})
		case 2:
			ack := Ack{Reader: tidemark.ReaderID(fmt.Sprintf("reader%d#%d", g.IntN(3), g.IntN(2))), Rewind: g.IntN(3) == 0}
			for range 1 + g.IntN(2) {
				ack.Items = append(ack.Items, AckItem{Timeline: g.timeline(), Delivered: g.seq(), Read: g.seq(), Floor: g.seq()})
			}
			err := m.ack(&ack)
			commands = append(commands, ack.Encode())
			checks = append(checks, func(result any) {
				if got := result.(AckResult); !errors.Is(got.Err, err) {
					t.Errorf("ack: %v, want %v", got.Err, err)
				}
			})
		case 4:
			c := Trim{Timeline: g.timeline(), First: tidemark.SeqID(g.Uint64N(20))}
			if g.IntN(2) == 0 {
				c.Timeline = tidemark.TimelineID(fmt.Sprintf("inbox/%d", g.IntN(4)))
			}
			if line := m.there(c.Timeline); line != nil {
				c.First = tidemark.SeqID(max(len(line.messages)+2-g.IntN(6), 0))
			}
			trimmed, err := m.trim(&c)
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				if got := result.(TrimResult); int(got.Trimmed) != trimmed || !errors.Is(got.Err, err) {
					t.Errorf("trim %+v: %+v, want %d, %v", c, got, trimmed, err)
				}
			})
		case 5:
			c := DeleteTimeline{Timeline: g.timeline()}
			if g.IntN(3) > 0 {
				continue
			}
			err := m.delete(c.Timeline)
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				if got := result.(DeleteTimelineResult); !errors.Is(got.Err, err) {
					t.Errorf("delete %s: %v, want %v", c.Timeline, got.Err, err)
				}
			})
		case 6:
			c := g.update()
			m.update(&c, now)
			want := maps.Clone(m.timelines[c.Timeline].attributes)
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				if got := result.(UpdateTimelineResult); got.Err != nil || !maps.Equal(got.Attributes.Map(), want) && len(want) > 0 {
					t.Errorf("update %+v: %+v, want %v", c, got, want)
				}
			})
		case 3:
			batch := AppendBatch{Items: []Append{g.append(), g.append(), g.append()}}
			next, failed := m.clone(), false
			for i := range batch.Items {
				if _, err := next.append(&batch.Items[i], now); err != nil {
					failed = true
					break
				}
			}
			if !failed {
				*m = *next
			}
			commands = append(commands, batch.Encode())
			checks = append(checks, func(result any) {
				if got := result.(AppendBatchResult); (got.Err != nil) != failed {
					t.Errorf("batch: %v, want a failure: %t", got.Err, failed)
				}
			})
		default:
			a := g.append()
			want, err := m.append(&a, now)
			commands = append(commands, a.Encode())
			checks = append(checks, func(result any) {
				if got := result.(AppendResult); got.SeqID != want || !errors.Is(got.Err, err) {
					t.Errorf("append %s to %s: %d, %v, want %d, %v", a.Draft.ID, a.Draft.Timeline, got.SeqID, got.Err, want, err)
				}
			})
		}
	}
	return commands, func(results []any) {
		for i, check := range checks {
			check(results[i])
		}
	}
}

// compare reads everything.
func compare(t *testing.T, b *bench, m *model) {
	t.Helper()
	if b.machine.Level() != m.level {
		t.Fatalf("level is %d, want %d", b.machine.Level(), m.level)
	}
	there := 0
	for id, line := range m.timelines {
		if line.deleted {
			if _, err := b.store.Head(id); !errors.Is(err, tidemark.ErrTimelineNotFound) {
				t.Fatalf("%s was deleted, and its head is there: %v", id, err)
			}
			continue
		}
		there++
		page, err := b.store.Read(tidemark.Range{Timeline: id, Start: tidemark.StartSeq, Seq: 1, Limit: 10_000, MaxBytes: 1 << 30})
		if err != nil || len(page.Messages) != len(line.messages)-line.trimmed {
			t.Fatalf("%s has %d messages, %v, want %d without the first %d", id, len(page.Messages), err, len(line.messages), line.trimmed)
		}
		digest := page.PreviousDigest
		for i := range page.Messages {
			got, want := &page.Messages[i], line.messages[i+line.trimmed]
			if source := want.source; source != nil && int(source.SeqID) <= m.timelines[source.Timeline].trimmed {
				if got.Source == nil || !got.Source.Gone || got.Sender != "" || got.Payload != nil {
					t.Fatalf("%s %d refers to a message that is gone, and is %+v", id, got.SeqID, got)
				}
				want.draft = tidemark.Draft{ID: want.draft.ID}
			} else if got.Source != nil && got.Source.Gone {
				t.Fatalf("%s %d refers to %+v, which is not gone", id, got.SeqID, got.Source)
			}
			sameSource := got.Source == nil && want.source == nil ||
				got.Source != nil && want.source != nil && got.Source.Timeline == want.source.Timeline && got.Source.SeqID == want.source.SeqID
			if got.ID != want.draft.ID || got.Sender != want.draft.Sender || string(got.Payload) != string(want.draft.Payload) || got.ServerTime != want.time || !sameSource {
				t.Fatalf("%s %d is %+v, want %+v", id, got.SeqID, got, want)
			}
			if digest = got.ChainDigest(digest); digest != got.Digest {
				t.Fatalf("%s %d has digest %v, and the chain makes %v", id, got.SeqID, got.Digest, digest)
			}
		}
		recipients, err := b.store.Recipients(id, "", 1000)
		if err != nil || recipients.Version != line.version || !slices.Equal(recipients.Inboxes, slices.Sorted(maps.Keys(line.recipients))) {
			t.Fatalf("recipients of %s are %+v, %v, want version %d of %v", id, recipients, err, line.version, line.recipients)
		}
		compareCursors(t, b, id, line)
	}
	if heads := b.heads(); len(heads) != there {
		t.Fatalf("there are %d timelines, want %d", len(heads), there)
	}
}

func compareCursors(t *testing.T, b *bench, id tidemark.TimelineID, line *modelTimeline) {
	t.Helper()
	for reader, want := range line.cursors {
		got, found, err := b.store.Cursor(id, reader)
		if want.UpdatedTime = got.UpdatedTime; err != nil || !found || got != want {
			t.Fatalf("cursor of %s in %s is %+v, %t, %v, want %+v", reader, id, got, found, err, want)
		}
		unread := uint64(0)
		for i, message := range line.messages {
			seq := tidemark.SeqID(i + 1)
			if i >= line.trimmed && seq > want.Read && seq >= want.Floor && tidemark.UserOf(message.draft.Sender) != reader.User() {
				unread++
			}
		}
		page, err := b.store.Conversations(reader, nil, 1000)
		at := slices.IndexFunc(page.Cursors, func(c tidemark.Cursor) bool { return c.Timeline == id })
		if err != nil || at < 0 || page.Unread[at] != unread {
			t.Fatalf("%s has %+v unread in %s, %v, want %d", reader, page, id, err, unread)
		}
		if !slices.IsSortedFunc(page.Heads, func(a, b tidemark.Head) int { return int(b.LastTime - a.LastTime) }) {
			t.Fatalf("conversations of %s are not by activity: %+v", reader, page.Heads)
		}
		from, err := b.store.Read(tidemark.Range{Timeline: id, Reader: reader, Start: tidemark.StartSeq, Seq: 1, Limit: 1, MaxBytes: 1 << 30})
		first := max(want.Floor, tidemark.SeqID(line.trimmed+1))
		if err != nil || len(from.Messages) > 0 && from.Messages[0].SeqID != first || len(from.Messages) == 0 && int(first) <= len(line.messages) {
			t.Fatalf("%s sees %s from %+v on, %v; its floor is %d", reader, id, from.Messages, err, want.Floor)
		}
	}
}
