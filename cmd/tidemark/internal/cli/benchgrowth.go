package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/bench"
	"tidemark/cmd/tidemark/internal/bench/growth"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) benchGrowthCommand() *cobra.Command {
	cfg := bench.GrowthConfig{Plan: defaultPlan(500*time.Millisecond, 3*time.Second)}
	cfg.Repeats = 1
	var flags benchFlags
	var markdown string
	fixed := byteSize(64 << 20)
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Measure what growth costs: of messages, timelines, payloads and tails",
		Long: `Start nodes on loopback, have one thing grow in steps, and measure at each step what appends
and reads cost, memory, bytes on the disks and written to them, and how long it takes to
start a node, also after SIGKILL, to take a snapshot, and to have a node catch up that was
away or is new. Nodes are stopped, killed and added, so each dimension has clusters of its
own, which are removed at the end:

  messages   one cluster that is filled further and further; the most messages are in the
             most timelines, and fewer in as many fewer
  timelines  the same number of messages in more and more timelines, a cluster for each step
  payloads   the same number of bytes in larger and larger messages, a cluster for each step
  tails      one cluster with more and more idle subscriptions on a follower

--markdown writes tables and plots into a file, each dimension between the lines that mark
its place there, or at the end. What was measured is kept beside it, so dimensions can be
measured one after the other; with none, the file is only written again.`,
		Example: `  tidemark bench growth --local 3
  tidemark bench growth --local 3 --dimensions payloads,tails --markdown docs/growth.md
  tidemark bench growth --local 3 --dimensions messages --messages 10000,100000 --timelines 1000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("endpoints") {
				return exit.Usagef("bench growth stops and kills nodes: it takes --local, not --endpoints")
			}
			if _, err := os.Stat(filepath.Dir(markdown)); err != nil {
				return exit.Usagef("--markdown: %v", err)
			}
			publish := func(dimensions ...bench.GrowthDimension) error { return nil }
			if started := time.Now(); markdown != "" {
				publish = func(dimensions ...bench.GrowthDimension) error {
					return growth.Publish(markdown, dimensions, growth.Origin{Version: a.version, Command: commandLine(cmd), Started: started})
				}
			}
			// The target is not used: the clusters are made for what is measured.
			return runBench(a, cmd, &flags, func(ctx context.Context, _ bench.Target) (_ *bench.GrowthReport, err error) {
				if len(cfg.Dimensions) == 0 {
					return &bench.GrowthReport{}, publish()
				}
				cfg.Timeout, cfg.Progress, cfg.FixedBytes = a.global.timeout, a.benchProgress, int(fixed)
				cfg.Measured = func(d bench.GrowthDimension) error { return publish(d) }
				if cfg.Binary, err = os.Executable(); err != nil {
					return nil, err
				}
				return bench.Growth(ctx, cfg)
			}, func(report *bench.GrowthReport) []bench.GrowthDimension { return report.Dimensions })
		},
	}
	set := cmd.Flags()
	set.IntVar(&cfg.Nodes, "local", 3, "`nodes` of a cluster, 3 to 5")
	set.StringSliceVar(&cfg.ServeFlags, "serve-flags", nil, "more `flags` of \"tidemark serve\" for each node")
	set.StringVar(&cfg.Dir, "dir", "", "`directory` in which the nodes' data is, while they run")
	set.StringSliceVar(&cfg.Dimensions, "dimensions", bench.GrowthDimensions(), "what is to `grow`: "+strings.Join(bench.GrowthDimensions(), ", "))
	set.IntSliceVar(&cfg.Messages, "messages", []int{10_000, 1_000_000, 10_000_000}, "messages at each `step`, at least")
	set.IntSliceVar(&cfg.Timelines, "timelines", []int{1, 1000, 1_000_000}, "timelines at each `step`")
	set.IntSliceVar(&cfg.Payloads, "payloads", []int{16, 256, 4096, 65536}, "bytes of a message at each `step`")
	set.IntSliceVar(&cfg.Tails, "tails", []int{0, 100_000}, "subscriptions at each `step`")
	set.IntVar(&cfg.Payload, "payload", 16, "bytes of each message, where payloads do not grow")
	set.IntVar(&cfg.FixedMessages, "fixed-messages", 1_000_000, "messages while timelines grow")
	set.Var(&fixed, "fixed-bytes", "payload of all messages together while payloads grow; 1,000 to 100,000 messages")
	set.IntVar(&cfg.Page, "page", 10, "messages of a page, at most")
	set.IntVar(&cfg.Burst, "burst", 100_000, "messages that a node misses before it catches up; fewer if they have more than 16 MiB")
	set.IntVar(&cfg.Callers, "callers", cfg.Callers, "calls that are under way at a time")
	set.DurationVar(&cfg.Warmup, "warmup", cfg.Warmup, "how long before what is measured")
	set.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long each kind of call is measured")
	set.StringVar(&flags.html, "html", "", "write a report with charts to this `file`, too")
	set.StringVar(&markdown, "markdown", "", "write tables and plots to this `file`, too")
	return cmd
}
