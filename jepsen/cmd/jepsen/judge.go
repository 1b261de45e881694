//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/jepsen/history"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/report"
	"tidemark/jepsen/run"
	"tidemark/jepsen/workload"
)

func judgeCommand() *cobra.Command {
	var porcupine time.Duration
	cmd := &cobra.Command{
		Use:   "judge FOLDER",
		Short: "Judge the history of a run again, and write its report anew",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			h, err := history.Read(filepath.Join(args[0], "history.jsonl.gz"))
			if err != nil && (h == nil || !errors.Is(err, history.ErrTruncated)) {
				return err
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "jepsen:", err)
			}
			result := run.Judge(h, nil, args[0], porcupine)
			result.Setting = "judged again, from the history alone"
			if err := report.WriteFile(filepath.Join(args[0], "report.html"), result.Page(h)); err != nil {
				return err
			}
			return tell(result)
		},
	}
	cmd.Flags().DurationVar(&porcupine, "porcupine", time.Minute, "bound on the second opinion; 0 does without")
	return cmd
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List nemeses, mixes and workloads",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Println("nemeses")
			for _, n := range nemesis.All() {
				fmt.Printf("  %-16s %s\n", n.Name(), nemesis.Describe(n))
			}
			fmt.Println("mixes\n  all              all nemeses that this host can do, but for part-kill, pause-kill, usurp and rolling-upgrade")
			for _, name := range nemesis.MixNames() {
				fmt.Printf("  %-16s %s\n", name, strings.Join(nemesis.Mixes[name], " "))
			}
			fmt.Println("workloads")
			for _, w := range workload.All() {
				fmt.Printf("  %s\n", w.Name())
			}
		},
	}
}
