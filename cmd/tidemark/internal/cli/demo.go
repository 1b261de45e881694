package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	cfg := demo.Config{Out: a.Out}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Kill a leader in the middle of an import, and show that nothing is lost",
		Long: `Form three nodes of real processes on loopback, import a file of messages, kill the leader
with SIGKILL in the middle, wait for the next one, finish, restart the dead node, and then
read everything back from each node at each level and compare it with the file: every
message once, in order, SeqIds dense, digests equal on all nodes.

It ends by itself with "demo: OK", and leaves nothing running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			cfg.Binary = binary
			if err := demo.Run(cmd.Context(), cfg); err != nil {
				return fmt.Errorf("demo failed: %w", err)
			}
			fmt.Fprintln(a.Out, "demo: OK")
			return nil
		},
	}
	cmd.Flags().StringVar(&cfg.Input, "input", "testdata/irc-sample.jsonl.gz", "`file` of messages to import")
	cmd.Flags().StringArrayVar(&cfg.NodeArgs, "node-arg", nil, "one more `argument` for each node, such as --log-store=boltdb; may be repeated")
	return cmd
}
