//go:build linux

package run

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
)

// binary is the program that the nodes run, built for these tests.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(childFolder) != "" {
		runToBeKilled()
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "jepsen-run-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tidemark")
	if out, err := exec.Command("go", "build", "-o", binary, "tidemark/cmd/tidemark").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// short are the options of the shortest run that shows something.
func short(t *testing.T) Options { return shortIn(t.TempDir()) }

func shortIn(out string) Options {
	o := Defaults()
	o.Mix, o.Seed, o.Rate, o.Hot, o.Cold = []string{"kill-one"}, 1, 300, 2, 6
	o.Duration, o.Tail, o.Calm, o.Hold, o.Patience = 1500*time.Millisecond, time.Second, 500*time.Millisecond, 500*time.Millisecond, 3*time.Second
	o.Porcupine = time.Second
	o.Out, o.Loopback = out, true
	o.Binary = binary
	return o
}

// A whole run passes, and the same run fails by name when one acknowledged message
// is taken out of what one node shows at the end.
func TestARunPassesAndALostAppendIsFound(t *testing.T) {
	t.Parallel()
	o := short(t)
	var untouched *Result
	var untouchedLogs []history.LogEntry
	var phases []Phase
	o.Progress = func(p Progress) {
		if !slices.Contains(phases, p.Phase) {
			phases = append(phases, p.Phase)
		}
	}
	o.tamper = func(h *history.History) {
		untouched = Judge(h, nil, t.TempDir(), 0)
		untouchedLogs = h.Logs
		dropLast(t, h)
	}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !untouched.Pass {
		t.Errorf("the run as it was failed: %s", untouched.Reason)
	}
	if want := []Phase{Forming, Loading, Healing, Reading, Judging, Finished}; !slices.Equal(phases, want) {
		t.Errorf("phases are %v, want %v", phases, want)
	}
	counts := untouched.Verdict.Counts
	if nodes := nodesOfLogs(untouchedLogs); !slices.Equal(nodes, []string{"n1", "n2", "n3"}) || counts.LogEntries != len(untouchedLogs) {
		t.Errorf("%d log entries of %v were read", counts.LogEntries, nodes)
	}
	if counts.AcknowledgedAppends < 100 || counts.Faults == 0 || counts.MessagesReadBack < 2*counts.AcknowledgedAppends {
		t.Errorf("the run did little: %+v", counts)
	}
	if result.Pass || !strings.Contains(result.Reason, "lost-append") {
		t.Errorf("with a message lost the result is %v, %q; want a failure that names lost-append", result.Pass, result.Reason)
	}
	for _, name := range []string{"report.html", "result.json", "history.jsonl.gz"} {
		if _, err := os.Stat(filepath.Join(o.Out, name)); err != nil {
			t.Error(err)
		}
	}
	if h, err := history.Read(filepath.Join(o.Out, "history.jsonl.gz")); err != nil || !Judge(h, nil, t.TempDir(), 0).Pass {
		t.Errorf("the file of the untouched history is judged otherwise (%v)", err)
	}
}

// dropLast takes the last acknowledged message out of a final read of one node,
// which then shows a timeline that ends earlier.
func dropLast(t *testing.T, h *history.History) {
	t.Helper()
	acknowledged := map[string]bool{}
	for i := range h.Operations {
		for _, item := range h.Operations[i].Items {
			if item.Outcome == history.OK {
				acknowledged[item.Timeline+" "+item.MessageID] = true
			}
		}
	}
	for i := range h.Operations {
		op := &h.Operations[i]
		n := len(op.Messages)
		if op.Kind != history.KindFinalRead || n < 2 || op.More || !acknowledged[op.Timeline+" "+op.Messages[n-1].MessageID] {
			continue
		}
		op.Messages = op.Messages[:n-1]
		op.HeadLast, op.HeadDigest = op.Messages[n-2].SeqID, op.Messages[n-2].Digest
		return
	}
	t.Fatal("no final read ends with an acknowledged message")
}

// A run that is interrupted ends soon, leaves no process, and gives no verdict.
func TestAnInterruptedRunLeavesNothing(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Duration = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var begun time.Time
	o.Progress = func(p Progress) {
		if p.Acknowledged > 0 && begun.IsZero() {
			if len(processesOf(t, o.Out)) == 0 {
				t.Error("the nodes of a run are not found")
			}
			begun = time.Now()
			cancel()
		}
	}
	if result, err := Run(ctx, o); err == nil {
		t.Fatalf("an interrupted run has the result %+v", result)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if left := processesOf(t, o.Out); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// processesOf are the nodes that keep their data below the folder.
func processesOf(t *testing.T, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "--data-dir\x00"+folder) {
			found = append(found, path)
		}
	}
	return found
}

func TestOptionsAreChecked(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"--nodes":    func(o *Options) { o.Nodes = 0 },
		"--rate":     func(o *Options) { o.Rate = 0 },
		"--out":      func(o *Options) { o.Out = "" },
		"--binary":   func(o *Options) { o.Binary = "" },
		"--hot":      func(o *Options) { o.Hot = 0 },
		"--duration": func(o *Options) { o.Hold = 0 },
	} {
		o := Defaults()
		o.Out, o.Binary = "out", "tidemark"
		spoil(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error that names %s, got %v", want, err)
		}
	}
}

// Only a fault of its disk excuses a node that ends by itself, and only for a while.
func TestWhichExitsAreExcused(t *testing.T) {
	faults := []history.Fault{
		{Name: "disk-failing", Target: "n2", From: 10 * time.Second, To: 20 * time.Second},
		{Name: "kill-one", Target: "n1", From: 10 * time.Second, To: 20 * time.Second},
		{Name: "disk-corrupt", Target: "n3 n45", From: 10 * time.Second, To: 20 * time.Second},
	}
	for _, c := range []struct {
		node   host.NodeID
		status int
		at     time.Duration
		want   bool
	}{
		{"n2", 1, 15 * time.Second, true},
		{"n2", 1, 25 * time.Second, true},
		{"n2", 1, 5 * time.Second, false},
		{"n2", 1, 50 * time.Second, false},
		{"n1", 1, 15 * time.Second, false},
		{"n3", 3, 15 * time.Second, true},
		// A panic, or SIGSEGV, is not how damage is refused.
		{"n3", 2, 15 * time.Second, false},
		{"n3", -1, 15 * time.Second, false},
		{"n4", 3, 15 * time.Second, false},
	} {
		if got := excused(faults, ending{c.node, host.Exit{Status: c.status}}, c.at); got != c.want {
			t.Errorf("the end of %s at %v with status %d: excused is %v, want %v", c.node, c.at, c.status, got, c.want)
		}
	}
}
