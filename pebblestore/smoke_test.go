package pebblestore_test

import (
	"io"
	"testing"

	"tidemark"
	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
)

func TestSmoke(t *testing.T) {
	s := storetest.Open(t, nil)
	appendMessages(t, s, "a", 1, 10)
	page, err := s.Read(tidemark.Range{Timeline: "a", Start: tidemark.StartNewest, Limit: 3, MaxBytes: 1000})
	if err != nil || len(page.Messages) != 3 {
		t.Fatal(page, err)
	}
	snap, err := s.OpenSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	s2 := storetest.Open(t, nil)
	in, err := s2.Receive()
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(in, snap)
	if err != nil || n != snap.Size() {
		t.Fatal(n, snap.Size(), err)
	}
	if a, err := in.Finish(); err != nil || a.Index != 1 {
		t.Fatal(a, err)
	}
	if err := s2.Install(in); err != nil {
		t.Fatal(err)
	}
	if r, err := s2.Check(nil); err != nil || r.Messages != 10 {
		t.Fatal(r, err)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendMessages(t *testing.T, s *pebblestore.Store, id tidemark.TimelineID, index uint64, n int) {
	b := s.NewBatch()
	h, ok, err := b.Head(id)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		h = b.CreateTimeline(id, 1)
	}
	for range n {
		m := tidemark.Message{SeqID: h.Last + 1, ServerTime: tidemark.Time(h.Last) + 1}
		m.Timeline, m.ID, m.Payload = id, tidemark.MessageID("m"+m.SeqID.String()), []byte("x")
		content := m.Hash(tidemark.HashPayload(m.Payload))
		m.Digest = tidemark.NextDigest(h.Digest, m.SeqID, m.ServerTime, m.ID, content)
		b.PutMessage(h.Number, &m, content)
		h.Last, h.LastTime, h.Digest, h.Bytes = m.SeqID, m.ServerTime, m.Digest, h.Bytes+uint64(m.Size())
	}
	b.PutHead(h)
	b.SetApplied(tidemark.Applied{Index: index, Term: 1})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}
