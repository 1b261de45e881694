package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/audit"
)

// errNotEqual makes the exit status tell that nodes differ.
var errNotEqual = errors.New("the nodes do not hold the same")

func (a *app) auditCommand() *cobra.Command {
	var cfg audit.Config
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare what the nodes hold, while they run",
		Long: `Compare the digests of all timelines on all --endpoints, and name the first difference:
the timeline, the message, and what each node shows. The cluster may be written to
meanwhile. The exit status is 0 only if there is no difference.`,
		Example: "  tidemark audit --endpoints 127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420 --cursors --settings",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Endpoints = a.global.endpoints
			var report *audit.Report
			err := a.watch(cmd.Context(), func(ctx context.Context, progress func()) (err error) {
				cfg.Progress = progress
				report, err = audit.Run(ctx, cfg)
				return err
			})
			if err != nil {
				return err
			}
			err = a.printOne(report, func(t *table) {
				t.row("NODES", "TIMELINES", "MESSAGES", "CURSORS", "DIFFERENCE")
				difference := "none"
				if report.Difference != nil {
					difference = report.Difference.Error()
				}
				t.row(len(report.Endpoints), report.Timelines, report.Messages, report.Cursors, difference)
			})
			if err == nil && report.Difference != nil {
				err = errNotEqual
			}
			return err
		},
	}
	cmd.Flags().StringVar(&cfg.Prefix, "prefix", "", "only timelines whose names begin with it")
	cmd.Flags().BoolVar(&cfg.Cursors, "cursors", false, "compare cursors too")
	cmd.Flags().BoolVar(&cfg.Settings, "settings", false, "compare attributes, recipient sets and policies too")
	return cmd
}
