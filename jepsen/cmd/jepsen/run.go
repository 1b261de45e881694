//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidemark/jepsen/run"
)

func runCommand() *cobra.Command {
	options := run.Defaults()
	times := 1
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Do one run and judge it, or several of one kind",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.Out == "" {
				options.Out = filepath.Join("build", "jepsen", fmt.Sprintf("%s-seed-%d", strings.Join(options.Mix, "-"), options.Seed))
			}
			if cmd.Flags().Changed("repeat") {
				return repeat(cmd, options, times)
			}
			if err := prepare(cmd.Context(), &options); err != nil {
				return err
			}
			options.CommandLine = "go run ./jepsen/cmd/jepsen " + strings.Join(os.Args[1:], " ")
			result, err := perform(cmd.Context(), options, newConsole(os.Stderr))
			if err != nil {
				return err
			}
			fmt.Printf("report: %s\n", filepath.Join(options.Out, "report.html"))
			return tell(result)
		},
	}
	flagsOf(cmd.Flags(), &options)
	cmd.Flags().IntVar(&options.Nodes, "nodes", options.Nodes, "how many nodes form the cluster")
	cmd.Flags().IntVar(&times, "repeat", times, "do it that often, with one seed after the other, until a run does not pass")
	cmd.Flags().StringSliceVar(&options.Mix, "mix", options.Mix, "nemeses and mixes of them, `NAME`,…; see jepsen list")
	cmd.Flags().StringVar(&options.Out, "out", "", "`folder` to write (default build/jepsen/MIX-seed-SEED)")
	return cmd
}

// flagsOf are the flags that one run and a suite of runs share.
func flagsOf(flags *pflag.FlagSet, o *run.Options) {
	flags.StringSliceVar(&o.Workloads, "workload", o.Workloads, "what clients do, `NAME`,… (default all)")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "how long the nemeses work")
	flags.DurationVar(&o.Tail, "tail", o.Tail, "how long clients go on after everything was healed")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "let each nemesis have that many turns, and end then; --duration is the most that may take")
	flags.Uint64Var(&o.Seed, "seed", 1, "of everything that is chosen at random")
	flags.IntVar(&o.Rate, "rate", o.Rate, "about how many operations clients begin in a second")
	flags.IntVar(&o.Hot, "hot", o.Hot, "timelines to which most is appended")
	flags.IntVar(&o.Cold, "cold", o.Cold, "other timelines")
	flags.DurationVar(&o.Calm, "calm", o.Calm, "mean time between two faults")
	flags.DurationVar(&o.Hold, "hold", o.Hold, "mean time until a fault is healed")
	flags.DurationVar(&o.Patience, "patience", o.Patience, "bound on one operation of a client")
	flags.DurationVar(&o.Porcupine, "porcupine", o.Porcupine, "bound on the second opinion; 0 does without")
	flags.StringVar(&o.Binary, "binary", "", "the tidemark to run (default: built from this module)")
	flags.StringVar(&o.OldBinary, "old-binary", "", "the tidemark that rolling-upgrade starts from (default: built from the oldest kept commit)")
	flags.StringSliceVar(&o.Env, "env", nil, "`NAME=VALUE` for all nodes, such as a planted bug")
	flags.StringSliceVar(&o.Args, "node-arg", o.Args, "more `arguments` for all nodes")
	flags.BoolVar(&o.Loopback, "loopback", false, "nodes on loopback with relays, even where network namespaces can be had")
	flags.BoolVar(&o.NoDisk, "no-disk", false, "nodes on the ordinary file system, even where the mix can harm disks")
	flags.BoolVar(&o.KeepData, "keep-data", false, "keep the nodes' data also after a run that passed")
}

// prepare finds or builds the program that the nodes run, and makes the folder.
func prepare(ctx context.Context, options *run.Options) error {
	if err := os.MkdirAll(options.Out, 0o755); err != nil {
		return err
	}
	var err error
	if options.Binary, err = binary(ctx, *options); err != nil {
		return err
	}
	options.Version = version(ctx, options.Binary)
	return nil
}

// perform does a run that was prepared, and shows how far it is.
func perform(ctx context.Context, options run.Options, console *console) (*run.Result, error) {
	if err := os.MkdirAll(options.Out, 0o755); err != nil {
		return nil, err
	}
	if err := withOldest(ctx, &options); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(options.Out, "harness.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	options.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	options.Progress = console.show
	defer console.end()
	return run.Run(ctx, options)
}

// tell prints the last line.
func tell(result *run.Result) error {
	if result.Pass {
		fmt.Printf("jepsen: PASS %s\n", result.Reason)
		return nil
	}
	fmt.Printf("jepsen: FAIL %s\n", result.Reason)
	return errFail
}

// binary returns the program to run, and builds it unless there is one.
func binary(ctx context.Context, options run.Options) (string, error) {
	if options.Binary != "" {
		return filepath.Abs(options.Binary)
	}
	path, err := filepath.Abs(filepath.Join(options.Out, "tidemark"))
	if err != nil {
		return "", err
	}
	commit, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-X main.version="+strings.TrimSpace(string(commit)), "-o", path, "tidemark/cmd/tidemark")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build tidemark, for want of --binary: %w", err)
	}
	return path, nil
}

// version is what the program says about itself.
func version(ctx context.Context, binary string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	// The first line is the name and the version.
	if fields := strings.Fields(string(out)); err == nil && len(fields) > 1 {
		return fields[1]
	}
	return "unknown"
}
