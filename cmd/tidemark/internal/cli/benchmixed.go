package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
	"tidemark/cmd/tidemark/internal/bench/imday"
)

func (a *app) benchMixedCommand() *cobra.Command {
	cfg := bench.MixedConfig{Plan: defaultPlan(2*time.Second, 10*time.Second)}
	var flags benchFlags
	var mix map[string]int
	cmd := &cobra.Command{
		Use:   "mixed",
		Short: "Measure a day of an instant messenger: all kinds of calls at once",
		Long: `Make up who talks to whom, as among 1,000,000 users but scaled down: for each user five
direct conversations and a fifth of a group. Sizes of groups have a long tail of up to 5,000
members, and some conversations are much hotter than others. Then, mixed,

  direct  append to a direct conversation
  group   append to a group, with a fan-out to the inboxes of its members
  read    read a page of a conversation: nine of ten begin among the last 50 messages, and
          the others anywhere
  ack     acknowledge the last message of a conversation as a member
  sync    ask what is new in all direct conversations and the inbox of a user

and say of each kind how fast it was. The same seed makes the same day. Closed and open
loops are as "tidemark bench --help" says.`,
		Example: `  tidemark bench mixed --local 3
  tidemark bench mixed --local 3 --users 100000 --rate 3000 --callers 512 --duration 60s --html mixed.html
  tidemark bench mixed --local 3 --mix direct=10,group=0,read=80,ack=10,sync=0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBench(a, cmd, &flags, func(ctx context.Context, target bench.Target) (*bench.MixedReport, error) {
				cfg.Mix = mix
				a.completePlan(&cfg.Plan, target)
				return bench.Mixed(ctx, cfg)
			}, func(report *bench.MixedReport) []bench.MixedMeasure { return report.Runs })
		},
	}
	set := cmd.Flags()
	flags.register(set)
	planFlags(set, &cfg.Plan)
	set.IntVar(&cfg.Users, "users", 10_000, "users, at most 1000000")
	set.Uint64Var(&cfg.Seed, "seed", 1, "number that makes up the day")
	set.StringToIntVar(&mix, "mix", imday.DefaultMix(), "operations of a hundred of each `kind`")
	set.IntVar(&cfg.History, "history", 4, "messages that a conversation has before, in the mean")
	set.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	return cmd
}
