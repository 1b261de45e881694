package pebblestore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"tidemark"
	"tidemark/pebblestore"
)

const (
	benchTimelines = 1000
	benchPayload   = 256
	benchBatch     = 64
)

func openBench(b *testing.B) *pebblestore.Store {
	s, err := pebblestore.Open(b.TempDir()+"/store", pebblestore.DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// feeder appends messages of random content to timelines chosen uniformly.
type feeder struct {
	rng     *rand.Rand
	names   []tidemark.TimelineID
	payload [benchPayload]byte
	index   uint64
}

func newFeeder(timelines int) *feeder {
	f := &feeder{rng: rand.New(rand.NewPCG(1, 1))}
	for i := range timelines {
		f.names = append(f.names, tidemark.TimelineID(fmt.Sprintf("conv/%d", i)))
	}
	return f
}

func (f *feeder) batch(tb testing.TB, s *pebblestore.Store, messages int) {
	b := s.NewBatch()
	defer b.Discard()
	f.index++
	for range messages {
		for i := 0; i < benchPayload; i += 8 {
			binary.LittleEndian.PutUint64(f.payload[i:], f.rng.Uint64())
		}
		d := tidemark.Draft{Timeline: f.names[f.rng.IntN(len(f.names))], ID: tidemark.MessageID(uuid.Must(uuid.NewV7()).String()), Sender: "alice", Type: "text", Payload: f.payload[:], ClientTime: tidemark.NoTime}
		if _, _, err := appendDraft(b, d, tidemark.Time(f.index)); err != nil {
			tb.Fatal(err)
		}
	}
	b.SetApplied(tidemark.Applied{Index: f.index, Term: 1, Membership: make([]byte, 200)})
	if err := b.Commit(); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkAppend is what a state machine does for each message: look the head and
// the message id up, compute the digest, write.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 16, benchBatch, 256} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s, f := openBench(b), newFeeder(benchTimelines)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += size {
				f.batch(b, s, size)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			m := s.Metrics()
			b.ReportMetric(float64(m.FlushedBytes+m.CompactedBytes+m.LogBytesWritten)/float64(max(1, b.N)), "written-B/op")
		})
	}
}

// BenchmarkDedupeMiss looks up message ids that no timeline holds, in a store whose
// tables are all on the last level.
func BenchmarkDedupeMiss(b *testing.B) {
	s, f := openBench(b), newFeeder(benchTimelines)
	for range 2000 {
		f.batch(b, s, benchBatch)
	}
	batch := s.NewBatch()
	defer batch.Discard()
	ids := make([]tidemark.MessageID, 1000)
	for i := range ids {
		ids[i] = tidemark.MessageID(uuid.NewString())
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, found, err := batch.Lookup(uint64(1+i%benchTimelines), ids[i%len(ids)]); found || err != nil {
			b.Fatal(found, err)
		}
	}
}

// BenchmarkReadPage reads pages of 100 messages.
func BenchmarkReadPage(b *testing.B) {
	s, f := openBench(b), newFeeder(100)
	for range 2000 {
		f.batch(b, s, benchBatch)
	}
	for name, r := range map[string]tidemark.Range{
		"forward": {Start: tidemark.StartSeq}, "newest": {Start: tidemark.StartNewest}, "time": {Start: tidemark.StartTime, Time: 1000},
	} {
		b.Run(name, func(b *testing.B) {
			r.Limit, r.MaxBytes, r.Memory = 100, 1<<20, new(tidemark.PageMemory)
			b.ReportAllocs()
			messages := 0
			for b.Loop() {
				r.Timeline, r.Seq = f.names[f.rng.IntN(len(f.names))], tidemark.SeqID(f.rng.IntN(1000))
				page, err := s.Read(r)
				if err != nil {
					b.Fatal(err)
				}
				messages += len(page.Messages)
			}
			b.ReportMetric(float64(messages)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkSnapshot is the cost of a snapshot at two sizes of the store: making the
// state durable, opening a copy, streaming it, and taking it in.
func BenchmarkSnapshot(b *testing.B) {
	for _, megabytes := range []int{10, 500} {
		b.Run(fmt.Sprintf("%dMiB", megabytes), func(b *testing.B) {
			s, f := openBench(b), newFeeder(benchTimelines)
			for range megabytes << 20 / (benchPayload * benchBatch) {
				f.batch(b, s, benchBatch)
			}
			other := openBench(b)
			var took [4]time.Duration
			var size int64
			for b.Loop() {
				f.batch(b, s, benchBatch)
				size = snapshotOnce(b, s, other, &took)
			}
			for i, name := range []string{"sync-ms", "open-ms", "stream-ms", "finish+install-ms"} {
				b.ReportMetric(float64(took[i].Microseconds())/1000/float64(b.N), name)
			}
			b.ReportMetric(float64(size)/(1<<20), "stream-MiB")
		})
	}
}

func snapshotOnce(b *testing.B, s, other *pebblestore.Store, took *[4]time.Duration) int64 {
	step, begin := 0, time.Now()
	lap := func() {
		now := time.Now()
		took[step] += now.Sub(begin)
		step, begin = step+1, now
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	lap()
	snapshot, err := s.OpenSnapshot()
	if err != nil {
		b.Fatal(err)
	}
	lap()
	in, err := other.Receive()
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(in, snapshot); err != nil {
		b.Fatal(err)
	}
	lap()
	_, err = in.Finish()
	if err := errors.Join(err, other.Install(in), snapshot.Close()); err != nil {
		b.Fatal(err)
	}
	lap()
	return snapshot.Size()
}

// Who has read a message of a group of 10,000, as a page of names and as a count.
func BenchmarkReadersOfAMessage(b *testing.B) {
	s := openBench(b)
	const readers = 10_000
	batch := s.NewBatch()
	if _, _, err := appendDraft(batch, draft("group/1", "m", "x"), 1); err != nil {
		b.Fatal(err)
	}
	for i := range readers {
		if _, err := acknowledge(batch, "group/1", tidemark.ReaderID(fmt.Sprintf("user-%05d", i)), 1, 1, 1); err != nil {
			b.Fatal(err)
		}
	}
	batch.SetApplied(tidemark.Applied{Index: 1, Term: 1})
	if err := batch.Commit(); err != nil {
		b.Fatal(err)
	}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if n, _, err := s.CountCursors("group/1", 1); err != nil || n != readers {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("names", func(b *testing.B) {
		for b.Loop() {
			after, n := tidemark.ReaderID(""), 0
			for more := true; more; {
				page, err := s.CursorsByTimeline("group/1", 1, after, tidemark.MaxListItems)
				if err != nil {
					b.Fatal(err)
				}
				n, more = n+len(page.Cursors), page.More
				after = page.Cursors[len(page.Cursors)-1].Reader
			}
			if n != readers {
				b.Fatal(n)
			}
		}
	})
}
