package pebblestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// newStore opens a store in memory with some messages' worth of records.
func newStore(t *testing.T, fs vfs.FS, index uint64) *Store {
	t.Helper()
	o := DefaultOptions()
	o.FS, o.BlockCacheBytes, o.MemTableBytes = fs, 1<<20, 1<<20
	o.Fatal = func(message string) { panic(message) }
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	appendOne(t, s, "m", bytes.Repeat([]byte("x"), 500), index)
	return s
}

// appendOne appends a message to timeline a.
func appendOne(t *testing.T, s *Store, id tidemark.MessageID, payload []byte, index uint64) {
	t.Helper()
	b := s.NewBatch()
	h, found, err := b.Head("a")
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		h = b.CreateTimeline("a", 1)
	}
	m := tidemark.Message{Draft: tidemark.Draft{Timeline: "a", ID: id, Payload: payload, ClientTime: tidemark.NoTime}, SeqID: h.Last + 1, ServerTime: 1}
	content := m.Hash(tidemark.HashPayload(m.Payload))
	m.Digest = tidemark.NextDigest(h.Digest, m.SeqID, 1, id, content)
	b.PutMessage(h.Number, &m, content)
	h.Last, h.Digest, h.Bytes = m.SeqID, m.Digest, h.Bytes+uint64(m.Size())
	b.PutHead(h)
	b.SetApplied(tidemark.Applied{Index: index, Term: 3, Membership: []byte("n1"), MembershipIndex: 1})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

// streamOf returns the whole stream of a snapshot, read in pieces of random size.
func streamOf(t *testing.T, s *Store) []byte {
	t.Helper()
	snapshot, err := s.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	if s.Metrics().OpenSnapshots != 1 {
		t.Error("the open snapshot is not counted")
	}
	var stream []byte
	for rng := rand.New(rand.NewPCG(1, 1)); ; {
		piece := make([]byte, 1+rng.IntN(300))
		n, err := snapshot.Read(piece)
		stream = append(stream, piece[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if int64(len(stream)) != snapshot.Size() {
		t.Errorf("the stream has %d bytes; Size said %d", len(stream), snapshot.Size())
	}
	if err := errors.Join(snapshot.Close(), snapshot.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.fs.Stat(snapshot.dir); err == nil {
		t.Error("the closed snapshot's files are still there")
	}
	return stream
}

// receive writes a stream in pieces, and reports the error that refuses it.
func receive(t *testing.T, s *Store, stream []byte, piece int) error {
	t.Helper()
	in, err := s.Receive()
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(stream, piece) {
		if _, err = in.Write(part); err != nil {
			break
		}
	}
	if err == nil {
		_, err = in.Finish()
	}
	if err == nil {
		err = s.Install(in)
	}
	if abort := errors.Join(in.Abort(), in.Abort()); abort != nil {
		t.Errorf("abort: %v", abort)
	}
	if err != nil && s.Install(in) == nil {
		t.Error("an aborted snapshot was installed")
	}
	return err
}

// TestStreamInPieces: the stream means the same however it is cut.
func TestStreamInPieces(t *testing.T) {
	stream := streamOf(t, newStore(t, vfs.NewMem(), 7))
	for _, piece := range []int{1, 7, 4096, len(stream)} {
		s := newStore(t, vfs.NewMem(), 5)
		if err := receive(t, s, stream, piece); err != nil {
			t.Fatalf("in pieces of %d: %v", piece, err)
		}
		if a := s.Applied(); a.Index != 7 || a.InstalledIndex != 7 || string(a.Membership) != "n1" {
			t.Errorf("in pieces of %d: applied is %+v", piece, a)
		}
		if s.DurableIndex() != 7 {
			t.Errorf("what was installed is durable; got index %d", s.DurableIndex())
		}
		if _, err := s.Check(nil); err != nil {
			t.Error(err)
		}
	}
}

// TestLateSyncOfOldGeneration: a sync that ends after a snapshot of an earlier index
// was installed says nothing about the new generation.
func TestLateSyncOfOldGeneration(t *testing.T) {
	stream := streamOf(t, newStore(t, vfs.NewMem(), 3))
	s := newStore(t, vfs.NewMem(), 5)
	old := s.gen
	if err := old.sync(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, s, stream, 1000); err != nil {
		t.Fatal(err)
	}
	if err := s.noteDurable(old); err != nil {
		t.Fatal(err)
	}
	c, found, err := readCurrent(s.fs, s.dir)
	if err != nil || !found || c.durable != 3 || c.generation != s.gen.number {
		t.Errorf("CURRENT says %+v, %t, %v; want index 3 of generation %d", c, found, err, s.gen.number)
	}
}

// TestDamagedStream cuts a stream at each byte, flips a bit of each, and adds one. Each is refused, and leaves nothing behind.
func TestDamagedStream(t *testing.T) {
	stream := streamOf(t, newStore(t, vfs.NewMem(), 7))
	fs := vfs.NewMem()
	s := newStore(t, fs, 5)
	refuse := func(what string, at int, damaged []byte) {
		t.Helper()
		err := receive(t, s, damaged, 1<<10)
		if !errors.Is(err, tidemark.ErrCorrupt) && !errors.Is(err, tidemark.ErrNewerFormat) {
			t.Fatalf("%s at byte %d of %d: got %v, want ErrCorrupt", what, at, len(stream), err)
		}
	}
	for at := range stream {
		refuse("cut", at, stream[:at])
		damaged := bytes.Clone(stream)
		damaged[at] ^= 1 << (at % 8)
		refuse("flip", at, damaged)
	}
	refuse("more", len(stream), append(bytes.Clone(stream), 0))
	if s.Applied().Index != 5 {
		t.Errorf("index %d is in force, want 5", s.Applied().Index)
	}
	names, err := fs.List("store")
	if err != nil || len(names) != 2 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// forge makes a stream of arbitrary files that is whole as far as its checksums go.
func forge(applied tidemark.Applied, names []string, contents map[string][]byte) []byte {
	files := make([]streamFile, len(names))
	for i, name := range names {
		files[i] = streamFile{name: name, size: uint64(len(contents[name]))}
	}
	b := appendStreamHeader(nil, &streamHeader{total: streamSize(&applied, files), files: uint32(len(files)), applied: applied})
	for i := range files {
		b = appendFileHeader(b, &files[i])
		b = append(b, contents[files[i].name]...)
		b = appendCRC(b, contents[files[i].name])
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// TestHostileStream: names that lead elsewhere, twice the same, or none, are refused
// before a file is made.
func TestHostileStream(t *testing.T) {
	fs := vfs.NewMem()
	s := newStore(t, fs, 5)
	if err := fs.MkdirAll("outside", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{
		{"../CURRENT"}, {"../../outside/x"}, {"/outside/x"}, {"a/b"}, {".."}, {"."}, {""}, {".hidden"}, {"a\x00b"}, {`a\b`}, {"a:b"}, {"é"},
		{strings.Repeat("x", maxStreamName+1)}, {"b", "a"}, {"a", "a"}, {},
	} {
		err := receive(t, s, forge(tidemark.Applied{Index: 9}, names, nil), 100)
		if !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("%q: got %v, want ErrCorrupt", names, err)
		}
	}
	for dir, want := range map[string]int{"store": 2, "outside": 0} {
		if found, err := fs.List(dir); err != nil || len(found) != want {
			t.Errorf("%s holds %v, %v", dir, found, err)
		}
	}
}

// TestForgedStream: a stream that is whole, but not of a sound store, is refused by
// what is in it.
func TestForgedStream(t *testing.T) {
	source := newStore(t, vfs.NewMem(), 7)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 10 {
		body := make([]byte, 5000) // more than a block
		for at := range body {
			body[at] = byte(rng.Uint32())
		}
		appendOne(t, source, tidemark.MessageID(fmt.Sprint(i)), body, 7)
	}
	applied := source.Applied()
	stream := streamOf(t, source)
	names, contents := takeApart(t, stream)
	if !bytes.Equal(forge(applied, names, contents), stream) {
		t.Fatal("the forger does not make the store's own stream")
	}
	s := newStore(t, vfs.NewMem(), 5)
	refuse := func(what string, forged []byte, want error, word string) {
		t.Helper()
		if err := receive(t, s, forged, 1000); !errors.Is(err, want) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v, want %v that says %q", what, err, want, word)
		}
	}
	ahead := applied
	ahead.Index++
	refuse("index that is not held", forge(ahead, names, contents), tidemark.ErrCorrupt, "index 7")
	newer := forge(applied, names, contents)
	binary.BigEndian.PutUint32(newer[len(streamMagic):], streamFormat+1)
	refuse("newer format", newer, tidemark.ErrNewerFormat, "format 2")

	tables := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasSuffix(name, ".sst") })
	table := slices.MaxFunc(tables, func(a, b string) int { return len(contents[a]) - len(contents[b]) })
	rotten := bytes.Clone(contents[table])
	rotten[25_000] ^= 1 // in a block of bodies, which opening the store does not read
	sound := contents[table]
	contents[table] = rotten
	refuse("table that was damaged at its source", forge(applied, names, contents), tidemark.ErrCorrupt, table)
	contents[table] = sound
	refuse("missing table", forge(applied, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == table }), contents), tidemark.ErrCorrupt, "000")
	if s.Applied().Index != 5 {
		t.Errorf("index %d is in force, want 5", s.Applied().Index)
	}
}

// takeApart returns the files of a sound stream.
func takeApart(t *testing.T, stream []byte) (names []string, contents map[string][]byte) {
	t.Helper()
	h, rest, err := parseStreamFixed(stream[:streamFixed])
	if err != nil {
		t.Fatal(err)
	}
	contents = make(map[string][]byte)
	at, last := streamFixed+rest, ""
	for range h.files {
		size := 2 + int(binary.BigEndian.Uint16(stream[at:])) + 8 + 4
		f, err := parseFileHeader(stream[at:at+size], last)
		if err != nil {
			t.Fatal(err)
		}
		at += size
		contents[f.name] = stream[at : at+int(f.size)]
		at += int(f.size) + 4
		names, last = append(names, f.name), f.name
	}
	if at+streamTrailer != len(stream) {
		t.Fatalf("the files end at %d of %d", at, len(stream))
	}
	return names, contents
}

// FuzzReceive: arbitrary bytes after a sound beginning never panic, and are never installed.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(forge(tidemark.Applied{Index: 1}, []string{"a"}, map[string][]byte{"a": []byte("x")}), uint16(0))
	f.Add([]byte{0, 1, 'a'}, uint16(100))
	o := DefaultOptions()
	o.FS = vfs.NewMem()
	s, err := Open("store", o)
	if err != nil {
		f.Fatal(err)
	}
	sound := forge(tidemark.Applied{Index: 1}, []string{"a", "b"}, map[string][]byte{"a": []byte("hello")})
	f.Fuzz(func(t *testing.T, tail []byte, keep uint16) {
		stream := append(bytes.Clone(sound[:min(int(keep), len(sound))]), tail...)
		if err := receive(t, s, stream, 64); err == nil {
			t.Error("it was installed")
		}
	})
}
