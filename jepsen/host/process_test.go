//go:build linux

package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tidemark/rpc/tidemarkv1"
)

type member = tidemarkv1.Member

const voter = tidemarkv1.MemberRole_MEMBER_ROLE_VOTER

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 1})
	n := h.Node("n1")
	before, err := n.Stats(testContext(t))
	if err != nil || before.MemoryBytes < 1<<20 || before.FileDescriptors < 3 || before.Goroutines < 3 {
		t.Errorf("stats of a running node: %+v, %v", before, err)
	}
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	if !n.Paused() || !n.Running() || !stopped(n.PID()) {
		t.Errorf("paused %v, running %v, stopped %v", n.Paused(), n.Running(), stopped(n.PID()))
	}
	if _, ok := h.Leader(testContext(t)); ok {
		t.Error("a node that is paused leads")
	}
	if stats, err := n.Stats(testContext(t)); err != nil || stats.MemoryBytes == 0 || stats.Goroutines != 0 {
		t.Errorf("stats of a paused node: %+v, %v", stats, err)
	}
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	if n.Paused() || stopped(n.PID()) {
		t.Error("the node was resumed and stands still")
	}
	mustSend(t, clientOf(t, h, "n1"), "after the pause")

	// A node that is paused can be killed.
	if err := n.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if n.Running() || n.Paused() || n.PID() != 0 {
		t.Error("a node that was killed runs")
	}
	// What does not run can be treated like that as well.
	for name, act := range map[string]func() error{"kill": n.Kill, "pause": n.Pause, "resume": n.Resume} {
		if err := act(); err != nil {
			t.Errorf("%s of a node that does not run: %v", name, err)
		}
	}
}

// A node is stopped in order, and started with another program and environment.
func TestRestartWithAnotherProgram(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 1})
	n := h.Node("n1")
	mustSend(t, clientOf(t, h, "n1"), "before")
	if err := n.Terminate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "tidemark-other")
	if out, err := exec.Command("cp", program, other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.SetBinary(other)
	n.SetEnv("TIDEMARK_LOG_LEVEL=debug")
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustSend(t, clientOf(t, h, "n1"), "after")
	if path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(n.PID()), "exe")); err != nil || path != other {
		t.Errorf("it runs %s, %v", path, err)
	}
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(n.PID()) + "/environ")
	if err != nil || !strings.Contains(string(environment), "TIDEMARK_LOG_LEVEL=debug") {
		t.Errorf("its environment is %q, %v", environment, err)
	}
	exits, logs := n.Exits(), n.LogPaths()
	if len(exits) != 1 || exits[0].Status != 0 || !exits[0].Asked || exits[0].Ended.Before(exits[0].Started) {
		t.Errorf("exits: %+v", exits)
	}
	if len(logs) != 2 || logs[0] == logs[1] {
		t.Fatalf("logs: %v", logs)
	}
	if first, err := os.ReadFile(logs[0]); err != nil || !strings.Contains(string(first), "stopped") {
		t.Errorf("the first log is %q, %v", first, err)
	}
}

// A process that ends by itself is told from one that was ended.
func TestExitThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	h := describeHost(t, Options{Nodes: 1, Loopback: true, Args: []string{"--no-such-flag"}})
	n := h.Node("n1")
	begin := time.Now()
	if err := h.Form(testContext(t)); err == nil || time.Since(begin) > patience/2 {
		t.Fatalf("formed with %v", err)
	}
	exits := n.Exits()
	if len(exits) != 1 || exits[0].Asked || exits[0].Status <= 0 {
		t.Fatalf("exits: %+v", exits)
	}
	if text, err := os.ReadFile(exits[0].LogPath); err != nil || !strings.Contains(string(text), "no-such-flag") {
		t.Errorf("its log is %q, %v", text, err)
	}
}

// fakeDisk is a directory beside the one that it is given.
type fakeDisk struct {
	dir    string
	closed int
}

func (d *fakeDisk) DataDir() string { return d.dir }
func (d *fakeDisk) Close() error    { d.closed++; return nil }

func TestDisk(t *testing.T) {
	t.Parallel()
	disks := map[NodeID]*fakeDisk{}
	h := form(t, Options{Nodes: 1, Loopback: true, NewDisk: func(id NodeID, dir string) (Disk, error) {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			t.Errorf("%s is given a disk over %s: %v", id, dir, err)
		}
		disks[id] = &fakeDisk{dir: filepath.Join(dir, "mounted")}
		return disks[id], nil
	}})
	n := h.Node("n1")
	if !h.Supports(FeatureDisk) || n.Disk() != Disk(disks["n1"]) || n.DataDir() != disks["n1"].dir {
		t.Errorf("disk %v, data in %s", n.Disk(), n.DataDir())
	}
	if files, err := os.ReadDir(n.DataDir()); err != nil || len(files) == 0 {
		t.Errorf("the node did not use its disk: %v, %v", files, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if disks["n1"].closed != 1 {
		t.Errorf("the disk was closed %d times", disks["n1"].closed)
	}
}

// The first nodes run the old program until they are upgraded, and later ones the new.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "tidemark-old")
	if out, err := exec.Command("cp", program, old).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h := form(t, Options{Nodes: 1, OldBinary: old})
	runs := func(n Node, want string) {
		t.Helper()
		if path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(n.PID()), "exe")); err != nil || path != want {
			t.Errorf("%s runs %s, want %s (%v)", n.ID(), path, want, err)
		}
	}
	n := h.Node("n1")
	runs(n, old)
	if !n.Outdated() || !h.Supports(FeatureUpgrade) {
		t.Error("a node with the old program is not outdated")
	}
	added, err := h.Add()
	if err != nil {
		t.Fatal(err)
	}
	if err := added.Start(); err != nil {
		t.Fatal(err)
	}
	runs(added, program)
	if err := n.Terminate(testContext(t)); err != nil {
		t.Fatal(err)
	}
	n.Upgrade()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	runs(n, program)
	if n.Outdated() || added.Outdated() {
		t.Error("a node with the new program is outdated")
	}
}

// A command runs where the node is, and tells what it printed also when it fails.
func TestRun(t *testing.T) {
	t.Parallel()
	h := form(t, Options{Nodes: 1})
	n := h.Node("n1")
	endpoint := n.Endpoint()
	if out, err := n.Run(testContext(t), "status", "--endpoints", endpoint); err != nil || !strings.Contains(out, "n1") {
		t.Errorf("status: %v, %q", err, out)
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if out, err := n.Run(testContext(t), "check", "--data-dir", n.DataDir()); err != nil || !strings.Contains(out, "store") {
		t.Errorf("check: %v, %q", err, out)
	}
	out, err := n.Run(testContext(t), "check", "--data-dir", "nowhere")
	if err == nil || !strings.Contains(out, "nowhere") || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("check of nothing: %v, %q", err, out)
	}
}
