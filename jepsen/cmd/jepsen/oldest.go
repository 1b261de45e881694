//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"tidemark/jepsen/host"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/run"
)

// oldest is the version with the oldest binary format that is kept: data and peers of it
// can be upgraded from. Raising it is a decision about docs/operating.md too.
var oldest = struct {
	// commit is where it is built from.
	commit string
	// workloads are those whose calls it knows.
	workloads []string
}{
	commit:    "922f306b72401efb83c341de3a80d67a3e217c0f",
	workloads: []string{"stream", "unary", "batch", "reuse", "race", "read", "cursor"},
}

// errNoOldest says that the oldest kept version cannot be had here.
var errNoOldest = errors.New("the oldest kept version is not here")

// withOldest fills in the old program, if the mix starts with one, and what its
// clients may do.
func withOldest(ctx context.Context, o *run.Options) error {
	if !nemesis.Want(o.Mix, host.FeatureUpgrade) {
		o.OldBinary = ""
		return nil
	}
	if len(o.Workloads) == 0 {
		o.Workloads = oldest.workloads
	}
	var err error
	if o.OldBinary == "" {
		o.OldBinary, err = buildOldest(ctx, o.Out)
		return err
	}
	o.OldBinary, err = filepath.Abs(o.OldBinary)
	return err
}

// buildOldest builds the oldest kept version from the history of this clone.
func buildOldest(ctx context.Context, out string) (string, error) {
	if err := exec.CommandContext(ctx, "git", "cat-file", "-e", oldest.commit+"^{commit}").Run(); err != nil {
		return "", fmt.Errorf("%w: rolling-upgrade starts from commit %s, which this clone does not have; "+
			"git fetch --unshallow brings it, or --old-binary names a program", errNoOldest, oldest.commit)
	}
	sources, err := os.MkdirTemp("", "tidemark-oldest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(sources)
	binary, err := filepath.Abs(filepath.Join(out, "tidemark-oldest"))
	if err != nil {
		return "", err
	}
	root, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoOldest, err)
	}
	archive := filepath.Join(sources, "sources.tar")
	for _, command := range [][]string{
		{"git", "-C", string(root[:len(root)-1]), "archive", "--output", archive, oldest.commit},
		{"tar", "-x", "-f", archive, "-C", sources},
		{"go", "build", "-C", sources, "-ldflags", "-X main.version=" + oldest.commit[:7], "-o", binary, "./cmd/tidemark"},
	} {
		if text, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the oldest kept version: %s: %w: %s", command[0], err, text)
		}
	}
	return binary, nil
}
