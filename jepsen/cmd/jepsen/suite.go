//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tidemark/jepsen/run"
)

func suiteCommand() *cobra.Command {
	options := run.Defaults()
	mixes := []string{"kill", "pause", "partition", "links", "power", "disk", "corrupt", "members", "clock", "rolling", "snapshot", "part-kill", "pause-kill", "kill+partition", "all"}
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Do one run of each mix, and go on where an earlier suite stopped",
		Long: `Do one run of each mix. A mix whose folder holds a run that passed is left out, so
that a suite that was interrupted, or that failed, goes on where it has to.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base := options.Out
			var failed []string
			for _, mix := range mixes {
				one := options
				one.Mix = strings.Split(mix, "+")
				one.Out = filepath.Join(base, fmt.Sprintf("%s-%d-nodes-seed-%d", mix, one.Nodes, one.Seed))
				one.CommandLine = fmt.Sprintf("go run ./jepsen/cmd/jepsen run --nodes %d --mix %s --duration %v --seed %d --rate %d --out %s",
					one.Nodes, strings.Join(one.Mix, ","), one.Duration, one.Seed, one.Rate, one.Out)
				fmt.Printf("== %s\n", mix)
				if passed(one.Out) {
					fmt.Println("passed already")
					continue
				}
				switch err := perform(cmd.Context(), one); {
				case errors.Is(err, errNoOldest):
					// The others can be done all the same.
					fmt.Println("no verdict:", err)
					failed = append(failed, mix)
				case errors.Is(err, errFail):
					failed = append(failed, mix)
				case err != nil:
					return err
				}
			}
			if len(failed) > 0 {
				fmt.Printf("jepsen: FAIL %s\n", strings.Join(failed, ", "))
				return errFail
			}
			fmt.Printf("jepsen: PASS all %d mixes\n", len(mixes))
			return nil
		},
	}
	flagsOf(cmd.Flags(), &options)
	cmd.Flags().StringVar(&options.Out, "out", filepath.Join("build", "jepsen"), "`folder` that gets a folder for each run")
	cmd.Flags().StringSliceVar(&mixes, "mixes", mixes, "what to run, `NAME`,…; + joins nemeses and mixes")
	return cmd
}

// passed reports whether the folder holds a run that passed.
func passed(folder string) bool {
	text, err := os.ReadFile(filepath.Join(folder, "result.json"))
	if err != nil {
		return false
	}
	var result run.Result
	return json.Unmarshal(text, &result) == nil && result.Pass
}
