package fsm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
)

// listed is a change as the feed must show it.
type listed struct {
	index    uint64
	kind     tidemark.ChangeKind
	timeline tidemark.TimelineID
	seq      tidemark.SeqID
}

// listedBy is what one command must have put into the feed, by its result.
func listedBy(index uint64, c *command, result any) (changes []listed) {
	add := func(kind tidemark.ChangeKind, timeline tidemark.TimelineID, seq tidemark.SeqID) {
		changes = append(changes, listed{index, kind, timeline, seq})
	}
	appended := func(a *Append, r *AppendResult) {
		if r.Err == nil && !r.Duplicate {
			add(tidemark.ChangeAppended, a.Draft.Timeline, r.SeqID)
		}
	}
	switch r := result.(type) {
	case AppendResult:
		appended(&c.append, &r)
	case AppendBatchResult:
		for i := range r.Results {
			appended(&c.batch.Items[i], &r.Results[i])
		}
	case ImportResult:
		if r.Err == nil {
			for i := r.Duplicates; i < len(c.imp.Items); i++ {
				add(tidemark.ChangeAppended, c.imp.Timeline, r.Head.Last-tidemark.SeqID(len(c.imp.Items)-1-i))
			}
		}
	case ReviseResult:
		if r.Err == nil && !r.Duplicate {
			add(tidemark.ChangeAppended, c.revise.Draft.Timeline, r.SeqID)
		}
	case TrimResult:
		if r.Trimmed > 0 {
			add(tidemark.ChangeTrimmed, c.trim.Timeline, r.Head.First)
		}
	case DeleteTimelineResult:
		if r.Err == nil {
			add(tidemark.ChangeDeleted, c.delete.Timeline, r.Head.Last)
		}
	}
	return changes
}

// feedOf reads the feed from a position to its end, in pages of random size.
func feedOf(t *testing.T, b *bench, random *rand.Rand, from tidemark.ChangePosition, prefix string) (all []tidemark.Change, end tidemark.ChangePosition) {
	t.Helper()
	q := tidemark.ChangesQuery{From: from, Prefix: prefix}
	for {
		q.MaxChanges, q.MaxBytes = 1+random.IntN(5), 1+random.IntN(3000)
		page, err := b.store.Changes(q)
		if err != nil {
			t.Fatalf("changes from %+v: %v", q.From, err)
		}
		all = append(all, page.Changes...)
		if n := len(page.Changes); n > 0 && random.IntN(2) == 0 && page.More {
			page.Next = page.Changes[n-1].Position
		}
		q.From = page.Next
		if !page.More {
			return all, page.Next
		}
	}
}

// TestChanges applies random entries, and compares the feed with what the results say,
// from every position of it, with crashes and trims in between.
func TestChanges(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 77))
			b := newBench(t, crashfs.New())
			b.machine.batchBytes = 1 + random.IntN(4000)
			var want []listed
			level, gone, first := uint32(1), map[tidemark.TimelineID]tidemark.SeqID{}, uint64(0)
			log := randomLog(random, 300)
			for len(log) > 0 {
				n := 1 + random.IntN(min(len(log), 20))
				for i, results := range b.mustApply(log[:n]...) {
					var changes []listed
					for j, data := range commandsIn(t, &log[i]) {
						var c command
						if err := decodeCommand(data, &c); err != nil {
							t.Fatal(err)
						}
						changes = append(changes, listedBy(log[i].Index, &c, results[j])...)
						switch r := results[j].(type) {
						case RaiseLevelResult:
							if level < changesLevel && r.Level >= changesLevel {
								first = log[i].Index
							}
							level = r.Level
						case TrimChangesResult:
							if r.Err == nil {
								first = r.First
							}
						}
					}
					for _, c := range changes {
						if c.kind != tidemark.ChangeAppended {
							gone[c.timeline] = max(gone[c.timeline], c.seq)
						}
						if level >= changesLevel {
							want = append(want, c)
						}
					}
				}
				log = log[n:]
				if random.IntN(4) == 0 {
					if err := b.machine.Sync(); err != nil {
						t.Fatal(err)
					}
					b.crash(vfs.CrashCloneCfg{})
					b.machine.batchBytes = 1 + random.IntN(4000)
				}
				if level >= changesLevel {
					want = slices.DeleteFunc(want, func(c listed) bool { return c.index < first })
					compareFeed(t, b, random, want)
				}
			}
			if level < changesLevel || len(want) == 0 {
				t.Fatalf("the log ends at level %d with %d changes: it tells nothing", level, len(want))
			}
		})
	}
}

func commandsIn(t *testing.T, e *tidemark.Entry) [][]byte {
	if e.Kind != tidemark.EntryCommands {
		return nil
	}
	decoded, err := decodeEntry(e.Data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return decoded.commands
}

func compareFeed(t *testing.T, b *bench, random *rand.Rand, want []listed) {
	t.Helper()
	all, end := feedOf(t, b, random, tidemark.ChangePosition{}, "")
	if len(all) != len(want) {
		t.Fatalf("the feed has %d changes, want %d", len(all), len(want))
	}
	for i := range all {
		c := &all[i]
		got := listed{want[i].index, c.Kind, c.Timeline, c.Seq}
		if got != want[i] || c.Position.Index != want[i].index && c.Position != (tidemark.ChangePosition{Feed: c.Position.Feed, Index: want[i].index + 1}) {
			t.Fatalf("change %d is %+v, want %+v", i, c, want[i])
		}
		head, err := b.store.Head(c.Timeline)
		there := c.Kind == tidemark.ChangeAppended && err == nil && c.Seq >= head.First
		if there != (c.Message != nil) || there && (c.Message.SeqID != c.Seq || c.Message.Timeline != c.Timeline) {
			t.Fatalf("change %d is %+v, and its timeline holds %d to %d", i, c, head.First, head.Last)
		}
	}
	if applied := b.machine.Applied().Index; end.Index != applied+1 || end.Offset != 0 {
		t.Errorf("the feed ends at %+v, and %d is applied", end, applied)
	}
	if len(all) == 0 {
		return
	}
	at := random.IntN(len(all))
	if rest, _ := feedOf(t, b, random, all[at].Position, ""); !reflect.DeepEqual(rest, all[at+1:]) && len(rest)+len(all[at+1:]) > 0 {
		t.Errorf("from the position behind change %d there are %d changes, want %d", at, len(rest), len(all)-at-1)
	}
	prefix := string(all[at].Timeline)
	filtered, _ := feedOf(t, b, random, tidemark.ChangePosition{}, prefix)
	count := 0
	for i := range all {
		if all[i].Timeline[:min(len(prefix), len(all[i].Timeline))] == tidemark.TimelineID(prefix) {
			count++
		}
	}
	if len(filtered) != count {
		t.Errorf("with the prefix %q there are %d changes, want %d", prefix, len(filtered), count)
	}
}

// TestChangesRefused looks at positions that are none.
func TestChangesRefused(t *testing.T) {
	b := newBench(t, crashfs.New())
	q := tidemark.ChangesQuery{MaxChanges: 10, MaxBytes: 1 << 20}
	if _, err := b.store.Changes(q); !errors.Is(err, tidemark.ErrUpgradeIncomplete) {
		t.Errorf("without a feed: %v", err)
	}
	if result := b.next(TrimChanges{First: 1}.Encode())[0].(TrimChangesResult); !errors.Is(result.Err, tidemark.ErrUpgradeIncomplete) {
		t.Errorf("trimmed without a feed: %+v", result)
	}
	b.next(RaiseLevel{Level: changesLevel}.Encode())
	for i := range 3 {
		b.next(Append{Draft: draft("t", fmt.Sprint("a", i), "x")}.Encode(), Append{Draft: draft("t", fmt.Sprint("b", i), "x")}.Encode())
	}
	page, err := b.store.Changes(q)
	if err != nil || len(page.Changes) != 6 {
		t.Fatalf("%d changes, %v", len(page.Changes), err)
	}
	applied := b.machine.Applied().Index
	for _, first := range []uint64{0, applied + 3} { // the second is applied as applied+2
		if result := b.next(TrimChanges{First: first}.Encode())[0].(TrimChangesResult); !errors.Is(result.Err, tidemark.ErrInvalid) {
			t.Errorf("trimmed to %d: %+v", first, result)
		}
	}
	cut := page.Changes[2].Position // amid the second entry
	if result := b.next(TrimChanges{First: cut.Index}.Encode())[0].(TrimChangesResult); result.Err != nil || result.First != cut.Index {
		t.Fatalf("%+v", result)
	}
	for _, c := range []struct {
		name string
		from tidemark.ChangePosition
		want error
		left int
	}{
		{"start", tidemark.ChangePosition{}, nil, 4},
		{"amid the first entry", cut, nil, 3},
		{"behind what was trimmed", page.Changes[1].Position, nil, 4},
		{"in what was trimmed", page.Changes[0].Position, tidemark.ErrChangesTrimmed, 0},
		{"another feed", tidemark.ChangePosition{Feed: cut.Feed + 1, Index: cut.Index}, tidemark.ErrInvalid, 0},
		{"behind an entry's end", tidemark.ChangePosition{Feed: cut.Feed, Index: cut.Index, Offset: 2}, tidemark.ErrInvalid, 0},
		{"ahead", tidemark.ChangePosition{Feed: cut.Feed, Index: cut.Index + 100, Offset: 2}, nil, 0},
	} {
		q.From = c.from
		page, err := b.store.Changes(q)
		if !errors.Is(err, c.want) || len(page.Changes) != c.left {
			t.Errorf("%s: %d changes, %v; want %d, %v", c.name, len(page.Changes), err, c.left, c.want)
		}
		var trimmed *tidemark.ChangesTrimmedError
		if errors.As(err, &trimmed) && trimmed.First.Index != cut.Index {
			t.Errorf("%s: first is %+v", c.name, trimmed.First)
		}
	}
}

// TestChangesTrimPoint keeps by number and by age.
func TestChangesTrimPoint(t *testing.T) {
	b := newBench(t, crashfs.New())
	b.next(RaiseLevel{Level: changesLevel}.Encode())
	start := b.machine.Applied().Index
	for i := range uint64(10) {
		data := EncodeEntry(tidemark.Time(1000+i).Go(), [][]byte{Append{Draft: draft("t", fmt.Sprint(i), "x")}.Encode()})
		b.mustApply(tidemark.Entry{Index: start + 1 + i, Term: 1, Kind: tidemark.EntryCommands, Data: data})
	}
	for _, c := range []struct {
		entries uint64
		oldest  tidemark.Time
		keep    uint64
	}{
		{0, 0, 0}, {4, 0, start + 7}, {100, 0, 0}, {0, 1004, start + 5}, {4, 1004, start + 7}, {8, 1009, start + 10}, {0, 2000, start + 11},
	} {
		if keep, more, err := b.store.ChangesTrimPoint(c.entries, c.oldest); err != nil || keep != c.keep || more {
			t.Errorf("%d entries from %d on: keep %d, %v, %v; want %d", c.entries, c.oldest, keep, more, err, c.keep)
		}
	}
	// A trim is an entry itself. It gives no reason for another one, however often it is asked.
	b.next(TrimChanges{First: start + 7}.Encode())
	b.next(Noop{}.Encode())
	for range 3 {
		if keep, _, err := b.store.ChangesTrimPoint(4, 0); err != nil || keep != start+9 {
			t.Fatalf("two entries later: keep %d, %v; want %d", keep, err, start+9)
		}
	}
	for range 8 {
		b.next(Noop{}.Encode())
	}
	keep, _, err := b.store.ChangesTrimPoint(4, 0)
	if err != nil || keep == 0 {
		t.Fatalf("all is old: keep %d, %v", keep, err)
	}
	b.next(TrimChanges{First: keep}.Encode())
	for range 3 {
		if keep, _, err := b.store.ChangesTrimPoint(4, 0); err != nil || keep != 0 {
			t.Fatalf("nothing is left to trim, and keep is %d, %v", keep, err)
		}
		b.next(TrimChanges{First: keep}.Encode())
	}
}

// TestExplainedEntry finds the entry of each message, also of those that a leader with a
// clock behind appended, until the feed does not go back to it.
func TestExplainedEntry(t *testing.T) {
	b := newBench(t, crashfs.New())
	b.next(RaiseLevel{Level: changesLevel}.Encode())
	start := b.machine.Applied().Index
	random := rand.New(rand.NewPCG(7, 1))
	entryOf := map[tidemark.TimelineID][]uint64{}
	for i := range uint64(200) {
		var commands [][]byte
		for range 1 + random.IntN(3) {
			timeline := tidemark.TimelineID(fmt.Sprint("t", random.IntN(4)))
			commands = append(commands, Append{Draft: draft(string(timeline), fmt.Sprint(len(entryOf[timeline])), "x")}.Encode())
			entryOf[timeline] = append(entryOf[timeline], start+1+i)
		}
		now := tidemark.Time(1000 + i)
		if i/50%2 == 1 {
			now -= 60
		}
		b.mustApply(tidemark.Entry{Index: start + 1 + i, Term: 1, Kind: tidemark.EntryCommands, Data: EncodeEntry(now.Go(), commands)})
	}
	check := func(from uint64) {
		t.Helper()
		for timeline, entries := range entryOf {
			for i, want := range entries {
				if want < from {
					want = 0
				}
				if e, err := b.store.Explain(timeline, tidemark.SeqID(i+1), "", 1); err != nil || e.Index != want {
					t.Fatalf("message %d of %s: entry %d, %v; want %d", i+1, timeline, e.Index, err, want)
				}
			}
		}
	}
	check(0)
	b.next(TrimChanges{First: start + 100}.Encode())
	check(start + 100)
}

// TestRecoveredFeed takes a position of before for one of another history.
func TestRecoveredFeed(t *testing.T) {
	b := newBench(t, crashfs.New())
	b.next(RaiseLevel{Level: changesLevel}.Encode())
	before, err := b.store.ChangesEnd()
	if err != nil {
		t.Fatal(err)
	}
	applied := b.machine.Applied()
	applied.Membership = []byte("alone")
	if err := b.machine.SetMembership(applied); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Changes(tidemark.ChangesQuery{From: before, MaxChanges: 1, MaxBytes: 1}); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("a position of before is taken: %v", err)
	}
	b.next(Append{Draft: draft("t", "m", "x")}.Encode())
	if page, err := b.store.Changes(tidemark.ChangesQuery{MaxChanges: 9, MaxBytes: 1}); err != nil || len(page.Changes) != 1 {
		t.Errorf("%d changes, %v", len(page.Changes), err)
	}
}
