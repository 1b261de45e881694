package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/cmd/tidemark/internal/server"
	"tidemark/raftnode"
)

func (a *app) recoverCommand() *cobra.Command {
	var dataDir, peersFile string
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a node whose majority is lost for good a cluster of its own",
		Long: `Make one node of a cluster that lost its majority FOR GOOD the first of a new cluster.
What only the lost nodes had acknowledged is lost with them. Never run it while a
majority could still come back: there would be two clusters.

Stop every node that is left. Choose the one with the highest last log index. Write
who is to be the cluster into a file, usually that node alone:

    [{"id": "n1", "address": "10.0.0.1:7401"}]

Run recover on that node, start it as always, and join new nodes with empty directories.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if dataDir == "" || peersFile == "" {
				return exit.Usagef("--data-dir and --peers must be given")
			}
			peers, err := readPeers(peersFile)
			if err != nil {
				return err
			}
			logger, err := a.logger()
			if err != nil {
				return err
			}
			report, err := server.Recover(dataDir, peers, logger)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "recovered node %s at log index %d; start it as always\n", report.NodeID, report.Index)
			return nil
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "`directory` of the stopped node")
	cmd.Flags().StringVar(&peersFile, "peers", "", "JSON `file` with the members of the new cluster")
	return cmd
}

// readPeers reads a list of {"id", "address", "non_voter"}.
func readPeers(name string) ([]raftnode.Peer, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var entries []struct {
		ID       string `json:"id"`
		Address  string `json:"address"`
		NonVoter bool   `json:"non_voter"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entries); err != nil {
		return nil, exit.Usagef("--peers %s: %w", name, err)
	}
	peers := make([]raftnode.Peer, len(entries))
	for i, entry := range entries {
		if entry.ID == "" || entry.Address == "" {
			return nil, exit.Usagef("--peers %s: entry %d needs an id and an address", name, i+1)
		}
		peers[i] = raftnode.Peer{ID: entry.ID, Address: entry.Address, NonVoter: entry.NonVoter}
	}
	if len(peers) == 0 {
		return nil, exit.Usagef("--peers %s: names no member", name)
	}
	return peers, nil
}
