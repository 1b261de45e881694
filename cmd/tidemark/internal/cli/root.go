// Package cli is the command line of tidemark: flags, configuration and output. It
// takes the API through the Go SDK, and starts nodes by package server; it keeps
// no state and makes no decision that another client could not make.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/pebblestore"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what every command has at hand.
type app struct {
	Streams
	version string
	global  globalFlags
}

// globalFlags are those that every command has.
type globalFlags struct {
	config    string
	endpoints []string
	output    string
	timeout   time.Duration
	logLevel  string
	logFormat string
}

// Run runs one command line and returns the exit status. The context ends when
// the process is asked to stop.
func Run(ctx context.Context, args []string, streams Streams, version string) int {
	a := &app{Streams: streams, version: version}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	addCobraCommands(root)
	return a.finish(ctx, root.ExecuteContext(ctx))
}

// finish tells the error, with what to do next, and returns the exit status.
func (a *app) finish(ctx context.Context, err error) int {
	if err == nil {
		return exit.OK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.Err, "tidemark: interrupted:", err)
		return exit.Failed
	}
	fmt.Fprintln(a.Err, "tidemark:", err)
	if next := exit.NextStep(err); next != "" {
		fmt.Fprintln(a.Err, "  "+next)
	}
	return exit.Status(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidemark",
		Short: "A replicated timeline database for instant messaging",
		Long: `Tidemark keeps append-only timelines of messages, replicated by Raft.

Every flag can also be given in the environment (--log-level as TIDEMARK_LOG_LEVEL)
or in a YAML file named by --config (log-level: debug). A flag goes before the
environment, and that before the file.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.configure(cmd) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exit.UsageError{Err: err} })
	a.global.register(root)
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run nodes:"},
		&cobra.Group{ID: groupUse, Title: "Use a cluster:"},
		&cobra.Group{ID: groupOperate, Title: "Operate a cluster:"},
		&cobra.Group{ID: groupOffline, Title: "Mend a node that does not run:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = group
			root.AddCommand(command)
		}
	}
	add(groupRun, a.serveCommand(), a.devCommand(), a.demoCommand())
	add(groupUse, a.appendCommand(), a.reviseCommand(), a.redactCommand(), a.readCommand(), a.tailCommand(), a.changesCommand(), a.syncCommand(), a.getCommand(), a.explainCommand(), a.ackCommand(), a.cursorsCommand(), a.recipientsCommand(),
		a.timelinesCommand(), a.updateCommand(), a.trimCommand(), a.deleteCommand(), a.policyCommand(), a.verifyCommand(), a.importCommand(), a.exportCommand())
	add(groupOperate, a.statusCommand(), a.memberCommand(), a.leaderCommand(), a.snapshotCommand(), a.backupCommand(), a.auditCommand(), a.benchCommand())
	add(groupOffline, a.checkCommand(), a.logCommand(), a.recoverCommand(), a.rebuildCommand())
	root.AddCommand(a.versionCommand())
	wrapArgs(root)
	return root
}

const (
	groupRun     = "run"
	groupUse     = "use"
	groupOperate = "operate"
	groupOffline = "offline"
)

// addCobraCommands adds cobra's own commands, which would print help and succeed for a
// name that they do not know. They write to where root did when they were added.
func addCobraCommands(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		switch command.Name() {
		case "completion":
			command.Args, command.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			wrapArgs(command)
		case "help":
			command.Args = knownCommand
			wrapArgs(command)
		}
	}
}

// knownCommand refuses arguments that do not name a command.
func knownCommand(cmd *cobra.Command, args []string) error {
	if _, rest, err := cmd.Root().Find(args); err != nil || len(rest) > 0 {
		return fmt.Errorf("unknown command %q", strings.Join(args, " "))
	}
	return nil
}

// wrapArgs makes a wrong number of arguments a usage error, like a wrong flag.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &exit.UsageError{Err: err}
			}
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		wrapArgs(child)
	}
}

func (g *globalFlags) register(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&g.config, "config", "", "YAML `file` with values for flags")
	flags.StringSliceVar(&g.endpoints, "endpoints", []string{"127.0.0.1:7400"}, "client addresses of the cluster, `HOST:PORT`,…")
	flags.StringVarP(&g.output, "output", "o", outputTable, "table, json or jsonl")
	flags.DurationVar(&g.timeout, "timeout", 10*time.Second, "how long a call to the cluster may take, retries included")
	flags.StringVar(&g.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&g.logFormat, "log-format", "text", "text or json")
	complete(root, "output", outputTable, outputJSON, outputJSONLines)
	complete(root, "log-level", "debug", "info", "warn", "error")
	complete(root, "log-format", "text", "json")
}

// complete offers the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// It fails only for a flag that does not exist.
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

// hide keeps a flag out of the help.
func hide(cmd *cobra.Command, flag string) {
	// It fails only for a flag that does not exist.
	if err := cmd.Flags().MarkHidden(flag); err != nil {
		panic(err)
	}
}

// client connects to the cluster. The caller closes it.
func (a *app) client(options ...client.Option) (*client.Client, error) {
	logger, err := a.logger()
	if err != nil {
		return nil, err
	}
	return client.New(a.global.endpoints, append([]client.Option{client.WithLogger(logger)}, options...)...)
}

// call runs one call to the cluster under --timeout.
func (a *app) call(ctx context.Context, f func(context.Context, *client.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, a.global.timeout)
	defer cancel()
	return f(ctx, c)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := versionOf(a.version, pebblestore.FormatVersion)
			return a.printOne(info, func(t *table) {
				t.row("tidemark", info.Version)
				t.row("go", info.Go)
				t.row("store format", info.StoreFormat)
			})
		},
	}
}
