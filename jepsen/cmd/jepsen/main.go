//go:build linux

// Command jepsen harms clusters of Tidemark and judges what their clients saw.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitFail      = 1
	exitNoVerdict = 2
)

// errFail says that there is a verdict, and that it was told.
var errFail = errors.New("the run failed")

func main() {
	// A second signal ends the process at once; the nodes die with it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	root := &cobra.Command{
		Use:   "jepsen",
		Short: "Harm clusters of Tidemark, and judge what their clients saw",
		Long: `Forms clusters of real processes, lets clients use them through the SDK, harms
them, heals them, reads everything back from every node, and judges the history.

Exit status: 0 the run passed, 1 it failed, 2 there is no verdict.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(runCommand(), suiteCommand(), failoverCommand(), bugsCommand(), judgeCommand(), listCommand())
	err := root.ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errFail):
		os.Exit(exitFail)
	default:
		fmt.Println("jepsen: FAIL no verdict:", oneLine(err))
		os.Exit(exitNoVerdict)
	}
}
