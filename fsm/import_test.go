package fsm

import (
	"errors"
	"fmt"
	"testing"

	"tidemark"
	"tidemark/internal/crashfs"
)

// anImport is of n messages from first on, a second apart.
func anImport(timeline string, first tidemark.SeqID, n int) Import {
	c := Import{Timeline: tidemark.TimelineID(timeline), First: first}
	for i := range n {
		seq := int64(first) + int64(i)
		c.Items = append(c.Items, ImportItem{
			Draft:      tidemark.Draft{ID: tidemark.MessageID(fmt.Sprint("m", seq)), ClientTime: tidemark.NoTime},
			ServerTime: tidemark.Time(1e18 + seq%1000*1e9),
		})
	}
	return c
}

// The highest SeqID that can be imported leaves room for appends, and none above it is taken.
func TestImportOfTheHighestSeqIDs(t *testing.T) {
	b := newBench(t, crashfs.New())
	for _, first := range []tidemark.SeqID{0, rule6ImportSeqID, rule6ImportSeqID + 1, 1<<64 - 2, 1<<64 - 1} {
		result := b.next(anImport("conv/1", first, 1).Encode())[0].(ImportResult)
		if !errors.Is(result.Err, tidemark.ErrInvalid) {
			t.Errorf("first %d: %+v", first, result)
		}
	}
	results := b.next(
		anImport("conv/1", rule6ImportSeqID-2, 2).Encode(), Append{Draft: draft("conv/1", "next", "")}.Encode(),
		DeleteTimeline{Timeline: "conv/1"}.Encode(), Append{Draft: draft("conv/1", "later", "")}.Encode(),
	)
	if got := results[0].(ImportResult); got.Err != nil || got.Head.Last != rule6ImportSeqID-1 {
		t.Errorf("import: %+v", got)
	}
	if got := results[1].(AppendResult); got.Err != nil || got.SeqID != rule6ImportSeqID {
		t.Errorf("append: %+v", got)
	}
	b.reopen()
	if head, err := b.store.Head("conv/1"); err != nil || head.First != rule6ImportSeqID+1 || head.Count() != 1 {
		t.Errorf("head: %+v, %v", head, err)
	}
}

// What was imported and is trimmed is passed over when it is imported again; another history
// is not taken for it where its digests tell.
func TestImportAgainBehindATrim(t *testing.T) {
	b := newBench(t, crashfs.New())
	whole := anImport("conv/1", 1, 6)
	first := b.next(whole.Encode(), Trim{Timeline: "conv/1", First: 5}.Encode())[0].(ImportResult)
	if first.Err != nil || first.Duplicates != 0 {
		t.Fatalf("%+v", first)
	}
	head, err := b.store.Head("conv/1")
	if err != nil {
		t.Fatal(err)
	}
	whole.Items = append(whole.Items, anImport("conv/1", 7, 1).Items...)
	whole.Items[3].Digest = head.TrimmedDigest
	again := b.next(whole.Encode())[0].(ImportResult)
	if again.Err != nil || again.Duplicates != 6 || again.Head.First != 5 || again.Head.Last != 7 {
		t.Errorf("again: %+v", again)
	}
	whole.Items[3].Digest[0]++
	other := anImport("conv/1", 8, 1)
	other.Previous = head.Digest
	middle := anImport("conv/1", 5, 1)
	middle.Previous = tidemark.Digest{1}
	for i, result := range b.next(whole.Encode(), other.Encode(), middle.Encode()) {
		if got := result.(ImportResult); !errors.Is(got.Err, tidemark.ErrInvalid) {
			t.Errorf("another history %d: %+v", i, got)
		}
	}
	b.next(DeleteTimeline{Timeline: "conv/1"}.Encode())
	if got := b.next(anImport("conv/1", 1, 2).Encode())[0].(ImportResult); !errors.Is(got.Err, tidemark.ErrSequenceConflict) {
		t.Errorf("into one that was deleted: %+v", got)
	}
}

// A timeline that was made for its settings has no message yet, also when it was deleted.
func TestImportIntoATimelineWithSettings(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		b := newBench(t, crashfs.New())
		b.next(UpdateTimeline{Timeline: "conv/1", Set: tidemark.Attributes{{Key: "a", Value: "b"}}}.Encode())
		if deleted {
			b.next(DeleteTimeline{Timeline: "conv/1"}.Encode())
		}
		c := anImport("conv/1", 41, 3)
		c.Previous = tidemark.Digest{7}
		result := b.next(c.Encode())[0].(ImportResult)
		if result.Err != nil || result.Head.First != 41 || result.Head.Last != 43 || result.Head.TrimmedDigest != c.Previous {
			t.Errorf("deleted %t: %+v", deleted, result)
		}
		b.reopen()
		if head, err := b.store.Head("conv/1"); err != nil || head != result.Head || head.CreatedTime > c.Items[0].ServerTime {
			t.Errorf("deleted %t: %+v, %v", deleted, head, err)
		}
	}
}
