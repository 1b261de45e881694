package cli

import (
	"encoding/hex"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/cmd/tidemark/internal/server"
	"tidemark/raftnode"
)

type entryDocument struct {
	Index  uint64 `json:"index"`
	Term   uint64 `json:"term"`
	Type   string `json:"type"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (a *app) logCommand() *cobra.Command {
	var dataDir string
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print the Raft log of a stopped node, one line for each entry",
		Long: `Print what identifies each entry of the Raft log of a node that does not run, oldest
first. Nothing is changed. The log is read as the node would find it at its start: what a
crash left of an append that was cut short is not part of it. Nothing is printed of a log
that is damaged.

On all nodes, entries with the same index and term are the same: they have the same hash,
and so have all entries before them. The hash is the SHA-256 of the type (one byte), the
number of bytes of the data (eight bytes, big-endian), the data and the extensions.`,
		Example: `  tidemark log --data-dir /var/lib/tidemark --output jsonl`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if dataDir == "" {
				return exit.Usagef("--data-dir must be given")
			}
			return a.printLog(dataDir)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "`directory` of the stopped node")
	return cmd
}

// printLog prints lines of JSON as it reads; the other formats know their shape only
// when they know all entries.
func (a *app) printLog(dataDir string) error {
	documents := []entryDocument{}
	err := server.ReadLog(dataDir, func(e raftnode.LogEntry) error {
		d := entryDocument{e.Index, e.Term, e.Type, e.Bytes, hex.EncodeToString(e.Hash[:])}
		if a.global.output == outputJSONLines {
			return a.printJSON(d)
		}
		documents = append(documents, d)
		return nil
	})
	if err != nil {
		return err
	}
	return printList(a, documents, documents, func(t *table) {
		t.row("INDEX", "TERM", "TYPE", "BYTES", "SHA-256")
		for _, d := range documents {
			t.row(d.Index, d.Term, d.Type, d.Bytes, d.SHA256)
		}
	})
}
