//go:build linux

package host

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program is the tidemark under test. It is built once.
var program string

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// Clusters wait for elections far more than they work.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "tidemark-host-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "tidemark")
	if out, err := exec.Command("go", "build", "-o", program, "tidemark/cmd/tidemark").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience is the longest that anything may take that has no time of its own.
const patience = 20 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come to be within %v", what, patience)
		}
	}
}

// describeHost describes a cluster that ends with its test.
func describeHost(t *testing.T, options Options) *Host {
	t.Helper()
	options.Binary, options.Dir = program, t.TempDir()
	h, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, n := range h.Nodes() {
				for _, path := range n.LogPaths() {
					text, _ := os.ReadFile(path)
					t.Logf("%s:\n%s", path, text)
				}
			}
		}
	})
	return h
}

// inNamespaces skips a test where network namespaces cannot be had.
func inNamespaces(t *testing.T, h *Host) *Host {
	t.Helper()
	if h.why != nil {
		t.Skipf("no network namespaces: %v", h.why)
	}
	return h
}

func form(t *testing.T, options Options) *Host {
	t.Helper()
	h := describeHost(t, options)
	if err := h.Form(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return h
}
