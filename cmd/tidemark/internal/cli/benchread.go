package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
)

func (a *app) benchReadCommand() *cobra.Command {
	cfg := bench.ReadConfig{Plan: defaultPlan(time.Second, 5*time.Second)}
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "read",
		Short: "Measure reads of pages: at each level, on the leader and on a follower",
		Long: `Append messages to timelines, and then read pages of random ones, in every combination of
what is read (forward from a random SeqId, the newest, from a random time) and of levels, on
the leader and on a follower. Closed and open loops are as "tidemark bench --help" says.`,
		Example: `  tidemark bench read --local 3 --callers 64
  tidemark bench read --local 3 --modes newest --levels local,linearizable --rate 2000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.ReadReport, error) {
				a.completePlan(&cfg.Plan, target)
				return bench.Read(ctx, cfg)
			}, func(report *bench.ReadReport) []bench.ReadMeasure { return report.Runs })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	planFlags(set, &cfg.Plan)
	set.StringSliceVar(&cfg.Modes, "modes", bench.ReadModes(), "`what` is read")
	set.StringSliceVar(&cfg.Levels, "levels", bench.Levels(), "`levels` of consistency")
	set.IntVar(&cfg.Timelines, "timelines", 1000, "timelines, of which one is chosen for each read")
	set.IntVar(&cfg.Messages, "messages", 200, "messages of each timeline")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	set.IntVar(&cfg.Page, "page", 100, "messages of a page")
	return cmd
}
