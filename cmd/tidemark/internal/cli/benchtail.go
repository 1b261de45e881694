package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
)

func (a *app) benchTailCommand() *cobra.Command {
	var cfg bench.TailConfig
	var flags benchFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Measure tails: memory of a subscription, latency of delivery, speed of catching up",
		Long: `Open many subscriptions on one stream, once on the leader and once on a follower, and
measure

  - how many messages a second come while a tail catches up with a backlog;
  - what the idle subscriptions add to what is live in the node's memory after a
    garbage collection;
  - how long after its reply an append is delivered, and how long after it was to begin,
    while appends go to random ones of the timelines at a given rate, whatever the
    cluster does (an open loop).`,
		Example: `  tidemark bench tail --endpoints 127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420 --subscriptions 100000
  tidemark bench tail --local 3 --rate 1000 --duration 30s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.TailReport, error) {
				cfg.Target, cfg.Progress = target, a.benchProgress
				return bench.Tail(ctx, cfg)
			}, func(report *bench.TailReport) []bench.TailOnNode { return report.Nodes })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	set.IntVar(&cfg.Subscriptions, "subscriptions", 10_000, "subscriptions on the stream, at most 100000")
	set.Float64Var(&cfg.Rate, "rate", 1000, "appends begun in a second")
	set.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long appends are begun")
	set.IntVar(&cfg.Backlog, "backlog", 100_000, "messages to catch up with")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	return cmd
}
