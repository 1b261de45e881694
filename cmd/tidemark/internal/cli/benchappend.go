package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
)

func (a *app) benchAppendCommand() *cobra.Command {
	cfg := bench.AppendConfig{Plan: defaultPlan(2*time.Second, 10*time.Second)}
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "append",
		Short: "Measure appends: messages a second, latency, what the nodes use",
		Long: `Append messages with new ids to random timelines, in each of some ways one after the other:

  sdk     one Append of the SDK by each caller, which all share one pipelined stream
  unary   one call of the generated API by each caller, to the leader
  stream  one append by each caller on a stream of its own to the leader, by the generated
          API; the next one is sent when the reply is there
  batch   one AppendBatch by each caller

Closed and open loops are as "tidemark bench --help" says.`,
		Example: `  tidemark bench append --local 3 --callers 256
  tidemark bench append --local 3 --modes sdk --rate 5000 --callers 1024 --html append.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.AppendReport, error) {
				a.completePlan(&cfg.Plan, target)
				return bench.Append(ctx, cfg)
			}, func(report *bench.AppendReport) []bench.AppendMeasure { return report.Runs })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	planFlags(set, &cfg.Plan)
	set.StringSliceVar(&cfg.Modes, "modes", bench.AppendModes(), "`ways` to append")
	set.IntVar(&cfg.Timelines, "timelines", 1000, "timelines, of which one is chosen for each message")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	set.IntVar(&cfg.Batch, "batch", 64, "messages of a batch")
	return cmd
}
