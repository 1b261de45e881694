package fsm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
	"tidemark/internal/crashfs"
)

// Whatever a committed entry holds that this build does not know in full stops the
// machine with a message that says what and where, and nothing of it is applied.
func TestFatalEntries(t *testing.T) {
	good := appendOf("t", "new", "x")
	raw := func(text string) []byte {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, c := range []struct {
		name  string
		entry tidemark.Entry
		is    error
		says  string
	}{
		{"unknown version",
			tidemark.Entry{Index: 9, Term: 4, Kind: tidemark.EntryCommands, Data: raw("0802")}, tidemark.ErrNewerFormat,
			"cannot apply log entry: index 9, term 4: data has a newer format: entry has version 2, and this build knows only 1; the node stops, because going on would make it differ from the other replicas; install the version of Tidemark that the rest of the cluster runs, or a newer one, and start the node again"},
		{"not an entry",
			tidemark.Entry{Index: 9, Term: 4, Kind: tidemark.EntryCommands}, tidemark.ErrCorrupt,
			"cannot apply log entry: index 9, term 4: data is corrupt: entry cannot be decoded: unexpected EOF; the node stops, because going on would make it differ from the other replicas; start the node again; if it stops at the same place, its data directory is damaged: remove the node, empty the directory and add the node again"},
		{"unknown kind of entry",
			tidemark.Entry{Index: 9, Term: 4, Kind: 77}, tidemark.ErrNewerFormat,
			"index 9, term 4: data has a newer format: it has the unknown kind 77;"},
		{"unknown command",
			commandsOf(9, 4, good, good, raw("6a00"), good), tidemark.ErrNewerFormat,
			"index 9, term 4, command 3 of 4: data has a newer format: command has the unknown kind 13;"},
		{"unknown field",
			commandsOf(9, 4, good, append(raw("0a0d"), append(good[2:], raw("7801")...)...)), tidemark.ErrNewerFormat,
			"index 9, term 4, command 2 of 2: data has a newer format: append has the unknown field 15 of wire type 0;"},
		{"damaged command",
			commandsOf(9, 4, good, raw("0a05")), tidemark.ErrCorrupt,
			"index 9, term 4, command 2 of 2: data is corrupt: command cannot be decoded: unexpected EOF;"},
		{"term goes back",
			commandsOf(9, 1, good), tidemark.ErrCorrupt,
			"index 9, term 1: data is corrupt: its term is less than 2, that of the entry 8 before it;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, crashfs.New())
			b.mustApply(commandsOf(1, 2, appendOf("t", "old", "x")))
			before := b.dump()
			_, err := b.apply(commandsOf(8, 2, good), c.entry, commandsOf(10, 4, good))
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("stopped with\n%v\nwant\n%s", err, c.says)
			}
			if _, again := b.apply(commandsOf(11, 4, good)); again == nil || again.Error() != err.Error() {
				t.Errorf("the stopped machine went on: %v", again)
			}
			if err := b.machine.SetMembership(tidemark.Applied{Index: 20}); err == nil {
				t.Error("the stopped machine took members")
			}
			if after := b.dump(); after != before {
				t.Errorf("the store changed to\n%s", after)
			}
		})
	}
}

func commandsOf(index, term uint64, commands ...[]byte) tidemark.Entry {
	return tidemark.Entry{Index: index, Term: term, Kind: tidemark.EntryCommands, Data: EncodeEntry(time.Unix(1, 0), commands)}
}

// A damaged record stops the machine, in whichever command it is met.
func TestFatalStore(t *testing.T) {
	head := append([]byte{3}, "t"...)
	dedupe := append([]byte{5, 0, 0, 0, 0, 0, 0, 0, 1}, "old"...)
	message := []byte{4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}
	cursor := append([]byte{6, 0, 0, 0, 0, 0, 0, 0, 1}, "alice"...)
	retry := Append{Draft: draft("t", "old", "x")}
	for _, c := range []struct {
		name    string
		key     []byte
		command []byte
		says    string
	}{
		{"head", head, appendOf("t", "new", "x"), `head of timeline "t"`},
		{"head in a batch", head, AppendBatch{Items: []Append{retry}}.Encode(), `head of timeline "t"`},
		{"head in an ack", head, Ack{Reader: "alice", Items: []AckItem{{Timeline: "t"}}}.Encode(), `head of timeline "t"`},
		{"dedupe entry", dedupe, retry.Encode(), `dedupe entry "old" of timeline number 1`},
		{"dedupe entry in a batch", dedupe, AppendBatch{Items: []Append{retry}}.Encode(), `dedupe entry "old" of timeline number 1`},
		{"message", message, retry.Encode(), "message 1 of timeline number 1"},
		{"message in a batch", message, AppendBatch{Items: []Append{retry}}.Encode(), "message 1 of timeline number 1"},
		{"cursor", cursor, Ack{Reader: "alice", Items: []AckItem{{Timeline: "t", Read: seq(1)}}}.Encode(), `cursor of reader "alice" in timeline number 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t, fs: crashfs.New()}
			b.open()
			b.mustApply(entryOf(1, retry.Encode(), Ack{Reader: "alice", Items: []AckItem{{Timeline: "t", Delivered: seq(1)}}}.Encode()))
			b.close()
			damage(t, b.fs, c.key)
			before := dumpDatabase(t, b.fs)
			b.open()
			_, err := b.apply(entryOf(2, appendOf("u", "m", "x")), entryOf(3, Noop{}.Encode(), c.command))
			for _, says := range []string{"index 3, term 1, command 2 of 2: ", c.says, "its data directory is damaged"} {
				if !errors.Is(err, tidemark.ErrCorrupt) || !strings.Contains(err.Error(), says) {
					t.Errorf("stopped with\n%v\nwant %s", err, says)
				}
			}
			b.close()
			if after := dumpDatabase(t, b.fs); after != before {
				t.Errorf("the store changed to\n%s", after)
			}
		})
	}
}

// damage puts a wrong value under a key that is there.
func damage(t *testing.T, fs vfs.FS, key []byte) {
	t.Helper()
	db, err := pebble.Open(generationDir(t, fs), &pebble.Options{FS: fs, Logger: discard{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	if _, closer, err := db.Get(key); err != nil {
		t.Errorf("key %x: %v", key, err)
	} else if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Set(key, []byte{1}, pebble.Sync); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// A store that cannot commit stops the machine, and waiters stay waiting.
func TestFatalCommit(t *testing.T) {
	b := &bench{t: t, fs: crashfs.New()}
	b.open()
	b.mustApply(entryOf(1, appendOf("t", "m1", "x")))
	b.close()
	_, err := b.apply(entryOf(2, appendOf("t", "m2", "x")))
	if err == nil || !strings.Contains(err.Error(), "cannot apply log entry: index 2, term 1") {
		t.Errorf("stopped with %v", err)
	}
	if reached := b.machine.waiters.reached.Load(); reached != 1 {
		t.Errorf("index %d was published", reached)
	}
	b.open()
	defer b.close()
	if head := b.heads()[0]; head.Last != 1 || b.machine.Applied().Index != 1 {
		t.Errorf("after the failure the head is %+v", head)
	}
}

func TestFatalThatReturnsPanics(t *testing.T) {
	b := newBench(t, crashfs.New())
	var told error
	machine := New(b.store, Options{Fatal: func(err error) { told = err }})
	defer func() {
		err, _ := recover().(error)
		if told == nil || !errors.Is(err, told) || !strings.Contains(err.Error(), "Options.Fatal returned") {
			t.Errorf("told %v, and panicked with %v", told, err)
		}
	}()
	machine.ApplyBatch([]tidemark.Entry{{Index: 1, Term: 1, Kind: tidemark.EntryCommands, Data: []byte("?")}})
}

func TestAdvice(t *testing.T) {
	for err, want := range map[error]string{
		tidemark.ErrDiskFull:    "make room on the disk",
		tidemark.ErrNewerFormat: "install the version",
		tidemark.ErrCorrupt:     "remove the node, empty the directory",
		errFault:                "report it, with this message",
		errors.New("i/o error"): "look at the disk",
	} {
		if got := cannotApply(&tidemark.Entry{Index: 1}, "", fmt.Errorf("store: %w", err)).Error(); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}
