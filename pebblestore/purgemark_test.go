package pebblestore

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A purge that runs while a redaction waits to be committed does not take that for purged.
func TestPurgeBesideACommit(t *testing.T) {
	o := DefaultOptions()
	o.FS, o.PurgeDelay = vfs.NewMem(), time.Hour
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := recordKey{1, 1}
	redacted := map[recordKey]string{key: ""}
	if err := s.willRedact(redacted); err != nil {
		t.Fatal(err)
	}
	if err := s.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := o.FS.Stat(o.FS.PathJoin("store", purgeName)); err != nil || !s.purger.marked {
		t.Errorf("the mark is gone before the redaction was committed: %v", err)
	}
	s.didRedact(redacted)
	if !s.purger.pending[key] {
		t.Error("the redaction is not to be purged")
	}
	if err := s.purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := o.FS.Stat(o.FS.PathJoin("store", purgeName)); err == nil || s.purger.marked {
		t.Error("the mark is there when everything is purged")
	}
}
