//go:build linux

package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// childDir, in the environment, makes the test binary a harness of its own that forms
// a cluster there, says so, and waits to be killed.
const childDir = "TIDEMARK_TEST_HOST_CHILD"

// childProgram is the tidemark that the child runs.
const childProgram = "TIDEMARK_TEST_HOST_PROGRAM"

// childState is what a child tells.
type childState struct {
	PIDs []int
	// Namespaces are the names under which /proc shows them, such as net:[4026532177].
	Namespaces []string
	// Skip says why there is nothing to test.
	Skip string
}

func child(dir string) error {
	h, err := New(Options{Binary: os.Getenv(childProgram), Dir: dir, Nodes: 3})
	if err != nil {
		return err
	}
	var state childState
	if h.why != nil {
		state.Skip = h.why.Error()
		return json.NewEncoder(os.Stdout).Encode(state)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.Form(ctx); err != nil {
		return err
	}
	// A process that is stopped has to die, too, and one whose network is hurt.
	if err := h.Node("n2").Pause(); err != nil {
		return err
	}
	if h.Supports(FeatureDelay) {
		if err := h.Slow("n1", "n3", 1, 0); err != nil {
			return err
		}
	}
	for _, n := range h.Nodes() {
		state.PIDs = append(state.PIDs, n.PID())
	}
	s := h.spaces()
	handles := []int{int(s.bridge)}
	for _, m := range s.members {
		handles = append(handles, int(m.ns))
	}
	for _, handle := range handles {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", handle))
		if err != nil {
			return err
		}
		state.Namespaces = append(state.Namespaces, name)
	}
	if err := json.NewEncoder(os.Stdout).Encode(state); err != nil {
		return err
	}
	select {}
}

// holders returns what keeps any of the namespaces: processes that are in it, open
// files, mounts.
func holders(t *testing.T, namespaces []string) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/proc/[0-9]*/ns/net", "/proc/[0-9]*/fd/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if target, err := os.Readlink(path); err == nil && slices.Contains(namespaces, target) {
				found = append(found, path+" "+target)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range namespaces {
		if strings.Contains(string(mounts), name) {
			found = append(found, "a mount of "+name)
		}
	}
	return found
}

// A harness that is killed leaves nothing behind, and nobody has to clean up.
func TestNothingIsLeftOfAKilledHarness(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+t.TempDir(), childProgram+"="+program)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var state childState
	if err := json.NewDecoder(out).Decode(&state); err != nil {
		t.Fatal(err)
	}
	if state.Skip != "" {
		t.Skipf("no network namespaces: %s", state.Skip)
	}
	// Three nodes, the clients, the observer and the bridge.
	if len(state.PIDs) != 3 || len(state.Namespaces) != 6 {
		t.Fatalf("the child formed %+v", state)
	}
	if found := holders(t, state.Namespaces); len(found) < 6+3 {
		t.Fatalf("only these hold the namespaces while the child lives: %v", found)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of all nodes", func() bool {
		return !slices.ContainsFunc(state.PIDs, func(pid int) bool { return alive(pid) })
	})
	eventually(t, "the end of all namespaces", func() bool { return len(holders(t, state.Namespaces)) == 0 })
}

// alive reports whether a process can still do anything: one that has ended stays
// until somebody asks for its status.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
