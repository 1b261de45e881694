package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidemark/cmd/tidemark/internal/bench"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster",
		Long: `Measure a cluster that runs, through the SDK. Timelines with a prefix of their own are
written and stay there. No figure is printed when something failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchAppendCommand(), a.benchReadCommand(), a.benchTailCommand(), a.benchFanOutCommand())
	return cmd
}

// httpOffset is how far above its client port a node of "tidemark dev" serves HTTP.
const httpOffset = 2

func (a *app) benchTailCommand() *cobra.Command {
	var cfg bench.TailConfig
	var benched benchedCluster
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
			cfg.Progress = func(text string) { fmt.Fprintln(a.Err, text) }
			return a.bench(cmd, &benched, func(ctx context.Context, target bench.Target) error {
				cfg.Target = target
				report, err := bench.Tail(ctx, cfg)
				if err != nil {
					return err
				}
				return printList(a, report, report.Nodes, func(t *table) { benchTailRows(t, report) })
			})
		},
	}
	flags := cmd.Flags()
	benched.register(flags)
	flags.IntVar(&cfg.Subscriptions, "subscriptions", 10_000, "subscriptions on the stream, at most 100000")
	flags.Float64Var(&cfg.Rate, "rate", 1000, "appends begun in a second")
	flags.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long appends are begun")
	flags.IntVar(&cfg.Backlog, "backlog", 100_000, "messages to catch up with")
	flags.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	return cmd
}

func (a *app) benchFanOutCommand() *cobra.Command {
	var cfg bench.FanOutConfig
	var benched benchedCluster
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "Measure fan-outs: entries of inboxes a second, and bytes of the Raft log",
		Long: `Append messages with a fan-out to recipient sets of several sizes, by callers that each wait
for the reply before the next one, and measure how many entries of inboxes a second that
makes, and what the Raft log grows by for each message. Beside it, the same entries are
made by single appends to the inboxes.`,
		Example: "  tidemark bench fanout --local 3 --sets 10,100,500,5000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Progress = func(text string) { fmt.Fprintln(a.Err, text) }
			return a.bench(cmd, &benched, func(ctx context.Context, target bench.Target) error {
				cfg.Target = target
				report, err := bench.FanOut(ctx, cfg)
				if err != nil {
					return err
				}
				return printList(a, report, report.Sets, func(t *table) { benchFanOutRows(t, report) })
			})
		},
	}
	flags := cmd.Flags()
	benched.register(flags)
	flags.IntSliceVar(&cfg.Sets, "sets", []int{10, 100, 500, 5000}, "`sizes` of the recipient sets, each at most 10000")
	flags.IntVar(&cfg.Callers, "callers", 16, "appends that are under way at a time")
	flags.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long each set is measured")
	flags.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	return cmd
}

func benchFanOutRows(t *table, report *bench.FanOutReport) {
	t.row("INBOXES", "MESSAGES/S", "ENTRIES/S", "APPEND P50", "P99", "LOG BYTES/MESSAGE", "SINGLE APPENDS/S", "RATIO")
	for i := range report.Sets {
		s := &report.Sets[i]
		t.row(s.Inboxes, int(s.Messages), int(s.Entries), s.Append.P50.String(), s.Append.P99.String(), int(s.LogBytes), int(s.Singles), fmt.Sprintf("%.1f", s.Ratio))
	}
}

func (a *app) benchAppendCommand() *cobra.Command {
	var cfg bench.AppendConfig
	var benched benchedCluster
	cmd := &cobra.Command{
		Use:   "append",
		Short: "Measure appends: messages a second, latency, processor time and memory of the nodes",
		Long: `Append messages with new ids to random timelines, in each of some ways one after the other:

  sdk    one Append of the SDK by each caller, which all share one pipelined stream
  unary  one call of the generated API by each caller, to the leader
  batch  one AppendBatch by each caller

Without --rate each caller waits for the reply before its next call (a closed loop). With
--rate calls are begun at that rate whatever the cluster does (an open loop), and latencies
count from when a call was to begin. No rate is printed when a call failed.`,
		Example: `  tidemark bench append --local 3 --callers 256
  tidemark bench append --local 3 --modes sdk --rate 5000 --callers 1024`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Progress = func(text string) { fmt.Fprintln(a.Err, text) }
			return a.bench(cmd, &benched, func(ctx context.Context, target bench.Target) error {
				cfg.Target = target
				report, err := bench.Append(ctx, cfg)
				if err != nil {
					return err
				}
				return printList(a, report, report.Runs, func(t *table) { benchAppendRows(t, report) })
			})
		},
	}
	flags := cmd.Flags()
	benched.register(flags)
	flags.StringSliceVar(&cfg.Modes, "modes", bench.AppendModes(), "`ways` to append")
	flags.IntVar(&cfg.Callers, "callers", 64, "calls that are under way at a time, at most")
	flags.Float64Var(&cfg.Rate, "rate", 0, "calls begun in a second; 0 for a closed loop")
	flags.DurationVar(&cfg.Warmup, "warmup", 2*time.Second, "how long before what is measured")
	flags.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long each run is measured")
	flags.IntVar(&cfg.Repeats, "repeats", 1, "how often all ways are measured")
	flags.IntVar(&cfg.Timelines, "timelines", 1000, "timelines, of which one is chosen for each message")
	flags.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	flags.IntVar(&cfg.Batch, "batch", 64, "messages of a batch")
	return cmd
}

func benchAppendRows(t *table, report *bench.AppendReport) {
	t.row("MODE", "MESSAGES/S", "P50", "P90", "P99", "P99.9", "MAX", "PROCESSOR/MESSAGE", "LARGEST NODE")
	for i := range report.Runs {
		r := &report.Runs[i]
		l := &r.Latency
		t.row(r.Mode, int(r.Messages), l.P50.String(), l.P90.String(), l.P99.String(), l.P999.String(), l.Max.String(),
			r.Servers.Processor.String(), fmt.Sprintf("%d MiB", r.Servers.Memory>>20))
	}
}

func (a *app) benchReadCommand() *cobra.Command {
	var cfg bench.ReadConfig
	var benched benchedCluster
	cmd := &cobra.Command{
		Use:   "read",
		Short: "Measure reads of pages: at each level, on the leader and on a follower",
		Long: `Append messages to timelines, and then read pages of random ones, in every combination of
what is read (forward from a random SeqId, the newest, from a random time) and of levels, on
the leader and on a follower. Closed and open loops are as of "bench append".`,
		Example: `  tidemark bench read --local 3 --callers 64
  tidemark bench read --local 3 --modes newest --levels local,linearizable --rate 2000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Progress = func(text string) { fmt.Fprintln(a.Err, text) }
			return a.bench(cmd, &benched, func(ctx context.Context, target bench.Target) error {
				cfg.Target = target
				report, err := bench.Read(ctx, cfg)
				if err != nil {
					return err
				}
				return printList(a, report, report.Runs, func(t *table) { benchReadRows(t, report) })
			})
		},
	}
	flags := cmd.Flags()
	benched.register(flags)
	flags.StringSliceVar(&cfg.Modes, "modes", bench.ReadModes(), "`what` is read")
	flags.StringSliceVar(&cfg.Levels, "levels", bench.ReadLevels(), "`levels` of consistency")
	flags.IntVar(&cfg.Callers, "callers", 64, "calls that are under way at a time, at most")
	flags.Float64Var(&cfg.Rate, "rate", 0, "calls begun in a second; 0 for a closed loop")
	flags.DurationVar(&cfg.Warmup, "warmup", time.Second, "how long before what is measured")
	flags.DurationVar(&cfg.Duration, "duration", 5*time.Second, "how long each run is measured")
	flags.IntVar(&cfg.Timelines, "timelines", 1000, "timelines, of which one is chosen for each read")
	flags.IntVar(&cfg.Messages, "messages", 200, "messages of each timeline")
	flags.IntVar(&cfg.Payload, "payload", 256, "bytes of each message")
	flags.IntVar(&cfg.Page, "page", 100, "messages of a page")
	return cmd
}

func benchReadRows(t *table, report *bench.ReadReport) {
	t.row("MODE", "LEVEL", "NODE", "PAGES/S", "MESSAGES/S", "P50", "P90", "P99", "P99.9", "MAX")
	for i := range report.Runs {
		r := &report.Runs[i]
		l := &r.Latency
		t.row(r.Mode, r.Level, r.Role, int(r.PerSecond), int(r.Messages), l.P50.String(), l.P90.String(), l.P99.String(), l.P999.String(), l.Max.String())
	}
}

// benchedCluster says by flags what is measured.
type benchedCluster struct {
	local  int
	http   []string
	prefix string
}

func (b *benchedCluster) register(flags *pflag.FlagSet) {
	flags.IntVar(&b.local, "local", 0, "start this many `nodes` on loopback, and stop them at the end, in place of --endpoints")
	flags.StringSliceVar(&b.http, "http", nil, "where the nodes serve their metrics, in the order of --endpoints; the client port + 2 if left out")
	flags.StringVar(&b.prefix, "prefix", "", "`prefix` of the timelines; a new one if left out")
}

// bench measures the cluster at --endpoints, or a local one that lives as long.
func (a *app) bench(cmd *cobra.Command, of *benchedCluster, measure func(context.Context, bench.Target) error) error {
	ctx := cmd.Context()
	target := bench.Target{Endpoints: a.global.endpoints, HTTP: of.http, Prefix: of.prefix}
	if target.Prefix == "" {
		target.Prefix = "bench/" + uuid.NewString()
	}
	if of.local > 0 {
		if len(of.http) > 0 || cmd.Flags().Changed("endpoints") {
			return exit.Usagef("--local goes without --endpoints and --http")
		}
		binary, err := os.Executable()
		if err != nil {
			return err
		}
		return bench.Local(ctx, binary, of.local, func(endpoints, http []string) error {
			target.Endpoints, target.HTTP = endpoints, http
			return measure(ctx, target)
		})
	}
	if len(target.HTTP) == 0 {
		for _, endpoint := range target.Endpoints {
			address, err := offsetPort(endpoint, httpOffset)
			if err != nil {
				return err
			}
			target.HTTP = append(target.HTTP, address)
		}
	}
	return measure(ctx, target)
}

// offsetPort adds to the port of HOST:PORT.
func offsetPort(address string, offset int) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", exit.Usagef("--endpoints: %v", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return "", exit.Usagef("--http must be given, because %q has no port number", address)
	}
	return net.JoinHostPort(host, strconv.Itoa(n+offset)), nil
}

func benchTailRows(t *table, report *bench.TailReport) {
	t.row("NODE", "ROLE", "CATCH-UP/S", "BYTES EACH", "SUBSCRIBED IN", "DELIVERED/S", "REPLY→DELIVERY P50", "P99", "MAX", "BEGIN→DELIVERY P50", "P99")
	for i := range report.Nodes {
		n := &report.Nodes[i]
		role := "follower"
		if n.Leads {
			role = "leader"
		}
		t.row(n.Endpoint, role, int(n.CatchUp), int(n.BytesEach), n.Subscribed.Round(time.Millisecond).String(), int(n.Delivered),
			n.Delivery.P50.String(), n.Delivery.P99.String(), n.Delivery.Max.String(), n.WholeWay.P50.String(), n.WholeWay.P99.String())
	}
}
