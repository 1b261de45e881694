package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tidemark/client"
	"tidemark/cmd/tidemark/internal/audit"
)

// errNotEqual makes the exit status tell that nodes differ.
var errNotEqual = errors.New("the nodes do not hold the same")

func (a *app) auditCommand() *cobra.Command {
	var cfg audit.Config
	var state bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Compare what the nodes hold, while they run",
		Long: `Compare the digests of all timelines on all --endpoints, and name the first difference:
the timeline, the message, and what each node shows. The cluster may be written to
meanwhile. The exit status is 0 only if there is no difference.

With --state everything that the members hold is compared, record by record, at one place of
the log: also cursors, settings, the indexes of message ids, senders and redactions, and the
change feed. Every member must answer then; --endpoints may name any of them.`,
		Example: "  tidemark audit --state\n  tidemark audit --endpoints 127.0.0.1:7400,127.0.0.1:7410,127.0.0.1:7420 --cursors --settings",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state {
				return a.auditState(cmd.Context())
			}
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
	cmd.Flags().BoolVar(&state, "state", false, "compare everything, record by record, at one place of the log")
	cmd.Flags().StringVar(&cfg.Prefix, "prefix", "", "only timelines whose names begin with it")
	cmd.Flags().BoolVar(&cfg.Cursors, "cursors", false, "compare cursors too")
	cmd.Flags().BoolVar(&cfg.Settings, "settings", false, "compare attributes, recipient sets and policies too")
	for _, other := range []string{"prefix", "cursors", "settings"} {
		cmd.MarkFlagsMutuallyExclusive("state", other)
	}
	return cmd
}

type auditDocument struct {
	Index      uint64                   `json:"index"`
	Nodes      []string                 `json:"nodes"`
	Records    uint64                   `json:"records"`
	Bytes      uint64                   `json:"bytes"`
	Difference *auditDifferenceDocument `json:"difference,omitempty"`
}

type auditDifferenceDocument struct {
	After   string   `json:"after,omitempty"`
	Records []string `json:"records"`
}

func (a *app) auditState(ctx context.Context) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		var audited client.Audited
		err := a.watch(ctx, func(ctx context.Context, progress func()) (err error) {
			audited, err = c.Cluster().Audit(ctx, func(client.Audited) { progress() })
			return err
		})
		if err != nil {
			return err
		}
		document := auditDocument{Index: audited.Index, Nodes: audited.Nodes, Records: audited.Records, Bytes: audited.Bytes}
		difference := audited.Difference
		if difference != nil {
			document.Difference = &auditDifferenceDocument{difference.After, difference.Records}
		}
		err = a.printOne(document, func(t *table) {
			t.row("NODES", "LOG INDEX", "RECORDS", "BYTES", "DIFFERENCE")
			if difference == nil {
				t.row(len(audited.Nodes), audited.Index, audited.Records, audited.Bytes, "none")
				return
			}
			t.row(len(audited.Nodes), audited.Index, audited.Records, audited.Bytes, "behind "+difference.After)
			for i, record := range difference.Records {
				t.row(audited.Nodes[i], "", "", "", record)
			}
		})
		if err == nil && difference != nil {
			err = errNotEqual
		}
		return err
	})
}
