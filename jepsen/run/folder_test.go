//go:build linux

package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/jepsen/disk"
)

// In the environment of the test binary, these make it a harness that does a run in
// the folder with the program, says when clients were served, and then waits to be
// killed, or panics.
const (
	childFolder  = "JEPSEN_TEST_RUN_FOLDER"
	childProgram = "JEPSEN_TEST_RUN_PROGRAM"
	childPanics  = "JEPSEN_TEST_RUN_PANICS"
)

func runToBeKilled() {
	o := onDisks(os.Getenv(childFolder))
	o.Binary, o.Duration = os.Getenv(childProgram), time.Minute
	o.Progress = func(p Progress) {
		if p.Acknowledged == 0 {
			return
		}
		fmt.Println("serving")
		if os.Getenv(childPanics) != "" {
			panic("on purpose")
		}
	}
	_, err := Run(context.Background(), o)
	fmt.Fprintln(os.Stderr, "the run ended:", err)
	os.Exit(1)
}

// onDisks are the options of a short run whose nodes have disks.
func onDisks(folder string) Options {
	o := shortIn(folder)
	o.Mix = []string{"power-one"}
	return o
}

// Of a harness that was killed or panicked no process is left, and the next run in
// the same folder takes its disks and its nodes' data away.
func TestTheNextRunCleansUp(t *testing.T) {
	if err := disk.Supported(); err != nil {
		t.Skip(err)
	}
	for name, env := range map[string][]string{"killed": nil, "panicked": {childPanics + "=1"}} {
		t.Run(name, func(t *testing.T) {
			o := onDisks(t.TempDir())
			// However the test ends, what is mounted would be in the way of its folder's removal.
			t.Cleanup(func() {
				if err := disk.CleanUp(o.Out); err != nil {
					t.Error(err)
				}
			})
			endHarness(t, o.Out, env)
			awaitNoProcess(t, o.Out)
			result, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !result.Pass {
				t.Errorf("the next run failed: %s", result.Reason)
				for _, path := range lastLogs(o.Out) {
					log, err := os.ReadFile(path)
					t.Logf("%s: %v\n%s", path, err, log[max(0, len(log)-8<<10):])
				}
			}
			if left := disksBelow(t, o.Out); left > 0 {
				t.Errorf("%d disks are left", left)
			}
		})
	}
}

// lastLogs are those of the nodes' processes.
func lastLogs(folder string) []string {
	logs, _ := filepath.Glob(filepath.Join(folder, "nodes", "*", "*.log"))
	return logs
}

// waitForEnd is how long a harness that was ended is waited for.
const waitForEnd = 20 * time.Second

// endHarness lets a harness work in the folder until clients were served, and ends it.
func endHarness(t *testing.T, folder string, env []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childFolder+"="+folder, childProgram+"="+binary), env...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	served := bufio.NewScanner(out).Scan()
	// Those of one that has ended, any other run on this machine cleans up.
	if env == nil && disksBelow(t, folder) == 0 {
		t.Error("the harness has no disk: there will be nothing to clean up")
	}
	if len(env) == 0 {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(waitForEnd):
		// A thread of it waits for an answer of a disk that it served itself. It ends when the next
		// run cleans that up.
		err = errors.New("it has not ended")
	}
	if !served || err == nil {
		t.Fatalf("the harness served clients: %v; it ended with %v\n%s", served, err, said.String())
	}
}

func awaitNoProcess(t *testing.T, folder string) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := processesOf(t, folder)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %v", left)
		}
	}
}

func disksBelow(t *testing.T, folder string) int {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(mounts), " "+folder+"/")
}

// Two runs do not share a folder, and the first one keeps what is its own.
func TestAFolderIsTakenOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "out")
	release, err := takeFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(folder, "nodes", "n1", "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := takeFolder(folder); err == nil || !strings.Contains(err.Error(), folder) {
		t.Errorf("it was taken again: %v", err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Errorf("what the first run made is gone: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := takeFolder(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer again()
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("what an earlier run left is still there: %v", err)
	}
}
