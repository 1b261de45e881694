package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
)

// stateMachine is a copy of raftnode.StateMachine, which this package must not import.
type stateMachine interface {
	ApplyBatch(entries []tidemark.Entry) [][]any
	Applied() tidemark.Applied
	WaitApplied(ctx context.Context, index uint64) error
	Sync() error
	DurableIndex() uint64
	OpenSnapshot() (tidemark.SnapshotReader, error)
	ReceiveSnapshot() (tidemark.SnapshotWriter, error)
	InstallSnapshot(tidemark.SnapshotWriter) error
	SetMembership(tidemark.Applied) error
}

var _ stateMachine = (*Machine)(nil)

func TestDedupeHasNoWindow(t *testing.T) {
	b := newBench(t, crashfs.New())
	first := b.mustApply(entryOf(1, appendOf("t", "m0", "first")))[0][0].(AppendResult)
	const entries, each = 200, 100
	for e := range entries {
		commands := make([][]byte, each)
		for i := range commands {
			commands[i] = appendOf("t", fmt.Sprintf("m%d", 1+e*each+i), "later")
		}
		b.mustApply(entryOf(uint64(2+e), commands...))
	}
	b.reopen()
	century := entryOf(3_000_000_000, appendOf("t", "m0", "first"), appendOf("t", "m0", "other"))
	results := b.mustApply(century)[0]
	first.Duplicate = true
	if results[0] != any(first) {
		t.Errorf("a late retry got %+v, want %+v", results[0], first)
	}
	if err := results[1].(AppendResult).Err; !errors.Is(err, tidemark.ErrMessageIDConflict) {
		t.Errorf("late other content got %v", err)
	}
	if head := b.heads()[0]; head.Last != 1+entries*each {
		t.Errorf("last SeqID is %d", head.Last)
	}
}

// The digests of a timeline can be recomputed from what readers get.
func TestDigestChain(t *testing.T) {
	b := newBench(t, crashfs.New())
	b.mustApply(entryOf(1, fullDraftOf("a").Encode(), fullDraftOf("b").Encode()), entryOf(2, appendOf("conv/42", "c", "")))
	page, err := b.store.Read(tidemark.Range{Timeline: "conv/42", Seq: 1, Limit: 10, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	digest := tidemark.InitialDigest("conv/42")
	for _, m := range page.Messages {
		content := m.Draft.Hash(tidemark.HashPayload(m.Payload))
		digest = tidemark.NextDigest(digest, m.SeqID, m.ServerTime, m.ID, content)
		if m.Digest != digest {
			t.Errorf("message %d has digest %s, want %s", m.SeqID, m.Digest, digest)
		}
	}
	if len(page.Messages) != 3 || page.Head.Digest != digest {
		t.Errorf("%d messages, and the head's digest is %s, want %s", len(page.Messages), page.Head.Digest, digest)
	}
}

func fullDraftOf(id string) Append {
	a := fullAppend
	a.Draft.ID, a.Expected = tidemark.MessageID(id), nil
	return a
}

// What changes nothing writes nothing but the applied record.
func TestWhatChangesNothingWritesNothing(t *testing.T) {
	b := newBench(t, crashfs.New())
	retry := appendOf("t", "m", "x")
	ack := Ack{Reader: "alice", Items: []AckItem{{Timeline: "t", Delivered: seq(1)}}}.Encode()
	b.mustApply(entryOf(1, retry, ack))
	before := b.dump()
	b.mustApply(entryOf(2,
		retry, ack, Noop{}.Encode(), appendOf("t", "m", "other"), appendOf("", "m", "x"),
		Append{Draft: draft("new", "m", "x"), Expected: seq(1)}.Encode(),
		AppendBatch{Items: []Append{{Draft: draft("new", "m", "x")}, {Draft: draft("t", "m", "other")}}}.Encode(),
		Ack{Reader: "bob", Items: []AckItem{{Timeline: "t", Delivered: seq(0)}, {Timeline: "t"}}}.Encode(),
		Ack{Reader: "bob", Items: []AckItem{{Timeline: "t", Read: seq(1)}, {Timeline: "nowhere", Read: seq(1)}}}.Encode(),
	))
	applied, others := splitApplied(b.dump())
	appliedBefore, othersBefore := splitApplied(before)
	if applied == appliedBefore || others != othersBefore {
		t.Errorf("the store became\n%s\nand the applied record %s", others, applied)
	}
}

// splitApplied takes the line of the applied record out of a dump.
func splitApplied(dump string) (applied, others string) {
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, "01 = ") {
			applied = line
		} else {
			others += line
		}
	}
	return applied, others
}

func TestSetMembership(t *testing.T) {
	b := newBench(t, crashfs.New())
	b.mustApply(entryOf(5, appendOf("t", "m", "x")))
	want := tidemark.Applied{Index: 5, Term: 1, Membership: []byte("n1 alone"), MembershipIndex: 5}
	if err := b.machine.SetMembership(want); err != nil {
		t.Fatal(err)
	}
	b.crash(vfs.CrashCloneCfg{})
	got := b.machine.Applied()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after a crash applied is %+v, want %+v", got, want)
	}
	if err := b.machine.SetMembership(tidemark.Applied{Index: 4, Term: 1}); err == nil || !strings.Contains(err.Error(), "index 4 is less than the applied index 5") {
		t.Errorf("going back: %v", err)
	}
	if results := b.mustApply(entryOf(6, appendOf("t", "m", "x")))[0]; !results[0].(AppendResult).Duplicate {
		t.Errorf("the data is not what it was: %+v", results)
	}
}

func TestSnapshotBecomesAnotherMachine(t *testing.T) {
	from, to := newBench(t, crashfs.New()), newBench(t, crashfs.New())
	members := tidemark.Entry{Index: 1, Term: 1, Kind: tidemark.EntryMembership, Data: []byte("n1")}
	from.mustApply(members, entryOf(2, appendOf("a", "m1", "x"), appendOf("b", "m1", "x")))
	// The receiver knows another a, and must forget it.
	to.mustApply(entryOf(1, appendOf("a", "m9", "old"), appendOf("a", "m8", "old")))

	snapshot, err := from.machine.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	incoming, err := to.machine.ReceiveSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(incoming, snapshot); err != nil || n != snapshot.Size() {
		t.Fatalf("copied %d of %d bytes: %v", n, snapshot.Size(), err)
	}
	if err := snapshot.Close(); err != nil {
		t.Error(err)
	}
	if applied, err := incoming.Finish(); err != nil || applied.Index != 2 {
		t.Fatalf("finished at %d: %v", applied.Index, err)
	}
	waited := make(chan error, 1)
	patience, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { waited <- to.machine.WaitApplied(patience, 2) }()
	if err := to.machine.InstallSnapshot(incoming); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	applied := to.machine.Applied()
	if applied.Index != 2 || applied.InstalledIndex != 2 || string(applied.Membership) != "n1" || applied.MembershipIndex != 1 {
		t.Errorf("after the installation applied is %+v", applied)
	}
	next := entryOf(3, appendOf("a", "m9", "new"), appendOf("b", "m1", "x"), appendOf("c", "m1", "x"))
	want, got := from.mustApply(next), to.mustApply(next)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("results are %+v, want %+v", got, want)
	}
	if installed := to.machine.Applied().InstalledIndex; installed != 2 {
		t.Errorf("the installed index was %d after the next entry, want 2", installed)
	}
	if want, got := renderHeads(from.heads()), renderHeads(to.heads()); got != want {
		t.Errorf("heads are\n%swant\n%s", got, want)
	}
}

type foreignWriter struct{ tidemark.SnapshotWriter }

func TestInstallRefusesForeignWriters(t *testing.T) {
	b := newBench(t, crashfs.New())
	if err := b.machine.InstallSnapshot(foreignWriter{}); err == nil || !strings.Contains(err.Error(), "fsm.foreignWriter was not made by ReceiveSnapshot") {
		t.Errorf("got %v", err)
	}
}

// A caller that waited for an index sees the effect of its entry.
func TestWaitAppliedMeansVisible(t *testing.T) {
	b := newBench(t, crashfs.New())
	const entries = 300
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for index := uint64(1); index <= entries; index++ {
				if err := b.machine.WaitApplied(t.Context(), index); err != nil {
					t.Error(err)
					return
				}
				if applied := b.machine.Applied().Index; applied < index {
					t.Errorf("waited for %d, and applied is %d", index, applied)
				}
				if _, _, err := b.store.Get("t", tidemark.SeqID(index)); err != nil {
					t.Errorf("waited for %d: %v", index, err)
					return
				}
			}
		})
	}
	for index := uint64(1); index <= entries; index++ {
		b.mustApply(entryOf(index, appendOf("t", fmt.Sprint(index), "x")))
	}
	group.Wait()
}

// A call that is larger than one store batch is applied in several, which end
// between entries.
func TestLargeCalls(t *testing.T) {
	b := newBench(t, crashfs.New())
	payload := strings.Repeat("x", rule1PayloadBytes)
	entries := make([]tidemark.Entry, 40)
	for i := range entries {
		entries[i] = entryOf(uint64(i+1), appendOf("t", fmt.Sprint(i), payload))
	}
	unknown := tidemark.Entry{Index: 41, Term: 1}
	if _, err := b.apply(append(entries, unknown)...); err == nil {
		t.Error("an unknown kind of entry did not stop the machine")
	}
	// 32 times 256 KiB and a little is just more than 8 MiB.
	if applied := b.machine.Applied().Index; applied != 32 {
		t.Errorf("%d entries are in the store batches before the one with the fault, want 32", applied)
	}
	b.reopen()
	results := b.mustApply(entries...)
	for i, result := range results {
		if i < 32 {
			if result != nil {
				t.Errorf("entry %d was applied twice: %+v", i+1, result)
			}
		} else if r := result[0].(AppendResult); r.SeqID != tidemark.SeqID(i+1) || r.Err != nil {
			t.Errorf("entry %d: %+v", i+1, r)
		}
	}
}
