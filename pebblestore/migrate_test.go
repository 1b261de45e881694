package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
)

// asFormat1 takes from a store what format 1 did not have.
func asFormat1(t *testing.T, fsys vfs.FS, dir string) {
	t.Helper()
	s, err := Open(dir, Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	batch := s.gen.db.NewBatch()
	for _, err := range []error{
		batch.DeleteRange([]byte{tableSender}, []byte{tableEnd}, nil),
		batch.Set(keyFormat, binary.BigEndian.AppendUint32(nil, 1), nil),
		batch.Commit(pebble.Sync),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := s.inForce
	c.format = 1
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.durable = s.inForce.durable
	if _, err := writeCurrent(fsys, dir, c); err != nil {
		t.Fatal(err)
	}
}

// A store of format 1 is brought to the present one when it is opened, also after a
// crash in the middle, and counts what is unread as if it had been so from the start.
func TestFormat1IsBroughtToThePresentOne(t *testing.T) {
	fsys := crashfs.New()
	s, err := Open("store", Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	const messages = 60
	for i := range messages {
		b := s.NewBatch()
		id := tidemark.TimelineID(fmt.Sprint("conv/", i%3))
		h, exists, err := b.Head(id)
		if err != nil {
			t.Fatal(err)
		}
		if !exists {
			h = b.CreateTimeline(id, 1)
		}
		m := tidemark.Message{
			Draft: tidemark.Draft{Timeline: id, ID: tidemark.MessageID(fmt.Sprint("m", i)), Sender: fmt.Sprintf("user%d#%d", i%2, i%5), ClientTime: tidemark.NoTime},
			SeqID: h.Last + 1, ServerTime: 1,
		}
		content := m.Hash(tidemark.HashPayload(nil))
		m.Digest = tidemark.NextDigest(h.Digest, m.SeqID, m.ServerTime, m.ID, content)
		b.PutMessage(h.Number, &m, content)
		h.Last, h.Digest, h.Bytes = m.SeqID, m.Digest, h.Bytes+uint64(m.Size())
		b.PutHead(h)
		b.PutCursor(h.Number, tidemark.Cursor{Reader: "user0#tablet", UpdatedTime: 1})
		b.SetApplied(tidemark.Applied{Index: uint64(i + 1), Term: 1})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	asFormat1(t, fsys, "store")
	if c, _, err := readCurrent(fsys, "store"); err != nil || c.format != 1 {
		t.Fatalf("CURRENT says %+v, %v; the test is in vain", c, err)
	}
	clone := fsys.CrashClone(vfs.CrashCloneCfg{})
	for name, fsys := range map[string]vfs.FS{"as it was": fsys, "after a crash": clone} {
		s, err := Open("store", Options{FS: fsys})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := s.Check(nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.Level() != FirstLevel || s.Applied().Index != messages {
			t.Errorf("%s: level %d, index %d", name, s.Level(), s.Applied().Index)
		}
		page, err := s.CursorsByReader("user0#tablet", 0, 10)
		if err != nil || len(page.Unread) != 3 || page.Unread[0] != 10 || page.Unread[1] != 10 || page.Unread[2] != 10 {
			t.Errorf("%s: unread is %v, %v; want ten of twenty in each", name, page.Unread, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if c, _, err := readCurrent(fsys, "store"); err != nil || c.format != storeFormat {
			t.Errorf("%s: CURRENT says %+v, %v", name, c, err)
		}
	}
}

// What is flushed right after a migration is in force when a sync has returned, though
// what was migrated is in memory still.
func TestFlushBehindAMigration(t *testing.T) {
	fsys := crashfs.New()
	s, err := Open("store", Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(index uint64) {
		t.Helper()
		b := s.NewBatch()
		h := b.CreateTimeline(tidemark.TimelineID(fmt.Sprint("conv/", index)), 1)
		m := tidemark.Message{Draft: tidemark.Draft{ID: "m", Sender: "alice", ClientTime: tidemark.NoTime}, SeqID: 1, ServerTime: 1}
		content := m.Hash(tidemark.HashPayload(nil))
		m.Digest = tidemark.NextDigest(h.Digest, m.SeqID, m.ServerTime, m.ID, content)
		b.PutMessage(h.Number, &m, content)
		h.Last, h.Digest = m.SeqID, m.Digest
		b.PutHead(h)
		b.SetApplied(tidemark.Applied{Index: index, Term: 1})
		if err := errors.Join(b.Commit(), s.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	apply(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	asFormat1(t, fsys, "store")
	if s, err = Open("store", Options{FS: fsys}); err != nil {
		t.Fatal(err)
	}
	apply(2)
	left, err := Open("store", Options{FS: fsys.CrashClone(vfs.CrashCloneCfg{})})
	if err != nil {
		t.Fatal(err)
	}
	if left.Applied().Index != 2 {
		t.Errorf("index %d is left, want 2", left.Applied().Index)
	}
	if err := errors.Join(left.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}
