// The search example: a full-text index over all timelines of a cluster, kept by its change
// feed. Without words it follows the cluster until Ctrl-C; with some, it brings the index
// up to date and answers:
//
//	go run . -index /tmp/chat.bleve
//	go run . -index /tmp/chat.bleve kernel panic
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"tidemark"
	"tidemark/client"
)

func main() {
	dir := flag.String("index", "chat.bleve", "directory of the index, which is made if it is missing")
	endpoints := flag.String("endpoints", "127.0.0.1:7400", "client addresses of the cluster, HOST:PORT,…")
	limit := flag.Int("limit", 10, "how many messages to show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *dir, strings.Split(*endpoints, ","), strings.Join(flag.Args(), " "), *limit)
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, endpoints []string, query string, limit int) (err error) {
	index, err := OpenIndex(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	c, err := client.New(endpoints)
	if err != nil {
		return err
	}
	defer c.Close()
	err = index.Follow(ctx, c, query != "")
	if errors.Is(err, tidemark.ErrChangesTrimmed) {
		return fmt.Errorf("%w\n  Remove %s, and start again: the index has missed changes that are gone.", err, dir)
	}
	if err != nil {
		return err
	}
	hits, total, err := index.Search(ctx, query, limit)
	if err != nil {
		return err
	}
	for _, h := range hits {
		fmt.Printf("%s %d  %s: %s\n", h.Timeline, h.SeqID, h.Sender, h.Body)
	}
	fmt.Printf("%d of %d messages\n", len(hits), total)
	return nil
}
