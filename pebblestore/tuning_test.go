package pebblestore

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"tidemark"
)

// BenchmarkTuning measures what each setting of the database costs and gains, against those that
// are in force: filling with 96 MiB of messages in up to 1,000 timelines, what was written and what is on the disk for
// each byte of payload, random pages of 100, and look-ups of ids that are not there without the
// filter of all ids. One iteration is all of that.
func BenchmarkTuning(b *testing.B) {
	type change func(*Options, *pebble.Options)
	separated := func(size int) change {
		return func(_ *Options, p *pebble.Options) {
			if p == nil {
				return
			}
			p.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
				return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: size, MaxBlobReferenceDepth: 10, RewriteMinimumAge: time.Minute, TargetGarbageRatio: 0.2}
			}
		}
	}
	fresh := func(tables int) change {
		return func(_ *Options, p *pebble.Options) {
			if p != nil {
				p.L0CompactionThreshold = 2 * tables
			}
		}
	}
	blocks := func(size int) change {
		return func(_ *Options, p *pebble.Options) {
			if p != nil {
				p.Levels[0].BlockSize = size
			}
		}
	}
	for _, setting := range []struct {
		name    string
		payload int
		change  change
	}{
		{"as it is", 256, func(*Options, *pebble.Options) {}},
		{"no bloom filter", 256, func(o *Options, _ *pebble.Options) { o.BloomBitsPerKey = 0 }},
		{"blocks of 4 KiB", 256, blocks(4 << 10)},
		{"blocks of 32 KiB", 256, blocks(32 << 10)},
		{"cache of 8 MiB", 256, func(o *Options, _ *pebble.Options) { o.BlockCacheBytes = 8 << 20 }},
		{"buffer of 8 MiB", 256, func(o *Options, _ *pebble.Options) { o.MemTableBytes = 8 << 20 }},
		{"buffer of 64 MiB", 256, func(o *Options, _ *pebble.Options) { o.MemTableBytes = 64 << 20 }},
		{"fresh tables merged two at a time", 256, fresh(2)},
		{"fresh tables merged 16 at a time", 256, fresh(16)},
		{"one compaction", 256, func(o *Options, _ *pebble.Options) { o.MaxCompactions = 1 }},
		{"no compression", 256, func(o *Options, _ *pebble.Options) { o.Compression = CompressionNone }},
		{"balanced compression", 256, func(o *Options, _ *pebble.Options) { o.Compression = CompressionBalanced }},
		{"as it is, 16 KiB payloads", 16 << 10, func(*Options, *pebble.Options) {}},
		{"values of 1 KiB apart, 16 KiB payloads", 16 << 10, separated(1 << 10)},
	} {
		b.Run(setting.name, func(b *testing.B) {
			for b.Loop() {
				o := DefaultOptions()
				o.IDFilterBytes = 0
				setting.change(&o, nil)
				o.tune = func(p *pebble.Options) { setting.change(&o, p) }
				measureTuning(b, o, setting.payload)
			}
		})
	}
}

func measureTuning(b *testing.B, o Options, payload int) {
	const batch, bytes, pages, lookups = 64, 96 << 20, 3000, 50_000
	messages := bytes / payload
	timelines := min(1000, messages/100)
	s, err := Open(b.TempDir()+"/store", o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	rng := rand.New(rand.NewPCG(1, 1))
	draft := tidemark.Draft{Sender: "alice", Type: "text", ClientTime: tidemark.NoTime}
	began := time.Now()
	for index := uint64(1); int(index-1)*batch < messages; index++ {
		out := s.NewBatch()
		for range batch {
			id := tidemark.TimelineID(fmt.Sprint("conv/", rng.IntN(timelines)))
			draft.ID, draft.Payload = tidemark.MessageID(fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64())), words(rng, payload)
			h, exists, err := out.Head(id)
			if err != nil {
				b.Fatal(err)
			}
			if !exists {
				h = out.CreateTimeline(id, 1)
			}
			if _, found, err := out.Lookup(h.Number, draft.ID); found || err != nil {
				b.Fatal(found, err)
			}
			content := draft.Hash(tidemark.HashPayload(draft.Payload))
			m := tidemark.Message{Draft: draft, SeqID: h.Last + 1, ServerTime: 1}
			m.Digest = tidemark.NextDigest(h.Digest, m.SeqID, m.ServerTime, m.ID, content)
			out.PutMessage(h.Number, &m, content)
			h.Last, h.Digest = m.SeqID, m.Digest
			out.PutHead(h)
		}
		out.SetApplied(tidemark.Applied{Index: index, Term: 1})
		if err := out.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		b.Fatal(err)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(time.Minute); s.Metrics().CompactionsRunning > 0 && time.Now().Before(deadline); {
		<-look.C
	}
	m := s.Metrics()
	total := float64(messages * payload)
	b.ReportMetric(float64(messages)/time.Since(began).Seconds(), "messages/s")
	b.ReportMetric(float64(m.FlushedBytes+m.CompactedBytes)/total, "written/payload")
	b.ReportMetric(float64(m.DiskBytes)/total, "disk/payload")

	began = time.Now()
	read := 0
	memory := new(tidemark.PageMemory)
	for range pages {
		id := tidemark.TimelineID(fmt.Sprint("conv/", rng.IntN(timelines)))
		page, err := s.Read(tidemark.Range{Timeline: id, Seq: tidemark.SeqID(rng.IntN(max(1, messages/timelines-100)) + 1), Limit: 100, MaxBytes: 8 << 20, Memory: memory})
		if err != nil {
			b.Fatal(err)
		}
		read += len(page.Messages)
	}
	b.ReportMetric(float64(read)/time.Since(began).Seconds(), "read/s")

	out := s.NewBatch()
	defer out.Discard()
	began = time.Now()
	for i := range lookups {
		if _, found, err := out.Lookup(uint64(1+i%timelines), tidemark.MessageID(fmt.Sprintf("%032x", rng.Uint64()))); found || err != nil {
			b.Fatal(found, err)
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/lookups, "ns/lookup")
}

// words are text of a small vocabulary, half of random letters, which compresses as chat does.
func words(rng *rand.Rand, size int) []byte {
	text := make([]byte, 0, size+16)
	for len(text) < size {
		if rng.IntN(2) == 0 {
			text = append(text, "message "...)
			continue
		}
		text = fmt.Appendf(text, "%x ", rng.Uint32())
	}
	return text[:size]
}
