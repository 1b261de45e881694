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
	"tidemark/internal/crashfs"
)

// TestModel applies random commands to a machine and to a model, with random bounds of
// entries and calls, restarts and losses of power, and compares each answer, and now and
// then all that there is.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 77))
			b, m := newBench(t, crashfs.New()), newModel()
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
		switch g.IntN(16) {
		case 13, 14, 15:
			c := g.revise(tidemark.SeqID(g.Uint64N(20)))
			if line := m.there(c.Draft.Timeline); line != nil && g.IntN(4) > 0 {
				c.SeqID = tidemark.SeqID(max(len(line.messages)+1-g.IntN(8), 0))
			}
			want := m.revise(&c, now)
			commands = append(commands, c.Encode())
			checks = append(checks, func(result any) {
				got := result.(ReviseResult)
				if got.Revision != want.Revision || got.SeqID != want.SeqID || got.Duplicate != want.Duplicate || got.Inboxes != want.Inboxes || !errors.Is(got.Err, want.Err) {
					t.Errorf("revise %+v: %+v, want %+v", c, got, want)
				}
			})
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
				want = modelMessage{draft: tidemark.Draft{ID: want.draft.ID}, time: want.time, source: source}
			} else if got.Source != nil && got.Source.Gone {
				t.Fatalf("%s %d refers to %+v, which is not gone", id, got.SeqID, got.Source)
			}
			compareRevision(t, m, id, got, &want)
			sameSource := got.Source == nil && want.source == nil ||
				got.Source != nil && want.source != nil && got.Source.Timeline == want.source.Timeline && got.Source.SeqID == want.source.SeqID
			if got.ID != want.draft.ID || got.Sender != want.draft.Sender || got.ServerTime != want.time || !sameSource {
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

// compareRevision compares what edits and recalls have made of a message, or of what it refers to.
func compareRevision(t *testing.T, m *model, id tidemark.TimelineID, got *tidemark.Message, want *modelMessage) {
	t.Helper()
	line, at := m.timelines[id], want
	if want.source != nil && (got.Source == nil || !got.Source.Gone) {
		line = m.timelines[want.source.Timeline]
		at = &line.messages[want.source.SeqID-1]
	}
	content := at.content
	if at.revises != nil {
		wanted := *at.revises
		target := &line.messages[wanted.SeqID-1]
		wanted.Gone = int(wanted.SeqID) <= line.trimmed
		wanted.Superseded = !wanted.Gone && target.revision.Number > wanted.Number
		content = ""
		if !wanted.Gone && !wanted.Superseded {
			content = target.content
		}
		if got.Revises != nil {
			wanted.Content = got.Revises.Content // the chain says whether that is right
		}
		if got.Revises == nil || *got.Revises != wanted {
			t.Fatalf("%s %d revises %+v, want %+v", id, got.SeqID, got.Revises, wanted)
		}
	} else if got.Revises != nil {
		t.Fatalf("%s %d revises %+v, and is no revision entry", id, got.SeqID, got.Revises)
	}
	if number := at.revision.Number; (got.Revision != nil) != (number > 0) || number > 0 &&
		(got.Revision.Number != number || got.Revision.SeqID != at.revision.SeqID || got.Revision.Time != at.revision.Time || got.Revision.Redacted != at.revision.Redacted) {
		t.Fatalf("%s %d has revision %+v, want %+v", id, got.SeqID, got.Revision, at.revision)
	}
	if string(got.Payload) != content {
		t.Fatalf("%s %d is %+v, want payload %q", id, got.SeqID, got, content)
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
			if i >= line.trimmed && seq > want.Read && seq >= want.Floor && !message.uncounted && tidemark.UserOf(message.draft.Sender) != reader.User() {
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
