package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tidemark/cmd/tidemark/internal/bench"
	"tidemark/cmd/tidemark/internal/bench/htmlreport"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/internal/load"
)

// httpOffset is how far above its client port a node of "tidemark dev" serves HTTP.
const httpOffset = 2

func (a *app) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster",
		Long: `Measure a cluster that runs, through the SDK. Timelines with a prefix of their own are
written and stay there. No figure is printed when something failed.

Without --rate each caller waits for the reply before its next call (a closed loop). With
--rate calls are begun at that rate whatever the cluster does (an open loop), and latencies
count from when a call was to begin.

Beside the figures stands what all nodes together used: processor time, bytes written to
their disks, fsyncs of their logs, and the memory of the largest. --html writes it all to a
page of its own, with charts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.benchAppendCommand(), a.benchReadCommand(), a.benchSyncCommand(), a.benchTailCommand(), a.benchFanOutCommand(), a.benchAckCommand(), a.benchMixedCommand(), a.benchGrowthCommand())
	return cmd
}

// benchFlags say what is measured, and where the report goes.
type benchFlags struct {
	local  int
	http   []string
	prefix string
	html   string
}

func (b *benchFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&b.local, "local", 0, "start this many `nodes` on loopback, and stop them at the end, in place of --endpoints")
	flags.StringSliceVar(&b.http, "http", nil, "where the nodes serve their metrics, in the order of --endpoints; the client port + 2 if left out")
	flags.StringVar(&b.prefix, "prefix", "", "`prefix` of the timelines; a new one if left out")
	flags.StringVar(&b.html, "html", "", "write a report with charts to this `file`, too")
}

// planFlags adds the flags of how calls are made, with the plan's defaults.
func planFlags(flags *pflag.FlagSet, plan *bench.Plan) {
	flags.IntVar(&plan.Callers, "callers", plan.Callers, "calls that are under way at a time, at most")
	flags.Float64Var(&plan.Rate, "rate", 0, "calls begun in a second; 0 for a closed loop")
	flags.DurationVar(&plan.Warmup, "warmup", plan.Warmup, "how long before what is measured")
	flags.DurationVar(&plan.Duration, "duration", plan.Duration, "how long each run is measured")
	flags.IntVar(&plan.Repeats, "repeats", 1, "how often everything is measured")
}

// defaultPlan is what the flags of most benches begin with.
func defaultPlan(warmup, duration time.Duration) bench.Plan {
	return bench.Plan{Load: load.Load{Callers: 64, Warmup: warmup, Duration: duration}}
}

// completePlan adds what no flag of the bench itself says.
func (a *app) completePlan(plan *bench.Plan, target bench.Target) {
	plan.Target, plan.Timeout, plan.Progress = target, a.global.timeout, a.benchProgress
}

func (a *app) benchProgress(text string) { fmt.Fprintln(a.Err, text) }

// runBench measures and shows what was found. Of runs there is one in a line of JSON lines.
func runBench[R bench.Report, T any](a *app, cmd *cobra.Command, flags *benchFlags, measure func(context.Context, bench.Target) (R, error), runs func(R) []T) error {
	if flags.html != "" {
		// Better now than when all is measured.
		if _, err := os.Stat(filepath.Dir(flags.html)); err != nil {
			return exit.Usagef("--html: %v", err)
		}
	}
	started := time.Now()
	return a.withTarget(cmd, flags, func(ctx context.Context, target bench.Target) error {
		report, err := measure(ctx, target)
		if err != nil {
			return err
		}
		page := report.Page()
		if flags.html != "" {
			page.Title, page.Command, page.Version, page.Started = cmd.CommandPath(), commandLine(cmd), a.version, started
			if err := htmlreport.WriteFile(flags.html, page); err != nil {
				return err
			}
		}
		return printList(a, report, runs(report), func(t *table) { benchRows(t, page.Tables) })
	})
}

// benchRows prints the tables one below the other.
func benchRows(t *table, tables []htmlreport.Table) {
	for i, one := range tables {
		if i > 0 {
			t.row()
		}
		for _, row := range append([][]string{one.Head}, one.Rows...) {
			cells := make([]any, len(row))
			for j, cell := range row {
				cells[j] = cell
			}
			t.row(cells...)
		}
	}
}

// commandLine is what measures the same again.
func commandLine(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		// Lists are in brackets.
		words = append(words, "--"+flag.Name+"="+strings.TrimSuffix(strings.TrimPrefix(flag.Value.String(), "["), "]"))
	})
	return strings.Join(words, " ")
}

// withTarget has the cluster at --endpoints measured, or a local one that lives as long.
func (a *app) withTarget(cmd *cobra.Command, of *benchFlags, measure func(context.Context, bench.Target) error) error {
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
