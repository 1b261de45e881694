package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
)

func (a *app) benchSyncCommand() *cobra.Command {
	cfg := bench.SyncConfig{Plan: defaultPlan(time.Second, 5*time.Second)}
	cfg.Callers = 16
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Measure syncs: devices that come back and ask what is new",
		Long: `Append messages to timelines, and then sync as devices do that were away: each call has
other positions in many of the timelines, in some of which there is something new. Each level
is measured on the leader and on a follower. An answer without all that is new is a failure.
Closed and open loops are as "tidemark bench --help" says.`,
		Example: `  tidemark bench sync --local 3
  tidemark bench sync --local 3 --timelines 10000 --messages 20 --positions 10000 --changed 50 --levels session`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.SyncReport, error) {
				a.completePlan(&cfg.Plan, target)
				return bench.Sync(ctx, cfg)
			}, func(report *bench.SyncReport) []bench.SyncMeasure { return report.Runs })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	planFlags(set, &cfg.Plan)
	set.StringSliceVar(&cfg.Levels, "levels", bench.Levels(), "`levels` of consistency")
	set.IntVar(&cfg.Timelines, "timelines", 5000, "timelines")
	set.IntVar(&cfg.Messages, "messages", 20, "messages of each timeline")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	set.IntVar(&cfg.Positions, "positions", 500, "timelines that a device has")
	set.IntVar(&cfg.Changed, "changed", 20, "timelines of these in which there is something new")
	set.IntVar(&cfg.News, "news", 5, "new messages in each of those")
	return cmd
}
