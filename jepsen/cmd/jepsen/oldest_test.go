//go:build linux

package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/jepsen/run"
	"tidemark/jepsen/workload"
)

// Only a mix with rolling-upgrade starts with another program.
func TestOldProgramOnlyForAnUpgrade(t *testing.T) {
	o := run.Defaults()
	o.Mix, o.OldBinary = []string{"kill", "all"}, "old"
	if err := withOldest(t.Context(), &o); err != nil || o.OldBinary != "" || o.Workloads != nil {
		t.Errorf("kill starts with %q and does %v: %v", o.OldBinary, o.Workloads, err)
	}
	o.Mix, o.OldBinary = []string{"rolling"}, "old"
	if err := withOldest(t.Context(), &o); err != nil || !filepath.IsAbs(o.OldBinary) {
		t.Errorf("rolling starts with %q: %v", o.OldBinary, err)
	}
	if _, err := workload.Named(o.Workloads...); err != nil || len(o.Workloads) == 0 {
		t.Errorf("its clients do %v: %v", o.Workloads, err)
	}
}

// A clone without the history says what to do.
func TestWithoutHistoryTheUpgradeIsRefused(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "--quiet", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Chdir(dir)
	o := run.Defaults()
	o.Mix, o.Out = []string{"rolling"}, dir
	err := withOldest(t.Context(), &o)
	if !errors.Is(err, errNoOldest) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"rolling-upgrade", oldest.commit, "--unshallow", "--old-binary"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
}
