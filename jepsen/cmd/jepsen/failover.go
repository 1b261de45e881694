//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidemark/jepsen/failover"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/run"
)

func failoverCommand() *cobra.Command {
	options := failoverDefaults()
	cmd := &cobra.Command{
		Use:   "failover",
		Short: "Measure how long nothing can be appended when the leader is lost",
		Long: `Takes the leader of a calm cluster away in each way, again and again, while clients
append through the SDK about every two milliseconds, and tells the longest times
without an acknowledged append. It is a run in all else: everything is read back
and judged. It fails as well if one of the times exceeds the bound.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := prepare(cmd.Context(), &options); err != nil {
				return err
			}
			options.CommandLine = "go run ./jepsen/cmd/jepsen failover" + changed(cmd.Flags())
			result, err := perform(cmd.Context(), options, newConsole(os.Stderr))
			if err != nil {
				return err
			}
			fmt.Printf("report: %s\n", filepath.Join(options.Out, "report.html"))
			fmt.Printf("figures: %s\n", filepath.Join(options.Out, "result.json"))
			printTable(failover.Head, failover.Rows(result.Failovers))
			return tell(result)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&options.Nodes, "nodes", options.Nodes, "how many nodes form the cluster")
	flags.StringSliceVar(&options.Mix, "cases", options.Mix, "ways to lose the leader, `NAME`,…")
	flags.IntVar(&options.Trials, "trials", options.Trials, "how often each is tried")
	flags.DurationVar(&options.FailoverBound, "bound", options.FailoverBound, "how long nothing may be acknowledged at worst")
	flags.Uint64Var(&options.Seed, "seed", 1, "of everything that is chosen at random")
	flags.StringVar(&options.Out, "out", filepath.Join("build", "jepsen", "failover"), "`folder` to write")
	flags.StringVar(&options.Binary, "binary", "", "the tidemark to run (default: built from this module)")
	flags.StringSliceVar(&options.Env, "env", nil, "`NAME=VALUE` for all nodes, such as a planted bug")
	flags.StringSliceVar(&options.Args, "node-arg", nil, "more `arguments` for all nodes")
	flags.BoolVar(&options.Loopback, "loopback", false, "nodes on loopback with relays, even where network namespaces can be had")
	return cmd
}

// failoverDefaults are twenty trials of each way to lose the leader. Nodes have the
// settings that a user gets, and clients do nothing but append.
func failoverDefaults() run.Options {
	o := run.Defaults()
	o.Mix, o.Workloads, o.Args = nemesis.FailoverNames(), []string{"probe"}, nil
	o.Trials, o.FailoverBound = 20, 20*time.Second
	o.Rate, o.Hot, o.Cold = 600, 4, 8
	return o
}

// printTable prints columns, the first one to the left and the others to the right.
func printTable(head []string, rows [][]string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := len(head[0])
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintf(w, "%-*s\t%s\t\n", width, row[0], strings.Join(row[1:], "\t"))
	}
	w.Flush()
}
