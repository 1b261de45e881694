package fsm

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
)

// randomLog is a log that meets itself often: few timelines, few ids, few readers.
func randomLog(random *rand.Rand, entries int) []tidemark.Entry {
	g := generator{random}
	log := make([]tidemark.Entry, 0, entries)
	index, term, clock := uint64(0), uint64(1), int64(1e18)
	for range entries {
		index += 1 + uint64(random.IntN(3)/2) // Raft keeps some for itself
		clock += random.Int64N(3e9)
		if random.IntN(20) == 0 {
			term++
			clock -= random.Int64N(10e9) // the new leader's clock
		}
		e := tidemark.Entry{Index: index, Term: term, Kind: tidemark.EntryCommands}
		if random.IntN(15) == 0 {
			e.Kind = tidemark.EntryMembership
			e.Data = fmt.Appendf(nil, "members %d", index)
		} else {
			commands := make([][]byte, random.IntN(6))
			for i := range commands {
				commands[i] = g.command()
			}
			e.Data = EncodeEntry(tidemark.Time(clock).Go(), commands)
		}
		log = append(log, e)
	}
	return log
}

type generator struct{ *rand.Rand }

func (g generator) command() []byte {
	switch g.IntN(20) {
	case 0:
		return Noop{}.Encode()
	case 16:
		c := Import{Timeline: g.timeline(), First: tidemark.SeqID(1 + g.Uint64N(3))}
		for i := range 1 + g.IntN(3) {
			c.Items = append(c.Items, ImportItem{Draft: g.append().Draft, ServerTime: tidemark.Time(1e18 + int64(i))})
		}
		return c.Encode()
	case 18, 19:
		return g.revise(tidemark.SeqID(g.Uint64N(12))).Encode()
	case 17:
		return TrimChanges{First: g.Uint64N(100)}.Encode()
	case 10:
		return RaiseLevel{Level: 1 + g.Uint32N(Level)}.Encode()
	case 11:
		return g.recipients().Encode()
	case 12:
		return Trim{Timeline: g.timeline(), First: tidemark.SeqID(g.Uint64N(200))}.Encode()
	case 13:
		if g.IntN(3) > 0 {
			return Noop{}.Encode()
		}
		return DeleteTimeline{Timeline: g.timeline()}.Encode()
	case 14:
		return g.update().Encode()
	case 15:
		return SetPolicy{tidemark.Policy{Prefix: string(g.timeline()), MaxMessages: g.Uint64N(3), AckedByAll: g.IntN(3) == 0}}.Encode()
	case 1, 2:
		batch := AppendBatch{Items: make([]Append, g.IntN(5))}
		for i := range batch.Items {
			batch.Items[i] = g.append()
		}
		return batch.Encode()
	case 3, 4:
		ack := Ack{Reader: tidemark.ReaderID(fmt.Sprintf("reader%d", g.IntN(3)))}
		for range g.IntN(3) {
			ack.Items = append(ack.Items, AckItem{Timeline: g.timeline(), Delivered: g.seq(), Read: g.seq()})
			if g.IntN(4) == 0 {
				ack.Items[len(ack.Items)-1].Floor = g.seq()
			}
		}
		ack.Rewind = g.IntN(5) == 0
		return ack.Encode()
	default:
		return g.append().Encode()
	}
}

func (g generator) append() Append {
	a := Append{Draft: draft(string(g.timeline()), fmt.Sprintf("m%d", g.IntN(40)), "same")}
	if g.IntN(10) == 0 {
		a.Draft.Payload = []byte("other")
	}
	if g.IntN(30) == 0 {
		a.Draft.Sender = "\xff" // what the door would refuse
	}
	if g.IntN(4) == 0 {
		a.Expected = g.seq()
	}
	if g.IntN(3) == 0 {
		a.Draft.Sender = fmt.Sprintf("reader%d#%d", g.IntN(3), g.IntN(2))
	}
	a.FanOut.Recipients = g.IntN(4) == 0
	if g.IntN(6) == 0 {
		a.FanOut.Inboxes = g.inboxes()
	}
	a.AdvanceSender = g.IntN(8) == 0
	return a
}

// revise takes ids of its own, and now and then those of messages.
func (g generator) revise(target tidemark.SeqID) Revise {
	c := Revise{Draft: draft(string(g.timeline()), fmt.Sprintf("r%d", g.IntN(60)), ""), SeqID: target, Redact: g.IntN(4) == 0}
	if !c.Redact || g.IntN(20) == 0 {
		c.Draft.Payload = fmt.Appendf(nil, "edit %d", g.IntN(2))
	}
	if g.IntN(30) == 0 {
		c.Draft.ID = tidemark.MessageID(fmt.Sprintf("m%d", g.IntN(40)))
	}
	if g.IntN(3) == 0 {
		c.Draft.Sender = fmt.Sprintf("reader%d", g.IntN(3))
	}
	if g.IntN(4) == 0 {
		expected := g.Uint64N(3)
		c.Expected = &expected
	}
	return c
}

func (g generator) recipients() SetRecipients {
	c := SetRecipients{Timeline: g.timeline()}
	switch g.IntN(3) {
	case 0:
		c.Change = tidemark.RecipientChange{Replace: true, Add: g.inboxes()}
	case 1:
		c.Change.Remove = g.inboxes()
	default:
		c.Change.Add = g.inboxes()
	}
	if g.IntN(5) == 0 {
		version := g.Uint64N(4)
		c.Change.ExpectedVersion = &version
	}
	return c
}

// history goes on somewhere near the end of what the model has, with some of that.
func (g generator) history(m *model) Import {
	c := Import{Timeline: g.timeline(), First: tidemark.SeqID(1 + g.IntN(3))}
	line := m.timelines[c.Timeline]
	if line == nil {
		line = &modelTimeline{}
	} else if g.IntN(4) > 0 {
		c.First = tidemark.SeqID(max(1, len(line.messages)+2-g.IntN(4)))
		if g.IntN(3) == 0 {
			c.First = tidemark.SeqID(max(1, line.trimmed-g.IntN(2)))
		}
	}
	at := line.time
	for i := range 1 + g.IntN(3) {
		item := ImportItem{Draft: g.append().Draft}
		if seq := int(c.First) + i; seq > line.trimmed && seq <= len(line.messages) && g.IntN(4) > 0 {
			item.Draft, at = line.messages[seq-1].draft, line.messages[seq-1].time
		} else {
			at += tidemark.Time(g.IntN(3) - g.IntN(8)/7)
		}
		item.Draft.Timeline, item.ServerTime = "", at
		c.Items = append(c.Items, item)
	}
	return c
}

func (g generator) update() UpdateTimeline {
	c := UpdateTimeline{Timeline: g.timeline()}
	for _, key := range []string{"a", "b", "c"} {
		switch g.IntN(4) {
		case 0:
			c.Set = append(c.Set, tidemark.Attribute{Key: key, Value: fmt.Sprint(g.IntN(3))})
		case 1:
			c.Remove = append(c.Remove, key)
		}
	}
	return c
}

// inboxes are some that are conversations at the same time.
func (g generator) inboxes() (inboxes []tidemark.TimelineID) {
	for range g.IntN(4) {
		inboxes = append(inboxes, g.timeline(), tidemark.TimelineID(fmt.Sprintf("inbox/%d", g.IntN(4))))
	}
	slices.Sort(inboxes)
	return slices.Compact(inboxes)
}

func (g generator) timeline() tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("conv/%d", g.IntN(4)))
}

func (g generator) seq() *tidemark.SeqID {
	if g.IntN(3) == 0 {
		return nil
	}
	return seq(g.Uint64N(15))
}

// The same log gives the same bytes and the same answers, however it is cut into
// calls and store batches, and whatever stops and crashes happen in between.
func TestSameLogSameBytes(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			log := randomLog(random, 150)
			plain := newBench(t, crashfs.New())
			answers := make([][]any, len(log))
			for i := range log {
				answers[i] = plain.mustApply(log[i])[0]
			}
			want := plain.dump()
			for run := range uint64(4) {
				torn := newBench(t, crashfs.New())
				replay(t, torn, log, answers, rand.New(rand.NewPCG(seed, 100+run)))
				if got := torn.dump(); got != want {
					t.Fatalf("run %d: the store has other bytes:\n%s\nwant\n%s", run, got, want)
				}
			}
		})
	}
}

// replay applies the log in pieces, with stops, crashes and syncs in between, and
// hands over entries again that were applied before.
func replay(t *testing.T, b *bench, log []tidemark.Entry, answers [][]any, random *rand.Rand) {
	for next := 0; next < len(log); {
		b.machine.batchBytes = 1 + random.IntN(500)
		from := max(0, next-random.IntN(4))
		to := min(len(log), next+1+random.IntN(10))
		results := b.mustApply(log[from:to]...)
		for i := from; i < to; i++ {
			want := answers[i]
			if i < next {
				want = nil
			}
			if !reflect.DeepEqual(results[i-from], want) {
				t.Fatalf("entry %d: got %+v, want %+v", log[i].Index, results[i-from], want)
			}
		}
		next = to
		switch random.IntN(8) {
		case 0:
			b.reopen()
		case 1:
			if err := b.machine.Sync(); err != nil {
				t.Fatal(err)
			}
		case 2:
			durable := b.machine.DurableIndex()
			b.crash(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})
			applied := b.machine.Applied().Index
			if applied < durable {
				t.Fatalf("index %d was durable, and %d is left after a crash", durable, applied)
			}
			for next > 0 && log[next-1].Index > applied {
				next--
			}
		}
		checkApplied(t, b, log[:next])
	}
}

// checkApplied compares the applied record with the log that was applied.
func checkApplied(t *testing.T, b *bench, log []tidemark.Entry) {
	t.Helper()
	var want tidemark.Applied
	for _, e := range log {
		want.Index, want.Term = e.Index, e.Term
		if e.Kind == tidemark.EntryMembership {
			want.Membership, want.MembershipIndex = e.Data, e.Index
		}
	}
	got := b.machine.Applied()
	if got.Index != want.Index || got.Term != want.Term || got.MembershipIndex != want.MembershipIndex || string(got.Membership) != string(want.Membership) {
		t.Fatalf("applied is %+v, want %+v", got, want)
	}
}
