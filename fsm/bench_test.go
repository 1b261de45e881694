package fsm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/fsm/fsmpb"
	"tidemark/pebblestore"
)

const (
	benchTimelines = 1000
	benchCommands  = 64 // of one entry
	benchPayload   = 256
)

// benchEntry is an entry of appends with ids that were never used.
func benchEntry(random *rand.Rand, index uint64) tidemark.Entry {
	commands := make([][]byte, benchCommands)
	payload := make([]byte, benchPayload)
	for i := range commands {
		for j := range payload {
			payload[j] = byte('a' + random.IntN(26))
		}
		commands[i] = Append{Draft: tidemark.Draft{
			Timeline:   tidemark.TimelineID(fmt.Sprintf("conv/%04d", random.IntN(benchTimelines))),
			ID:         tidemark.MessageID(fmt.Sprintf("%016x-%016x", random.Uint64(), random.Uint64())),
			Sender:     "alice#phone",
			Type:       "text/plain",
			Payload:    payload,
			ClientTime: tidemark.Time(index),
		}}.Encode()
	}
	return entryOf(index, commands...)
}

// 256-byte messages over 1,000 timelines, in entries of 64 commands, on the disk.
// calls is how many entries one call of ApplyBatch has.
func BenchmarkApply(b *testing.B) {
	for _, calls := range []int{1, 4} {
		b.Run(fmt.Sprintf("entries=%d", calls), func(b *testing.B) {
			store, err := pebblestore.Open(b.TempDir(), pebblestore.DefaultOptions())
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			machine := New(store, Options{Fatal: func(err error) { panic(err) }})
			random := rand.New(rand.NewPCG(1, 2))
			entries := make([]tidemark.Entry, calls)
			index, commands := uint64(0), 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				for i := range entries {
					index++
					entries[i] = benchEntry(random, index)
				}
				b.StartTimer()
				machine.ApplyBatch(entries)
				commands += calls * benchCommands
			}
			b.ReportMetric(float64(commands)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// Retries: every command is a duplicate.
func BenchmarkApplyDuplicates(b *testing.B) {
	store, err := pebblestore.Open(b.TempDir(), pebblestore.DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	machine := New(store, Options{Fatal: func(err error) { panic(err) }})
	e := benchEntry(rand.New(rand.NewPCG(1, 2)), 1)
	machine.ApplyBatch([]tidemark.Entry{e})
	b.ReportAllocs()
	for b.Loop() {
		e.Index++
		machine.ApplyBatch([]tidemark.Entry{e})
	}
	b.ReportMetric(float64(b.N*benchCommands)/b.Elapsed().Seconds(), "commands/s")
}

func BenchmarkEncodeEntry(b *testing.B) {
	decoded, err := decodeEntry(benchEntry(rand.New(rand.NewPCG(1, 2)), 1).Data, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		EncodeEntry(goldenTime, decoded.commands)
	}
}

// One command, by the package's codec and by the generated code.
func BenchmarkDecodeCommand(b *testing.B) {
	data := Append{Draft: draft("conv/0001", "0190a0b0c0d0e0f00190a0b0c0d0e0f0", string(make([]byte, benchPayload)))}.Encode()
	b.Run("codec", func(b *testing.B) {
		var c command
		b.ReportAllocs()
		for b.Loop() {
			if err := decodeCommand(data, &c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		var message fsmpb.Command
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(data, &message); err != nil {
				b.Fatal(err)
			}
		}
	})
}
