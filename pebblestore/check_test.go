package pebblestore

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// TestCheckSees damages a sound store in each way that Check promises to see, by
// writing whole and well-formed records that do not belong together.
func TestCheckSees(t *testing.T) {
	head := func(s *Store, change func(*tidemark.Head)) []byte {
		h, err := s.Head("a")
		if err != nil {
			t.Fatal(err)
		}
		change(&h)
		return appendHead(nil, &h)
	}
	message := func(s *Store, change func(*tidemark.Message)) []byte {
		m, _, err := s.Get("a", 1)
		if err != nil {
			t.Fatal(err)
		}
		change(&m)
		return appendMessage(nil, &m)
	}
	type write struct{ key, value []byte } // a nil value deletes
	for name, damage := range map[string]func(s *Store) write{
		"no format":            func(*Store) write { return write{keyFormat, nil} },
		"no applied record":    func(*Store) write { return write{keyApplied, nil} },
		"no next number":       func(*Store) write { return write{keyNextNumber, nil} },
		"next number too high": func(*Store) write { return write{keyNextNumber, appendNumberKey(nil, 9)[1:]} },
		"next number too low":  func(*Store) write { return write{keyNextNumber, appendNumberKey(nil, 1)[1:]} },
		"stray low key":        func(*Store) write { return write{[]byte{tableNextNumber, 0}, []byte{1}} },
		"stray high key":       func(*Store) write { return write{[]byte{tableEnd}, []byte{1}} },
		"no head":              func(*Store) write { return write{appendHeadKey(nil, "a"), nil} },
		"second head": func(s *Store) write {
			return write{appendHeadKey(nil, "b"), head(s, func(*tidemark.Head) {})}
		},
		"no timeline number": func(*Store) write { return write{appendNumberKey(nil, 1), nil} },
		"another timeline":   func(*Store) write { return write{appendNumberKey(nil, 1), []byte("b")} },
		"last too high": func(s *Store) write {
			return write{appendHeadKey(nil, "a"), head(s, func(h *tidemark.Head) { h.Last++ })}
		},
		"bytes that do not sum": func(s *Store) write {
			return write{appendHeadKey(nil, "a"), head(s, func(h *tidemark.Head) { h.Bytes++ })}
		},
		"head of another digest": func(s *Store) write {
			return write{appendHeadKey(nil, "a"), head(s, func(h *tidemark.Head) { h.Digest[0]++ })}
		},
		"last time": func(s *Store) write {
			return write{appendHeadKey(nil, "a"), head(s, func(h *tidemark.Head) { h.LastTime++ })}
		},
		"created later": func(s *Store) write {
			return write{appendHeadKey(nil, "a"), head(s, func(h *tidemark.Head) { h.CreatedTime = 9 })}
		},
		"no message": func(*Store) write { return write{appendMessageKey(nil, 1, 1), nil} },
		"message of no timeline": func(s *Store) write {
			return write{appendMessageKey(nil, 2, 1), message(s, func(*tidemark.Message) {})}
		},
		"message past the last": func(s *Store) write {
			return write{appendMessageKey(nil, 1, 3), message(s, func(*tidemark.Message) {})}
		},
		"other payload": func(s *Store) write {
			return write{appendMessageKey(nil, 1, 1), message(s, func(m *tidemark.Message) { m.Payload[0]++ })}
		},
		"other sender": func(s *Store) write {
			return write{appendMessageKey(nil, 1, 1), message(s, func(m *tidemark.Message) { m.Sender = "mallory" })}
		},
		"no dedupe entry": func(*Store) write { return write{appendDedupeKey(nil, 1, "m"), nil} },
		"second dedupe entry": func(*Store) write {
			return write{appendDedupeKey(nil, 1, "n"), make([]byte, dedupeEntryBytes)}
		},
		"dedupe entry of no timeline": func(*Store) write {
			return write{appendDedupeKey(nil, 2, "n"), make([]byte, dedupeEntryBytes)}
		},
		"dedupe entry of other content": func(*Store) write {
			return write{appendDedupeKey(nil, 1, "m"), append(appendNumberKey(nil, 1)[1:], make([]byte, 16)...)}
		},
		"cursor past the end": func(*Store) write {
			return write{appendCursorKey(nil, 1, "alice"), appendCursor(nil, &tidemark.Cursor{Delivered: 9})}
		},
		"cursor of no timeline": func(*Store) write {
			return write{appendCursorKey(nil, 2, "alice"), appendCursor(nil, &tidemark.Cursor{})}
		},
		"cursor without index":  func(*Store) write { return write{appendReaderKey(nil, "alice", 1), nil} },
		"index without cursor":  func(*Store) write { return write{appendReaderKey(nil, "bob", 1), []byte{}} },
		"index entry malformed": func(*Store) write { return write{[]byte{tableReader, 200}, []byte{}} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, vfs.NewMem(), 5)
			b := s.NewBatch()
			b.PutCursor(1, tidemark.Cursor{Reader: "alice", Delivered: 1})
			b.SetApplied(tidemark.Applied{Index: 6})
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
			steps := map[string]bool{}
			report, err := s.Check(func(p CheckProgress) { steps[p.Step] = true })
			if err != nil || report.Messages != 1 || report.Cursors != 1 || !steps["timelines"] || !steps["readers"] {
				t.Fatalf("before the damage: %+v, %v; steps %v", report, err, steps)
			}
			w := damage(s)
			overwrite(t, s, w.key, w.value)
			if _, err := s.Check(nil); !errors.Is(err, tidemark.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}

// overwrite sets a key of the database behind the store's back, or deletes it if value is nil.
func overwrite(t *testing.T, s *Store, key, value []byte) {
	t.Helper()
	s.gen.flushAll()
	var err error
	if value == nil {
		err = s.gen.db.Delete(key, pebble.NoSync)
	} else {
		err = s.gen.db.Set(key, value, pebble.NoSync)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestReadsSeeMissingMessages: what should lie between first and last and does not
// is an error of every read that meets it, never a gap.
func TestReadsSeeMissingMessages(t *testing.T) {
	s := newStore(t, vfs.NewMem(), 5)
	overwrite(t, s, appendMessageKey(nil, 1, 1), nil)
	r := tidemark.Range{Timeline: "a", Seq: 1, Limit: 1, MaxBytes: 1}
	backward, byTime := r, r
	backward.Start, byTime.Start = tidemark.StartNewest, tidemark.StartTime
	for name, read := range map[string]func() error{
		"forward":  func() error { return second(s.Read(r)) },
		"backward": func() error { return second(s.Read(backward)) },
		"by time":  func() error { return second(s.Read(byTime)) },
		"get":      func() error { _, _, err := s.Get("a", 1); return err },
		"by id":    func() error { _, _, err := s.GetByID("a", "m"); return err },
	} {
		if err := read(); !errors.Is(err, tidemark.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}
