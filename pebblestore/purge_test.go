package pebblestore_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tidemark"
	"tidemark/pebblestore"
)

// redactFirst does what the state machine does to a message that is redacted.
func redactFirst(tb testing.TB, s *pebblestore.Store, index uint64, timelines ...tidemark.TimelineID) {
	tb.Helper()
	b := s.NewBatch()
	defer b.Discard()
	for _, id := range timelines {
		head, found, err := b.Head(id)
		if err != nil || !found {
			tb.Fatalf("%v, %v", found, err)
		}
		m, err := b.Message(head.Number, 1)
		if err != nil {
			tb.Fatal(err)
		}
		m.Timeline = id
		m.Revision = &tidemark.Revision{Number: 1, SeqID: head.Last, Redacted: true, Original: m.Hash(tidemark.HashPayload(m.Payload))}
		m.Type, m.Attributes, m.Payload = "", nil, nil
		b.ReplaceMessage(head.Number, &m)
		if err := b.PutRedacted(head.Number, 1, ""); err != nil {
			tb.Fatal(err)
		}
	}
	b.SetApplied(tidemark.Applied{Index: index, Term: 1})
	if err := b.Commit(); err != nil {
		tb.Fatal(err)
	}
}

// holding names the files below dir that hold the words.
func holding(tb testing.TB, dir, words string) (names []string) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) { // removed meanwhile
			return nil
		}
		if bytes.Contains(data, []byte(words)) {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return names
}

const secret = "what nobody is ever to read again"

// A redacted payload is in no file of the store soon, also when the process ended between
// the redaction and the purge, and when there are many.
func TestPurge(t *testing.T) {
	t.Parallel()
	for _, many := range []int{1, 300} {
		t.Run(fmt.Sprint(many), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			options := pebblestore.DefaultOptions()
			if options.PurgeDelay <= 0 {
				t.Error("by default, redactions are not purged")
			}
			options.PurgeDelay, options.Compression = time.Hour, pebblestore.CompressionNone
			open := func() *pebblestore.Store {
				t.Helper()
				s, err := pebblestore.Open(dir, options)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			index := uint64(0)
			var timelines []tidemark.TimelineID
			for i := range many {
				id := tidemark.TimelineID(fmt.Sprintf("conv/%03d", i))
				timelines = append(timelines, id)
				index++
				commit(t, s, index, draft(id, "m1", secret), draft(id, "m2", "not a secret"))
			}
			// The next Open writes it to a table.
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
			redactFirst(t, s, index+1, timelines...)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if len(holding(t, dir, secret)) == 0 {
				t.Fatal("the test does not see what is there")
			}
			options.PurgeDelay = time.Millisecond
			s = open()
			deadline := time.Now().Add(30 * time.Second)
			for names := holding(t, dir, secret); len(names) > 0; names = holding(t, dir, secret) {
				if time.Now().After(deadline) {
					t.Fatalf("still in %v", names)
				}
				time.Sleep(5 * time.Millisecond)
			}
			if len(holding(t, dir, "not a secret")) == 0 {
				t.Fatal("more than the secret is gone")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "PURGE")); err == nil {
				t.Error("the purge is not noted as done")
			}
		})
	}
}
