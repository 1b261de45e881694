package fsm

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
	"tidemark/pebblestore"
)

const storeDir = "store"

// stopped is what the Fatal of tests panics with.
type stopped struct{ err error }

// bench is a machine on a store in memory, for tests.
type bench struct {
	t       testing.TB
	fs      *crashfs.FS
	store   *pebblestore.Store
	machine *Machine
}

// newBench opens a machine on the file system, and checks the whole store when the
// test ends.
func newBench(t testing.TB, fs *crashfs.FS) *bench {
	b := &bench{t: t, fs: fs}
	b.open()
	t.Cleanup(func() {
		b.check()
		b.close()
	})
	return b
}

func (b *bench) open() {
	b.t.Helper()
	options := pebblestore.DefaultOptions()
	options.FS = b.fs
	options.BlockCacheBytes = 1 << 20
	options.MemTableBytes = 256 << 10
	options.Fatal = func(message string) { panic(stopped{fmt.Errorf("store: %s", message)}) }
	store, err := pebblestore.Open(storeDir, options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = store
	b.machine = New(store, Options{Fatal: func(err error) { panic(stopped{err}) }})
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

// crash goes on from what a loss of power would leave of the file system.
func (b *bench) crash(config vfs.CrashCloneCfg) {
	b.t.Helper()
	clone := b.fs.CrashClone(config)
	b.close()
	b.fs = clone
	b.open()
}

func (b *bench) check() {
	b.t.Helper()
	if _, err := b.store.Check(nil); err != nil {
		b.t.Errorf("the store is damaged: %v", err)
	}
}

// apply applies the entries and returns what the machine stopped with, if it did.
func (b *bench) apply(entries ...tidemark.Entry) (results [][]any, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case stopped:
			err = r.err
		default:
			panic(r)
		}
	}()
	return b.machine.ApplyBatch(entries), nil
}

func (b *bench) mustApply(entries ...tidemark.Entry) [][]any {
	b.t.Helper()
	results, err := b.apply(entries...)
	if err != nil {
		b.t.Fatal(err)
	}
	return results
}

// next applies the commands in an entry of their own, at the index after the last one.
func (b *bench) next(commands ...[]byte) []any {
	b.t.Helper()
	return b.mustApply(entryOf(b.machine.Applied().Index+1, commands...))[0]
}

func (b *bench) heads() []tidemark.Head {
	b.t.Helper()
	page, err := b.store.Timelines("", "", tidemark.MaxListItems)
	if err != nil {
		b.t.Fatal(err)
	}
	if page.More {
		b.t.Fatal("too many timelines for one page")
	}
	var heads []tidemark.Head
	for _, described := range page.Timelines {
		heads = append(heads, described.Head)
	}
	return heads
}

// dump renders every key and value of the store, which it closes and opens again.
// It reads the database itself, so that nothing that the store says is taken on trust.
func (b *bench) dump() string {
	b.t.Helper()
	b.close()
	text := dumpDatabase(b.t, b.fs)
	b.open()
	return text
}

func dumpDatabase(t testing.TB, fs vfs.FS) string {
	t.Helper()
	db, err := pebble.Open(generationDir(t, fs), &pebble.Options{FS: fs, ReadOnly: true, Logger: discard{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	iterator, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer iterator.Close()
	var text strings.Builder
	for iterator.First(); iterator.Valid(); iterator.Next() {
		fmt.Fprintf(&text, "%x = %x\n", iterator.Key(), iterator.Value())
	}
	if err := iterator.Error(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// generationDir is the directory of the database that is in force.
func generationDir(t testing.TB, fs vfs.FS) string {
	t.Helper()
	file, err := fs.Open(fs.PathJoin(storeDir, "CURRENT"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(text, []byte("\n"))
	name, _, _ := bytes.Cut(lines[1], []byte(" "))
	return fs.PathJoin(storeDir, string(name))
}

type discard struct{}

func (discard) Infof(string, ...any)  {}
func (discard) Errorf(string, ...any) {}
func (discard) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// entryOf is a log entry of term 1 at the time of its index in seconds.
func entryOf(index uint64, commands ...[]byte) tidemark.Entry {
	at := tidemark.Time(index * 1e9).Go()
	return tidemark.Entry{Index: index, Term: 1, Kind: tidemark.EntryCommands, Data: EncodeEntry(at, commands)}
}

func draft(timeline, id, payload string) tidemark.Draft {
	return tidemark.Draft{
		Timeline: tidemark.TimelineID(timeline), ID: tidemark.MessageID(id),
		Payload: []byte(payload), ClientTime: tidemark.NoTime,
	}
}

func appendOf(timeline, id, payload string) []byte {
	return Append{Draft: draft(timeline, id, payload)}.Encode()
}
