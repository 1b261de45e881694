package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The demo ends by itself, with what it promises, and leaves nothing behind.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(testContext(t, 3*patience), program, "demo", "--input", filepath.Join("..", "..", "testdata", "irc-sample.jsonl.gz"))
	cmd.Env = append(cmd.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte("\ndemo: OK\n")) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"killed the leader n", " leads, ", "has caught up", "all 10585 messages are acknowledged"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

// A demo whose input is broken fails, with the line.
func TestDemoFails(t *testing.T) {
	t.Parallel()
	r := tidemark(t, "", "demo", "--input", "doc.go")
	wantFailure(t, r, 1, "demo failed", "doc.go: line 1")
}

// startDev starts `tidemark dev` and returns it with the process ids of its nodes.
func startDev(t *testing.T) (*exec.Cmd, []int) {
	t.Helper()
	// Its nodes take thirty ports in a row, below those of the other tests' nodes.
	port := strconv.Itoa(10_000 + 30*rand.IntN(300))
	cmd := exec.Command(program, "dev", "--data-dir", t.TempDir(), "--base-port", port)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	pid := regexp.MustCompile(`^n\d .* (\d+)$`)
	var pids []int
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if found := pid.FindStringSubmatch(lines.Text()); found != nil {
			n, err := strconv.Atoi(found[1])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
		if strings.Contains(lines.Text(), "Ctrl-C") {
			break
		}
	}
	if len(pids) != 3 {
		t.Fatalf("dev runs %v, want three nodes", pids)
	}
	return cmd, pids
}

func wantGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, patience, func() error {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("node process %d is still there", pid)
			}
			return nil
		})
	}
}

// Ctrl-C stops all nodes of a local cluster, and so does the death of the process
// that runs them.
func TestDevLeavesNothingRunning(t *testing.T) {
	cmd, pids := startDev(t)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	wantGone(t, pids)

	cmd, pids = startDev(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	wantGone(t, pids)
}
