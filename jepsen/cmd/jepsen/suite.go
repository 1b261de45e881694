//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidemark/jepsen/run"
)

func suiteCommand() *cobra.Command {
	options := run.Defaults()
	mixes := []string{"kill", "pause", "partition", "links", "power", "disk", "corrupt", "members", "clock", "rolling", "snapshot", "part-kill", "pause-kill", "kill+partition", "all"}
	sizes, parallel := []int{3}, 1
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Do one run of each mix, and go on where an earlier suite stopped",
		Long: `Do one run of each mix in clusters of each size. A run that passed before, by the same
command and with the same version, is left out, so that a suite that was
interrupted, or that failed, goes on where it has to. The folder gets index.html
and suite.json, and a folder for each run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if parallel < 1 {
				return fmt.Errorf("--parallel must be at least 1; it is %d", parallel)
			}
			if err := prepare(cmd.Context(), &options); err != nil {
				return err
			}
			s := series{title: "All mixes", out: options.Out, parallel: parallel, perform: perform}
			flags := changed(cmd.Flags(), "nodes", "mixes", "out", "parallel")
			for _, nodes := range sizes {
				for _, mix := range mixes {
					one := options
					one.Nodes, one.Mix = nodes, strings.Split(mix, "+")
					one.Out = filepath.Join(options.Out, fmt.Sprintf("%s-%d-nodes-seed-%d", mix, nodes, one.Seed))
					one.CommandLine = fmt.Sprintf("go run ./jepsen/cmd/jepsen run --nodes %d --mix %s%s --out %s", nodes, strings.Join(one.Mix, ","), flags, one.Out)
					s.jobs = append(s.jobs, job{name: fmt.Sprintf("%s/%d", mix, nodes), options: one})
				}
			}
			sum, err := s.run(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Printf("index: %s\n", filepath.Join(options.Out, "index.html"))
			return sum.verdict(fmt.Sprintf("all %d mixes", sum.Wanted))
		},
	}
	flagsOf(cmd.Flags(), &options)
	cmd.Flags().IntSliceVar(&sizes, "nodes", sizes, "how many nodes form a cluster, `N`,…: one run of each mix for each")
	cmd.Flags().IntVar(&parallel, "parallel", parallel, "how many runs are under way at a time")
	cmd.Flags().StringVar(&options.Out, "out", filepath.Join("build", "jepsen", "suite"), "`folder` that gets a folder for each run")
	cmd.Flags().StringSliceVar(&mixes, "mixes", mixes, "what to run, `NAME`,…; + joins nemeses and mixes")
	return cmd
}

// repeat does the run again and again, each time with the next seed and in a cluster
// of its own, until one does not pass.
func repeat(cmd *cobra.Command, options run.Options, times int) error {
	if times < 1 {
		return fmt.Errorf("--repeat must be at least 1; it is %d", times)
	}
	if err := prepare(cmd.Context(), &options); err != nil {
		return err
	}
	mix := strings.Join(options.Mix, ",")
	s := series{title: fmt.Sprintf("%s, %d times", mix, times), out: options.Out, parallel: 1, untilFailure: true, perform: perform}
	flags := changed(cmd.Flags(), "repeat", "seed", "out", "mix")
	for i := range times {
		one := options
		one.Seed += uint64(i)
		one.Out = filepath.Join(options.Out, fmt.Sprintf("seed-%d", one.Seed))
		one.CommandLine = fmt.Sprintf("go run ./jepsen/cmd/jepsen run --mix %s --seed %d%s --out %s", mix, one.Seed, flags, one.Out)
		// What passed before is done again: that is the point.
		if err := os.Remove(filepath.Join(one.Out, "result.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.jobs = append(s.jobs, job{name: fmt.Sprintf("%s/seed-%d", mix, one.Seed), options: one})
	}
	sum, err := s.run(cmd.Context())
	if err != nil {
		return err
	}
	fmt.Printf("index: %s\n", filepath.Join(options.Out, "index.html"))
	return sum.verdict(fmt.Sprintf("%s: %d of %d passed", mix, sum.Passed, sum.Wanted))
}

// changed are the flags that were given, but those with the names, as a command line
// that begins with a space.
func changed(flags *pflag.FlagSet, but ...string) string {
	var b strings.Builder
	flags.Visit(func(f *pflag.Flag) {
		for _, name := range but {
			if f.Name == name {
				return
			}
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		fmt.Fprintf(&b, " --%s=%s", f.Name, value)
	})
	return b.String()
}
