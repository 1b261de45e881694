package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// newRevisedStore has timeline a with message 2, which alice sent and 4 redacted, and
// message 3, which 5 edited. Message 1026, which alice sent, is redacted by 1027: it is in
// the block behind the one that the timeline starts in, whose count is never used.
func newRevisedStore(t *testing.T) *Store {
	t.Helper()
	s := newStore(t, vfs.NewMem(), 5)
	b := s.NewBatch()
	defer b.Discard()
	h, _, err := b.Head("a")
	if err != nil {
		t.Fatal(err)
	}
	put := func(m *tidemark.Message) *tidemark.Message {
		h.Last++
		m.Timeline, m.SeqID, m.ServerTime, m.ClientTime = "a", h.Last, h.LastTime, tidemark.NoTime
		m.Digest = m.ChainDigest(h.Digest)
		h.Digest, h.Bytes = m.Digest, h.Bytes+uint64(m.Size())
		b.PutMessage(h.Number, m, m.Hash(tidemark.HashPayload(m.Payload)))
		return m
	}
	revise := func(seq tidemark.SeqID, id tidemark.MessageID, redact bool, payload string) {
		m, err := b.Message(h.Number, seq)
		if err != nil {
			t.Fatal(err)
		}
		m.Timeline = "a"
		h.Bytes -= uint64(m.Size())
		m.Revision = &tidemark.Revision{Number: 1, Time: h.LastTime, SeqID: h.Last + 1, Redacted: redact, Original: m.Hash(tidemark.HashPayload(m.Payload))}
		m.Payload = []byte(payload)
		h.Bytes += uint64(m.Size())
		b.ReplaceMessage(h.Number, &m)
		entry := tidemark.Message{Draft: tidemark.Draft{ID: id}, Revises: &tidemark.Revises{SeqID: seq, Number: 1, Redacted: redact}}
		if redact {
			if err := b.PutRedacted(h.Number, seq, tidemark.UserOf(m.Sender)); err != nil {
				t.Fatal(err)
			}
		} else {
			entry.Revises.Content = m.Hash(tidemark.HashPayload(m.Payload))
		}
		put(&entry)
	}
	put(&tidemark.Message{Draft: tidemark.Draft{ID: "m2", Sender: "alice#phone", Payload: []byte("secret")}})
	put(&tidemark.Message{Draft: tidemark.Draft{ID: "m3", Sender: "bob", Payload: []byte("helo")}})
	revise(2, "r1", true, "")
	revise(3, "r2", false, "hello")
	for h.Last < 1025 {
		put(&tidemark.Message{Draft: tidemark.Draft{ID: tidemark.MessageID(fmt.Sprint("n", h.Last)), Sender: "carol"}})
	}
	put(&tidemark.Message{Draft: tidemark.Draft{ID: "late", Sender: "alice"}})
	revise(1026, "r3", true, "")
	b.PutHead(h)
	b.SetApplied(tidemark.Applied{Index: 6})
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Check sees when messages, revision entries and the index of redactions do not belong
// together.
func TestCheckSeesRevisions(t *testing.T) {
	message := func(seq tidemark.SeqID, change func(*tidemark.Message)) func(*Store) (key, value []byte) {
		return func(s *Store) (key, value []byte) {
			v, err := s.view()
			if err != nil {
				t.Fatal(err)
			}
			defer v.close()
			record, err := v.record(1, seq)
			if err != nil {
				t.Fatal(err)
			}
			key = appendMessageKey(nil, 1, seq)
			m, err := decodeMessage("a", key, record)
			if err != nil {
				t.Fatal(err)
			}
			change(&m)
			return key, appendMessage(nil, &m)
		}
	}
	entry := func(user string, kind byte, at uint64, value []byte) func(*Store) ([]byte, []byte) {
		return func(*Store) ([]byte, []byte) { return appendRedactedKey(nil, 1, user, kind, at), value }
	}
	for name, damage := range map[string]func(*Store) (key, value []byte){
		"an edit that nobody made":          message(3, func(m *tidemark.Message) { m.Payload = []byte("mallory") }),
		"another revision":                  message(3, func(m *tidemark.Message) { m.Revision.Number++ }),
		"another time of the revision":      message(3, func(m *tidemark.Message) { m.Revision.Time++ }),
		"another original":                  message(3, func(m *tidemark.Message) { m.Revision.Original[0]++ }),
		"another entry":                     message(3, func(m *tidemark.Message) { m.Revision.SeqID = 4 }),
		"an entry past the last":            message(3, func(m *tidemark.Message) { m.Revision.SeqID = 2000 }),
		"a redacted message that is not":    message(2, func(m *tidemark.Message) { m.Revision.Redacted = false }),
		"a redaction of what is not":        message(3, func(m *tidemark.Message) { m.Revision.Redacted, m.Payload = true, nil }),
		"content of a redacted message":     message(2, func(m *tidemark.Message) { m.Payload = []byte("secret") }),
		"an entry of another content":       message(5, func(m *tidemark.Message) { m.Revises.Content[0]++ }),
		"an entry by another":               message(5, func(m *tidemark.Message) { m.Sender = "mallory" }),
		"no entry of the index":             entry(everyone, redactedMessages, 2, nil),
		"no entry of the sender":            entry("alice", redactedMessages, 2, nil),
		"another sender in the index":       entry(everyone, redactedMessages, 2, []byte("bob")),
		"an entry of what is not redacted":  entry(everyone, redactedMessages, 3, []byte("bob")),
		"an entry of no message":            entry(everyone, redactedMessages, 2000, []byte("bob")),
		"no count":                          entry(everyone, redactedBlocks, 1, nil),
		"another count":                     entry(everyone, redactedBlocks, 1, binary.AppendUvarint(nil, 2)),
		"another count of the sender":       entry("alice", redactedBlocks, 1, binary.AppendUvarint(nil, 2)),
		"a count of a block without any":    entry(everyone, redactedBlocks, 7, binary.AppendUvarint(nil, 1)),
		"an entry of a sender who has none": entry("bob", redactedMessages, 3, []byte{}),
		"a delivery to no timeline": func(*Store) ([]byte, []byte) {
			return appendDeliveryKey(nil, 1, 1), appendDeliveries(nil, []Delivery{{9, 1}})
		},
		"a delivery to what is no reference": func(*Store) ([]byte, []byte) {
			return appendDeliveryKey(nil, 1, 1), appendDeliveries(nil, []Delivery{{1, 2}})
		},
		"a delivery of no message": func(*Store) ([]byte, []byte) {
			return appendDeliveryKey(nil, 1, 2000), appendDeliveries(nil, []Delivery{{1, 1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRevisedStore(t)
			if _, err := s.Check(nil); err != nil {
				t.Fatalf("before the damage: %v", err)
			}
			key, value := damage(s)
			overwrite(t, s, key, value)
			if _, err := s.Check(nil); !errors.Is(err, tidemark.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}
