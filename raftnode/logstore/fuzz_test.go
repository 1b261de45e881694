package logstore

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"

	tidemark "tidemark"
)

// The sum covers these fields. A new one in raft.Log must be added to it.
func TestEveryFieldIsCovered(t *testing.T) {
	fields := []string{}
	for i := range reflect.TypeFor[raft.Log]().NumField() {
		fields = append(fields, reflect.TypeFor[raft.Log]().Field(i).Name)
	}
	want := []string{"Index", "Term", "Type", "Data", "Extensions", "AppendedAt"}
	if !reflect.DeepEqual(fields, want) {
		t.Fatalf("raft.Log has fields %v; entrySum knows %v", fields, want)
	}
	base := *testEntry(7, 3, 20)
	base.Extensions = []byte("ext")
	sum := entrySum(1, 2, &base, base.Extensions)
	for name, change := range map[string]func(*raft.Log){
		"Index":                 func(l *raft.Log) { l.Index++ },
		"Term":                  func(l *raft.Log) { l.Term++ },
		"Type":                  func(l *raft.Log) { l.Type++ },
		"Data":                  func(l *raft.Log) { l.Data = append(bytes.Clone(l.Data), 0) },
		"Extensions":            func(l *raft.Log) { l.Extensions = []byte("ex") },
		"AppendedAt":            func(l *raft.Log) { l.AppendedAt = l.AppendedAt.Add(1) },
		"Data to Extensions":    func(l *raft.Log) { l.Extensions, l.Data = append([]byte("ext"), l.Data[0]), l.Data[1:] },
		"AppendedAt by seconds": func(l *raft.Log) { l.AppendedAt = l.AppendedAt.Add(time.Second) },
	} {
		l := base
		change(&l)
		if entrySum(1, 2, &l, l.Extensions) == sum {
			t.Errorf("sum does not cover %s", name)
		}
	}
	if entrySum(2, 2, &base, base.Extensions) == sum || entrySum(1, 3, &base, base.Extensions) == sum {
		t.Error("sum does not cover prev and synced")
	}
	l := base
	l.AppendedAt = l.AppendedAt.In(time.FixedZone("elsewhere", 3600))
	if entrySum(1, 2, &l, l.Extensions) != sum {
		t.Error("sum depends on the time zone")
	}
}

func FuzzTrailer(f *testing.F) {
	f.Add(uint64(1), uint64(1), byte(0), []byte("data"), []byte("ext"), int64(5), uint32(9), uint64(0), 3)
	f.Add(uint64(math.MaxUint64), uint64(0), byte(255), []byte{}, []byte{}, int64(-62135596800), uint32(0), uint64(7), 1000)
	f.Fuzz(func(t *testing.T, index, term uint64, typ byte, data, ext []byte, sec int64, prev uint32, synced uint64, flip int) {
		in := &raft.Log{Index: index, Term: term, Type: raft.LogType(typ), Data: data, Extensions: ext, AppendedAt: time.Unix(sec%1e10, 5)}
		sealed, sum := seal([]*raft.Log{in}, prev, synced)
		out := *sealed[0]
		got, ok := unseal(&out)
		if !ok || got != (trailer{prev, synced, sum}) || !sameEntry(in, &out) {
			t.Fatalf("round trip of %+v: %+v, %+v, %v", in, out, got, ok)
		}
		// A flipped bit anywhere in what is stored is noticed.
		bad := *sealed[0]
		bad.Data, bad.Extensions = bytes.Clone(bad.Data), bytes.Clone(bad.Extensions)
		bit := int(uint(flip) % uint(8*(len(bad.Data)+len(bad.Extensions))))
		if n := 8 * len(bad.Data); bit < n {
			bad.Data[bit/8] ^= 1 << (bit % 8)
		} else {
			bad.Extensions[(bit-n)/8] ^= 1 << (bit % 8)
		}
		if _, ok := unseal(&bad); ok {
			t.Fatalf("flipped bit %d of %+v was not noticed", bit, sealed[0])
		}
		// Bytes that were never sealed are no entry, and do not panic.
		raw := &raft.Log{Index: index, Data: data, Extensions: ext}
		_, _ = unseal(raw)
	})
}

// Our decoder takes what the library's encoder makes, and never panics.
func FuzzWALEntry(f *testing.F) {
	for i := range uint64(5) {
		var b bytes.Buffer
		if err := (&wal.BinaryCodec{}).Encode(testEntry(i*1000, i, int(i*50)), &b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l, again raft.Log
		if parseWALEntry(b, &l) != nil {
			return
		}
		var enc bytes.Buffer
		if err := (&wal.BinaryCodec{}).Encode(&l, &enc); err != nil {
			return // a time that cannot be written any more
		}
		if err := (&wal.BinaryCodec{}).Decode(enc.Bytes(), &again); err != nil || !sameEntry(&l, &again) {
			t.Fatalf("%+v became %+v, %v", l, again, err)
		}
	})
}

func FuzzWALSegment(f *testing.F) {
	o := testOptions(f, WAL)
	s := mustOpen(f, o)
	mustAppend(f, s, 1, 200, 1)
	s.Close()
	for name, b := range readFiles(f, o.logPath()) {
		if filepath.Ext(name) == ".wal" {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := chain{}
		_, err := scanSegment(bytes.NewReader(b), int64(len(b)), types.SegmentInfo{BaseIndex: 1, MinIndex: 1}, math.MaxUint64, &c)
		if err != nil {
			t.Fatal(err)
		}
		if err := findWitness(bytes.NewReader(b), 0, int64(len(b)), math.MaxUint64); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzBoltScan(f *testing.F) {
	o := testOptions(f, BoltDB)
	s := mustOpen(f, o)
	mustAppend(f, s, 1, 50, 1)
	s.Close()
	for _, b := range readFiles(f, o.Dir) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := boltScanReader(bytes.NewReader(b), int64(len(b)), "fuzz.db", addBolt("fuzz.db", &chain{}))
		if err != nil && !errors.Is(err, tidemark.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzSlot(f *testing.F) {
	b, err := slot{kind: WAL}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSlot(b); err == nil && s.kind != WAL && s.kind != BoltDB {
			t.Logf("a slot with a valid checksum names kind %s", s.kind)
		}
	})
}
