package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
)

func (a *app) benchAckCommand() *cobra.Command {
	cfg := bench.AckConfig{Plan: defaultPlan(2*time.Second, 10*time.Second)}
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "ack",
		Short: "Measure acknowledgements: cursors a second, latency, what the nodes use",
		Long: `Append messages to timelines, and then acknowledge them: in each call a random reader moves
its cursors of random timelines by a message. Closed and open loops are as "tidemark bench
--help" says.`,
		Example: `  tidemark bench ack --local 3 --callers 256
  tidemark bench ack --local 3 --items 20 --rate 1000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.AckReport, error) {
				a.completePlan(&cfg.Plan, target)
				return bench.Ack(ctx, cfg)
			}, func(report *bench.AckReport) []bench.AckMeasure { return report.Runs })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	planFlags(set, &cfg.Plan)
	set.IntVar(&cfg.Timelines, "timelines", 1000, "timelines")
	set.IntVar(&cfg.Messages, "messages", 100, "messages of each timeline")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	set.IntVar(&cfg.Readers, "readers", 1000, "readers")
	set.IntVar(&cfg.Items, "items", 1, "cursors that a call moves, of a timeline each")
	return cmd
}
