package logstore

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft-wal/types"
)

// A segment holds what was appended and zeros behind it, in its own size, whether or not
// it was opened anew between two appends.
func TestSegmentIsFilledWithZeros(t *testing.T) {
	dir, files := t.TempDir(), newWALFiles()
	const size = 5*maxFillBytes/2 + 100
	f, err := files.Create(dir, "segment", size)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	check := func(filled int64) {
		t.Helper()
		if got := f.(*walFile).filled; got != filled {
			t.Errorf("it is filled up to %d, want %d", got, filled)
		}
		got, err := os.ReadFile(filepath.Join(dir, "segment"))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != max(size, len(want)) || !bytes.HasPrefix(got, want) || len(bytes.Trim(got[len(want):], "\x00")) > 0 {
			t.Errorf("it has %d bytes, and not the %d appended ones with zeros behind", len(got), len(want))
		}
	}
	add := func(n int) {
		t.Helper()
		b := bytes.Repeat([]byte{7}, n)
		if written, err := f.WriteAt(b, int64(len(want))); err != nil || written != n {
			t.Fatalf("wrote %d of %d bytes: %v", written, n, err)
		}
		want = append(want, b...)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	add(100)
	check(minFillBytes)
	add(minFillBytes - 100)
	check(minFillBytes)
	add(1)
	check(2 * minFillBytes)
	for filled := int64(2 * minFillBytes); filled < 2*maxFillBytes; {
		add(int(filled) - len(want) + 1)
		filled = min((int64(len(want))+min(2*filled, maxFillBytes))&^(min(2*filled, maxFillBytes)-1), 2*maxFillBytes)
		check(filled)
	}

	if err := f.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	var reopened types.WritableFile
	if reopened, err = files.OpenWriter(dir, "segment"); err != nil {
		t.Fatal(err)
	}
	defer reopened.Close()
	f = reopened
	add(maxFillBytes)
	check((int64(len(want)) + minFillBytes) &^ (minFillBytes - 1)) // it begins anew
	add(size - len(want) - 1)
	check(size)
	add(maxFillBytes) // the last append of a segment may be longer than the rest of it
	check(int64(len(want)))
}
