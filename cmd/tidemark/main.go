// Command tidemark is the one binary: a node of a cluster, and what operators and
// frontends call a cluster with. `tidemark help` prints what it does.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tidemark/cmd/tidemark/internal/cli"
	"tidemark/cmd/tidemark/internal/exit"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop()
		got := <-signals
		fmt.Fprintf(os.Stderr, "tidemark: got %v again, ending at once\n", got)
		os.Exit(exit.Interrupted)
	}()
	os.Exit(cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, version))
}
