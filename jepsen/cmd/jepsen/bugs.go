//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/internal/planted"
	"tidemark/jepsen/hunt"
	"tidemark/jepsen/run"
)

func bugsCommand() *cobra.Command {
	options := run.Defaults()
	options.Out, options.Tail, options.Porcupine = filepath.Join("build", "jepsen", "bugs"), 3*time.Second, 0
	var bugs []string
	attempts := 8
	cmd := &cobra.Command{
		Use:   "bugs",
		Short: "Plant bugs in the server, and see that each is found by the right checker",
		Long: `Builds a server that can have bugs on purpose, and looks for each of them with the
seeds 1, 2, … until a checker finds it that is there for such a bug. The same server
without a bug must pass.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			searches, err := searchesFor(bugs)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(options.Out, 0o755); err != nil {
				return err
			}
			if options.Binary == "" {
				options.Binary, err = plantedBinary(cmd.Context(), options.Out)
			} else {
				options.Binary, err = filepath.Abs(options.Binary)
			}
			if err != nil {
				return err
			}
			return search(cmd.Context(), searches, options, attempts)
		},
	}
	cmd.Flags().StringSliceVar(&bugs, "bug", nil, "bugs to look for, `NAME`,… (default all, and the control)")
	cmd.Flags().IntVar(&attempts, "attempts", attempts, "how many seeds to try for each")
	cmd.Flags().StringVar(&options.Out, "out", options.Out, "`folder` that gets a folder for each run")
	cmd.Flags().StringVar(&options.Binary, "binary", "", "the tidemark to run (default: built from this module with the tag "+planted.Tag+")")
	return cmd
}

// searchesFor are the searches for the bugs, or all if none is named.
func searchesFor(bugs []string) ([]hunt.Search, error) {
	for _, bug := range bugs {
		if !slices.Contains(planted.All(), planted.Bug(bug)) {
			return nil, fmt.Errorf("there is no bug %q; there are %v", bug, planted.All())
		}
	}
	return slices.DeleteFunc(hunt.Searches(), func(s hunt.Search) bool {
		return len(bugs) > 0 && !slices.Contains(bugs, string(s.Bug))
	}), nil
}

func plantedBinary(ctx context.Context, folder string) (string, error) {
	path, err := filepath.Abs(filepath.Join(folder, "tidemark"))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-tags", planted.Tag, "-o", path, "tidemark/cmd/tidemark")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build tidemark with planted bugs: %w", err)
	}
	return path, nil
}

// search makes all searches and tells what came of them.
func search(ctx context.Context, searches []hunt.Search, options run.Options, attempts int) error {
	log, err := os.Create(filepath.Join(options.Out, "harness.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	options.Logger = slog.New(slog.NewTextHandler(log, nil))
	options.CommandLine = "go run ./jepsen/cmd/jepsen " + strings.Join(os.Args[1:], " ")
	var all []hunt.Found
	missed := 0
	for _, s := range searches {
		// A mix that begins with the oldest kept version has that without a bug.
		of := options
		of.Mix = s.Mix
		if err := withOldest(ctx, &of); err != nil {
			return err
		}
		found, err := s.Run(ctx, of, attempts)
		if err != nil {
			return err
		}
		if !found.OK {
			missed++
		}
		fmt.Printf("%s: ok=%v %s, %d runs, %v: %s\n", found.Search, found.OK, found.Checker, found.Runs, found.Took.Round(time.Second), clip(found.Summary))
		all = append(all, found)
		if err := writeFound(filepath.Join(options.Out, "bugs.json"), all); err != nil {
			return err
		}
	}
	fmt.Print(tableOf(all))
	if missed > 0 {
		fmt.Printf("jepsen: FAIL %d of %d searches did not end as they must\n", missed, len(all))
		return errFail
	}
	fmt.Printf("jepsen: PASS all %d planted bugs were found\n", countBugs(all))
	return nil
}

func writeFound(path string, all []hunt.Found) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// tableOf shows what was found, as Markdown.
func tableOf(all []hunt.Found) string {
	var b strings.Builder
	b.WriteString("| bug | nemeses | found by | seed | runs | load until it showed | wall time |\n|---|---|---|---|---|---|---|\n")
	for _, f := range all {
		bug, checker, loaded := cmp.Or(string(f.Bug), "none (control)"), cmp.Or(f.Checker, "–"), "–"
		if f.Loaded > 0 {
			loaded = f.Loaded.Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %s | %v |\n", bug, strings.Join(f.Mix, ","), checker, f.Seed, f.Runs, loaded, f.Took.Round(time.Second))
	}
	return b.String()
}

// countBugs counts bugs that were found at least once.
func countBugs(all []hunt.Found) int {
	seen := map[planted.Bug]bool{}
	for _, f := range all {
		if f.OK && f.Bug != "" {
			seen[f.Bug] = true
		}
	}
	return len(seen)
}

// clip keeps a line short enough for a terminal.
func clip(text string) string {
	if runes := []rune(text); len(runes) > 160 {
		return string(runes[:159]) + "…"
	}
	return text
}
