package cli

import (
	"github.com/spf13/cobra"

	"tidemark/cmd/tidemark/internal/server"
)

func (a *app) serveCommand() *cobra.Command {
	cfg := server.DefaultConfig()
	var members []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node",
		Long: `Run one node until SIGTERM or Ctrl-C, which stop it in order: leadership is handed
over, calls under way are finished, files are closed. A second signal ends it at once.

The first members of a cluster are started with the same --initial-cluster, in any
order. Later ones are started with --join: they ask a member to be added, catch up
without a vote, and are promoted by themselves. A node that has data ignores both.

Exit status: 0 stopped as asked, 1 could not start, 2 wrong configuration, 3 data that
the node must not go on with, 4 the disk is full.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.InitialCluster, err = server.ParseMembers(members); err != nil {
				return err
			}
			cfg.Version = a.version
			logger, err := a.logger()
			if err != nil {
				return err
			}
			return server.Run(cmd.Context(), cfg, logger)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.NodeID, "node-id", cfg.NodeID, "`name` that this node keeps for all time")
	flags.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "`directory` of this node's own")
	flags.StringVar(&cfg.Listen, "listen", cfg.Listen, "`HOST:PORT` for clients (gRPC)")
	flags.StringVar(&cfg.RaftListen, "raft-listen", cfg.RaftListen, "`HOST:PORT` for the other nodes; only they may reach it")
	flags.StringVar(&cfg.HTTPListen, "http-listen", cfg.HTTPListen, "`HOST:PORT` for health, metrics and profiles")
	flags.StringVar(&cfg.Advertise, "advertise", cfg.Advertise, "`HOST:PORT` by which clients reach --listen, if another")
	flags.StringVar(&cfg.RaftAdvertise, "raft-advertise", cfg.RaftAdvertise, "`HOST:PORT` by which nodes reach --raft-listen, if another")
	flags.StringSliceVar(&members, "initial-cluster", nil, "first members and their Raft addresses, `n1=HOST:PORT`,…")
	flags.StringSliceVar(&cfg.Join, "join", nil, "client addresses of members that add this node, `HOST:PORT`,…")
	flags.StringVar(&cfg.LogStore, "log-store", cfg.LogStore, "wal or boltdb; a data directory keeps the one that it has")
	flags.DurationVar(&cfg.RetentionInterval, "retention-interval", cfg.RetentionInterval, "how often the leader looks what the retention policies let go")
	flags.DurationVar(&cfg.ChangesMaxAge, "changes-max-age", cfg.ChangesMaxAge, "how old the changes of the change feed may get; 0 for no bound")
	flags.Uint64Var(&cfg.ChangesMaxEntries, "changes-max-entries", cfg.ChangesMaxEntries, "how many log entries the change feed goes back; 0 for no bound")
	flags.DurationVar(&cfg.SnapshotInterval, "snapshot-interval", cfg.SnapshotInterval, "shortest time between two snapshots")
	flags.DurationVar(&cfg.TrailingTime, "trailing-time", cfg.TrailingTime, "how long a node can be away and still catch up from the log")
	flags.Var((*byteSize)(&cfg.TrailingBytes), "trailing-bytes", "bound on the log that is kept for nodes that are away")
	flags.Var((*byteSize)(&cfg.StoreCache), "store-cache", "memory for blocks of the store's tables")
	flags.Var((*byteSize)(&cfg.StoreBuffer), "store-buffer", "memory for messages before they are written to tables; twice that while they are")
	flags.Var((*byteSize)(&cfg.IDFilter), "id-filter", "most memory for the filter that spares appends the look-up of message ids; 0 is none")
	flags.Var((*byteSize)(&cfg.DiskReserve), "disk-reserve", "free space below which the node steps aside until there is more; 0 never")
	flags.DurationVar(&cfg.ShutdownTimeout, "shutdown-timeout", cfg.ShutdownTimeout, "bound on an orderly end")
	// For fault injection, not for operators: it is not shown, and loud where it is used.
	flags.StringVar(&cfg.ClockOffsetFile, "clock-offset-file", "", "`file` with a duration by which this node's clock is wrong; read again while it runs")
	hide(cmd, "clock-offset-file")
	complete(cmd, "log-store", "wal", "boltdb")
	return cmd
}
