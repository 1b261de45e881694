package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
)

func (a *app) benchFanOutCommand() *cobra.Command {
	cfg := bench.FanOutConfig{Plan: defaultPlan(time.Second, 10*time.Second)}
	cfg.Callers = 16
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "Measure fan-outs: entries of inboxes a second, and bytes of the Raft log",
		Long: `Append messages with a fan-out to recipient sets of several sizes, and measure how many
entries of inboxes a second that makes, and what the Raft log grows by for each message.
Beside it, the same entries are made by single appends to the inboxes, as fast as that goes.
Closed and open loops are as "tidemark bench --help" says.`,
		Example: "  tidemark bench fanout --local 3 --sets 10,100,500,5000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.FanOutReport, error) {
				a.completePlan(&cfg.Plan, target)
				return bench.FanOut(ctx, cfg)
			}, func(report *bench.FanOutReport) []bench.FanOutOfSet { return report.Sets })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	planFlags(set, &cfg.Plan)
	set.IntSliceVar(&cfg.Sets, "sets", []int{10, 100, 500, 5000}, "`sizes` of the recipient sets, each at most 10000")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	return cmd
}
