//go:build linux

package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"", "raft/1.wal", true},
		{"*.wal", "raft/1.wal", true},
		{"raft/*.wal", "raft/1.wal", true},
		{"raft/*.wal", "other/raft/1.wal", false},
		{"**/*.wal", "other/raft/1.wal", true},
		{"**/*.wal", "1.wal", true},
		{"raft/**", "raft/a/b", true},
		{"raft/**", "state/a", false},
		{"**", "a/b/c", true},
		{"*.wal", "raft/1.sst", false},
	} {
		if got := Match(c.pattern, c.path); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
}

func TestRulesFailWhatTheyNameAndNothingElse(t *testing.T) {
	d, dir := mounted(t, Options{})
	log, other := filepath.Join(dir, "a.log"), filepath.Join(dir, "other")
	write(t, log, "contents", "file", "dir")
	write(t, other, "contents", "file", "dir")
	operations := map[Ops]func() error{
		OpRead: func() error {
			// The kernel has the contents in its pages unless it is opened past them.
			f, err := os.OpenFile(log, os.O_RDONLY|syscall.O_DIRECT, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.ReadAt(make([]byte, 4), 0)
			return err
		},
		OpWrite:    func() error { return appendTo(log, false) },
		OpSync:     func() error { return appendTo(log, true) },
		OpSyncDir:  func() error { return syncName(dir) },
		OpOpen:     func() error { return appendTo(log, false) },
		OpCreate:   func() error { return os.WriteFile(filepath.Join(dir, "new.log"), nil, 0o600) },
		OpMkdir:    func() error { return os.Mkdir(filepath.Join(dir, "dir.log"), 0o700) },
		OpLink:     func() error { return os.Link(log, filepath.Join(dir, "link.log")) },
		OpRename:   func() error { return os.Rename(other, filepath.Join(dir, "renamed.log")) },
		OpUnlink:   func() error { return os.Remove(log) },
		OpTruncate: func() error { return os.Truncate(log, 1) },
		OpReaddir:  func() error { _, err := os.ReadDir(dir); return err },
		OpLookup:   func() error { _, err := os.Stat(log); return err },
	}
	for op, operate := range operations {
		pattern := "*.log"
		if op == OpSyncDir || op == OpReaddir {
			pattern = ""
		}
		rule, err := d.Fail(Rule{Ops: op, Path: pattern}, syscall.EIO)
		must(t, err)
		if err := operate(); !errors.Is(err, syscall.EIO) || rule.Hits() == 0 {
			t.Errorf("operation %#x: %v, %d hits", op, err, rule.Hits())
		}
		must(t, appendTo(other, op != OpSyncDir))
		rule.Heal()
	}
	// The kernel asks for a name again when it is told of an error.
	if failed := d.Stats().Failed; failed != len(operations)+1 {
		t.Errorf("%d failures counted, want %d", failed, len(operations)+1)
	}
	must(t, appendTo(log, true))
}

func appendTo(path string, sync bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString("more"); err != nil || !sync {
		return err
	}
	return f.Sync()
}

func TestASyncThatFailsKeepsNothing(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "old", "file", "dir")
	_, err := d.Fail(Rule{Ops: OpSync, Count: 1}, syscall.EIO)
	must(t, err)
	if err := appendTo(path, true); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	want(t, path, "oldmore")
	lose(t, d)
	want(t, path, "old")
}

// TestASyncAfterOneThatFailedKeepsOnlyWhatIsNew is what a database must know of Linux.
func TestASyncAfterOneThatFailedKeepsOnlyWhatIsNew(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	old := strings.Repeat("o", 3*blockSize)
	write(t, path, old, "file", "dir")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	writeAt := func(block int64) {
		_, err = f.WriteAt([]byte(strings.Repeat("n", blockSize)), block*blockSize)
		must(t, err)
	}
	writeAt(0)
	writeAt(1)
	writeAt(3)
	_, err = d.Fail(Rule{Ops: OpSync, Count: 1}, syscall.EIO)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	writeAt(1)
	writeAt(4)
	must(t, f.Sync())
	must(t, f.Close())
	lose(t, d)
	got, err := os.ReadFile(path)
	must(t, err)
	var kinds string
	for at := 0; at < len(got); at += blockSize {
		kinds += string(got[at])
	}
	if kinds != "ono\x00n" {
		t.Fatalf("the blocks hold %q", kinds)
	}
}

func TestASyncThatLiesKeepsNothing(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "old", "file", "dir")
	_, err := d.Lie(Rule{})
	must(t, err)
	must(t, appendTo(path, true))
	lose(t, d)
	want(t, path, "old")
}

func TestSkipCountAndProbability(t *testing.T) {
	d, dir := mounted(t, Options{Seed: 3})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	failures := func(rule Rule) (failed string) {
		i, err := d.Fail(rule, syscall.EIO)
		must(t, err)
		defer i.Heal()
		for range 20 {
			if appendTo(path, true) == nil {
				failed += "."
			} else {
				failed += "x"
			}
		}
		return failed
	}
	if got := failures(Rule{Ops: OpSync, Skip: 2, Count: 3}); got != "..xxx..............." {
		t.Errorf("skip and count: %s", got)
	}
	if got := strings.Count(failures(Rule{Ops: OpSync, Probability: 0.5}), "x"); got < 4 || got > 16 {
		t.Errorf("%d of 20 failed with probability 0.5", got)
	}
	for _, rule := range []Rule{{Probability: 2}, {Skip: -1}, {Path: "["}} {
		if _, err := d.Fail(rule, syscall.EIO); err == nil {
			t.Errorf("%+v is accepted", rule)
		}
	}
}

func TestAStallHoldsUpUntilItIsHealed(t *testing.T) {
	d, dir := mounted(t, Options{})
	path := filepath.Join(dir, "f")
	write(t, path, "")
	stall, err := d.Stall(Rule{Ops: OpSync}, 0)
	must(t, err)
	done := make(chan error, 40)
	for i := range cap(done) {
		// Syncs of one file wait for each other in the kernel.
		path := fmt.Sprint(path, i)
		write(t, path, "")
		go func() { done <- appendTo(path, true) }()
	}
	waitFor(t, func() bool { return stall.Hits() == cap(done) })
	// Others go on meanwhile.
	must(t, appendTo(path, false))
	if len(done) != 0 {
		t.Fatal("a sync is not held up")
	}
	d.Heal()
	for range cap(done) {
		must(t, <-done)
	}

	started := time.Now()
	_, err = d.Stall(Rule{Ops: OpSync}, 30*time.Millisecond)
	must(t, err)
	must(t, appendTo(path, true))
	if took := time.Since(started); took < 30*time.Millisecond {
		t.Errorf("the sync took %v", took)
	}
}

// TestAKilledProcessIsNotHeldUp is what makes SIGKILL during a stall work, and the
// power failure after it.
func TestAKilledProcessIsNotHeldUp(t *testing.T) {
	d, dir := mounted(t, Options{})
	stall, err := d.Stall(Rule{Ops: OpSync, Skip: 20}, 0)
	must(t, err)
	cmd := childCommand("bbolt", dir)
	must(t, cmd.Start())
	waitFor(t, func() bool { return stall.Hits() > 0 })
	must(t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		t.Fatal("the process ended by itself")
	}
	_, err = d.PowerFailure(1)
	must(t, err)
	stall.Heal()
	if _, err := stored("bbolt", dir); err != nil {
		t.Fatal(err)
	}
}

// TestOtherSignalsDoNotInterrupt is what a Go process needs, which sends itself many.
func TestOtherSignalsDoNotInterrupt(t *testing.T) {
	d, dir := mounted(t, Options{})
	stall, err := d.Stall(Rule{Ops: OpSync, Skip: 20, Count: 1}, 0)
	must(t, err)
	cmd := childCommand("bbolt", dir)
	must(t, cmd.Start())
	waitFor(t, func() bool { return stall.Hits() > 0 })
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid))
	must(t, err)
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		must(t, err)
		must(t, unix.Tgkill(cmd.Process.Pid, id, unix.SIGURG))
	}
	// Long enough for the disk to look after who was interrupted.
	time.Sleep(4 * killPoll)
	stall.Heal()
	syncs := d.Stats().Syncs
	waitFor(t, func() bool { return d.Stats().Syncs > syncs+10 })
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 10 s")
		}
	}
}

func TestFillLeavesWhatItSays(t *testing.T) {
	d, dir := mounted(t, Options{})
	path, big := filepath.Join(dir, "f"), filepath.Join(dir, "big")
	write(t, big, strings.Repeat("x", 50_000), "file", "dir")
	d.Fill(10_000)
	err := os.WriteFile(path, make([]byte, 12_000), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write: %v", err)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Size() != 10_000 {
		t.Fatalf("%d bytes fitted", info.Size())
	}
	var st syscall.Statfs_t
	must(t, syscall.Statfs(dir, &st))
	if st.Bavail != 0 {
		t.Fatalf("%d blocks are free", st.Bavail)
	}
	f, err := os.OpenFile(big, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("overwritten"), 1000)
	must(t, err)
	if err := syscall.Fallocate(int(f.Fd()), 1, 0, 60_000); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fallocate: %v", err)
	}
	must(t, f.Close())
	must(t, os.Remove(big))
	write(t, filepath.Join(dir, "new"), strings.Repeat("x", 40_000))
	d.Heal()
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", 1_000_000))
}
