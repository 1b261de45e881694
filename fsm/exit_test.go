package fsm

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"tidemark"
	"tidemark/pebblestore"
)

// exitDir is set for the process that is to end, and names its directory.
const exitDir = "TIDEMARK_TEST_EXIT_DIR"

// runToExit runs the test again in a process of its own, which must end with
// status 1, and returns what it said.
func runToExit(t *testing.T, dir string) string {
	t.Helper()
	process := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	process.Env = append(os.Environ(), exitDir+"="+dir)
	output, err := process.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Contains(string(output), "--- FAIL") {
		t.Fatalf("the process ended with %v, want exit status 1, and said\n%s", err, output)
	}
	return string(output)
}

// openToExit opens a machine without a Fatal of its own.
func openToExit(t *testing.T, dir string, fs vfs.FS) *Machine {
	t.Helper()
	options := pebblestore.DefaultOptions()
	options.FS, options.Logger = fs, slog.New(slog.NewTextHandler(os.Stderr, nil))
	store, err := pebblestore.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	return New(store, Options{})
}

func TestFatalByDefaultExits(t *testing.T) {
	if dir := os.Getenv(exitDir); dir != "" {
		openToExit(t, dir, nil).ApplyBatch([]tidemark.Entry{commandsOf(7, 3, []byte{0x7a, 0})})
		t.Fatal("went on")
	}
	said := runToExit(t, filepath.Join(t.TempDir(), "store"))
	if want := "tidemark: cannot apply log entry: index 7, term 3, command 1 of 1: data has a newer format: command has the unknown kind 15"; !strings.Contains(said, want) {
		t.Errorf("said %s, want %s", said, want)
	}
}

// A full disk ends the process, by the store's Fatal or the machine's. What is found
// afterwards is a prefix of the log, and a machine with room goes on from there.
func TestFullDiskExits(t *testing.T) {
	log := make([]tidemark.Entry, 200)
	for i := range log {
		log[i] = entryOf(uint64(i+1), appendOf("t", fmt.Sprint(i+1), strings.Repeat("x", 512)))
	}
	if dir := os.Getenv(exitDir); dir != "" {
		full := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return syscall.ENOSPC
			}
			return nil
		})}
		machine := openToExit(t, dir, errorfs.Wrap(vfs.Default, &full))
		machine.ApplyBatch(log[:20])
		full.On()
		for _, e := range log[20:] {
			machine.ApplyBatch([]tidemark.Entry{e})
		}
		t.Fatal("went on; sync says", machine.Sync())
	}
	dir := filepath.Join(t.TempDir(), "store")
	if said := runToExit(t, dir); !strings.Contains(said, tidemark.ErrDiskFull.Error()) {
		t.Errorf("said %s", said)
	}
	machine := openToExit(t, dir, nil)
	defer machine.store.Close()
	check := func(want tidemark.SeqID) {
		head, err := machine.store.Head("t")
		if err != nil && want > 0 || head.Last != want {
			t.Errorf("the head is %+v (%v), want the last SeqID %d", head, err, want)
		}
		if _, err := machine.store.Check(nil); err != nil {
			t.Error(err)
		}
	}
	check(tidemark.SeqID(machine.Applied().Index))
	machine.ApplyBatch(log)
	check(tidemark.SeqID(len(log)))
}
