package logstore

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var openEntries = flag.Int("open-entries", 20_000, "number of entries of 1 KiB that BenchmarkOpen reads")

// BenchmarkStoreLogs compares the libraries and what the wrapper costs: one
// writer, entries of 300 bytes, each append synced.
func BenchmarkStoreLogs(b *testing.B) {
	for _, k := range kinds {
		for _, batch := range []int{1, 16, 64, 256} {
			for _, wrapped := range []bool{false, true} {
				how := map[bool]string{false: "bare", true: "wrapped"}[wrapped]
				b.Run(fmt.Sprintf("%s/%d/%s", k, batch, how), func(b *testing.B) {
					o := testOptions(b, k)
					o.SegmentBytes, o.CacheEntries = DefaultSegmentBytes, DefaultCacheEntries
					var logs raft.LogStore
					if wrapped {
						s := mustOpen(b, o)
						logs = s.Log()
					} else {
						var done func() error
						logs, done = openBare(b, o)
						defer done()
					}
					benchAppend(b, logs, batch)
				})
			}
		}
	}
}

func benchAppend(b *testing.B, logs raft.LogStore, batch int) {
	data := testEntry(1, 1, 300).Data
	next := uint64(1)
	b.SetBytes(int64(300 * batch))
	for b.Loop() {
		entries := make([]*raft.Log, batch)
		for i := range entries {
			entries[i] = &raft.Log{Index: next, Term: 1, Data: data, AppendedAt: time.Unix(1, 0)}
			next++
		}
		if err := logs.StoreLogs(entries); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(next-1)/b.Elapsed().Seconds(), "logs/s")
}

// BenchmarkOpen measures how long the check at the start takes.
func BenchmarkOpen(b *testing.B) {
	for _, k := range kinds {
		b.Run(string(k), func(b *testing.B) {
			o := testOptions(b, k)
			o.SegmentBytes = DefaultSegmentBytes
			s := mustOpen(b, o)
			data := testEntry(1, 1, 1024).Data
			for next := 1; next <= *openEntries; next += 256 {
				entries := make([]*raft.Log, 256)
				for i := range entries {
					entries[i] = &raft.Log{Index: uint64(next + i), Term: 1, Data: data, AppendedAt: time.Unix(1, 0)}
				}
				if err := s.Log().StoreLogs(entries); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(*openEntries) * 1024)
			for b.Loop() {
				s, err := Open(o)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(*openEntries), "entries")
		})
	}
}

// BenchmarkGetLog reads entries of 300 bytes that are not in the cache.
func BenchmarkGetLog(b *testing.B) {
	for _, k := range kinds {
		b.Run(string(k), func(b *testing.B) {
			o := testOptions(b, k)
			o.SegmentBytes = DefaultSegmentBytes
			s := mustOpen(b, o)
			if err := s.Log().StoreLogs(testEntries(1, 5000, 1)); err != nil {
				b.Fatal(err)
			}
			var l raft.Log
			i := uint64(0)
			for b.Loop() {
				i = i%4000 + 1
				if err := s.Log().GetLog(i, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
