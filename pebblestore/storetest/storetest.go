// Package storetest opens stores for tests, and checks each of them as a whole
// when its test ends. So every test of every floor is also a test that what it
// left behind is sound.
package storetest

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/pebblestore"
)

// Dir is where Open keeps a store in its file system.
const Dir = "node/store"

// Options returns small options for a store in fs. Its Fatal fails the test and
// panics, because it must not return.
func Options(tb testing.TB, fs vfs.FS) pebblestore.Options {
	o := pebblestore.DefaultOptions()
	o.FS = fs
	o.BlockCacheBytes = 1 << 20
	o.MemTableBytes = 1 << 20
	o.IDFilterBytes = 64 << 10
	o.Fatal = func(message string) {
		tb.Errorf("store cannot go on: %s", message)
		panic(message)
	}
	return o
}

// Open opens the store at Dir in fs, or in new memory if fs is nil, and registers
// Check for the end of the test. The test may close the store, and open it again by Open.
func Open(tb testing.TB, fs vfs.FS) *pebblestore.Store {
	tb.Helper()
	if fs == nil {
		fs = vfs.NewMem()
	}
	return OpenAt(tb, Dir, Options(tb, fs))
}

// OpenAt is Open with a directory and options.
func OpenAt(tb testing.TB, dir string, o pebblestore.Options) *pebblestore.Store {
	tb.Helper()
	store, err := pebblestore.Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close store: %v", err)
			return
		}
		Check(tb, dir, o)
	})
	return store
}

// Check opens the closed store in dir, and reports damage to the test.
func Check(tb testing.TB, dir string, o pebblestore.Options) {
	tb.Helper()
	store, err := pebblestore.Open(dir, o)
	if err != nil {
		tb.Errorf("open store for its check: %v", err)
		return
	}
	_, err = store.Check(nil)
	if errors.Is(err, tidemark.ErrCorrupt) {
		tb.Errorf("the test left a damaged store: %v", err)
	} else if err != nil {
		tb.Errorf("check store: %v", err)
	}
	if err := store.Close(); err != nil {
		tb.Errorf("close store: %v", err)
	}
}
