package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/cmd/tidemark/internal/server"
	"tidemark/pebblestore"
)

// checkReportInterval is how often a long check says how far it is.
const checkReportInterval = 5 * time.Second

type findingDocument struct {
	Part   string `json:"part"`
	Sound  bool   `json:"sound"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (a *app) checkCommand() *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the whole data directory of a stopped node",
		Long: `Check every message, digest, cursor and message id of the store, and every entry of the log,
of a node that does not run. It fails if anything is wrong, and says in which file.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if dataDir == "" {
				return exit.Usagef("--data-dir must be given")
			}
			return a.check(dataDir)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "`directory` of the stopped node")
	return cmd
}

func (a *app) check(dataDir string) error {
	// What the floors log is about their work, not about what was found.
	a.global.logLevel = "error"
	logger, err := a.logger()
	if err != nil {
		return err
	}
	told := time.Now()
	owner, findings, err := server.Check(dataDir, logger, func(p pebblestore.CheckProgress) {
		if time.Since(told) > checkReportInterval {
			fmt.Fprintf(a.Err, "checking %s: %d of %d\n", p.Step, p.Done, p.Total)
			told = time.Now()
		}
	})
	if err != nil {
		return err
	}
	documents := make([]findingDocument, len(findings))
	var failed error
	for i, finding := range findings {
		documents[i] = findingDocument{Part: finding.Part, Sound: finding.Err == nil, Detail: finding.Detail}
		if finding.Err != nil {
			documents[i].Error = finding.Err.Error()
			if failed == nil {
				failed = fmt.Errorf("%s of node %s in %s: %w", finding.Part, owner.NodeID, dataDir, finding.Err)
			}
		}
	}
	err = printList(a, documents, documents, func(t *table) {
		t.row("PART", "SOUND", "DETAIL")
		for _, d := range documents {
			detail := d.Detail
			if d.Error != "" {
				detail = d.Error
			}
			t.row(d.Part, d.Sound, detail)
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

func (a *app) rebuildCommand() *cobra.Command {
	var dataDir, nodeID string
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Prepare a damaged node to be built again from the others",
		Long: `Remove a stopped node from its cluster, and move its data directory aside, to
DIR.damaged-TIME. Then start the node with --join HOST:PORT and without
--initial-cluster: it gets everything from the others.

Nothing is deleted. Delete the moved directory when the node is whole again.`,
		Example: `  tidemark rebuild --data-dir /var/lib/tidemark --endpoints 10.0.0.2:7400,10.0.0.3:7400`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dataDir == "" {
				return exit.Usagef("--data-dir must be given")
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.rebuild(ctx, c, dataDir, nodeID)
			})
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "`directory` of the stopped node")
	cmd.Flags().StringVar(&nodeID, "node-id", "", "`name` of the node; needed only if its directory does not say it any more")
	return cmd
}

func (a *app) rebuild(ctx context.Context, c *client.Client, dataDir, nodeID string) error {
	if nodeID == "" {
		owner, err := server.ReadOwner(dataDir)
		if err != nil {
			return fmt.Errorf("%w; give --node-id if you know whose directory it was", err)
		}
		nodeID = owner.NodeID
	}
	moved, err := server.Rebuild(ctx, dataDir, nodeID, c, time.Now())
	if err != nil {
		return err
	}
	document := struct {
		NodeID  string `json:"node_id"`
		MovedTo string `json:"moved_to"`
	}{nodeID, moved}
	return a.printOne(document, func(t *table) {
		t.row(fmt.Sprintf("%s is not a member any more, and its data is in %s.", nodeID, moved))
		t.row("Start it with --join HOST:PORT instead of --initial-cluster; it gets everything from the others.")
	})
}
