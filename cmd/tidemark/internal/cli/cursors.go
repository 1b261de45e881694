package cli

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) ackCommand() *cobra.Command {
	var reader string
	var delivered, read uint64
	cmd := &cobra.Command{
		Use:     "ack TIMELINE… --reader R --delivered N | --read N",
		Short:   "Move a reader's cursors forward",
		Long:    "Acknowledge that a reader got, or has read, everything up to a SeqId in each of the timelines: all of them or none.",
		Example: "  tidemark ack conv/42 --reader alice#phone --delivered 12 --read 10",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if delivered == 0 && read == 0 {
				return exit.Usagef("--delivered or --read must be given, and at least 1")
			}
			items := make([]client.AckItem, len(args))
			for i, timeline := range args {
				items[i] = client.AckItem{
					Timeline: tidemark.TimelineID(timeline), Delivered: tidemark.SeqID(delivered), Read: tidemark.SeqID(read),
				}
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				cursors, err := c.Ack(ctx, tidemark.ReaderID(reader), items...)
				if err != nil {
					return err
				}
				return a.printCursors(cursors)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&reader, "reader", "", "`name` of the reader: a user, or user#device")
	flags.Uint64Var(&delivered, "delivered", 0, "last `SeqId` that the reader got")
	flags.Uint64Var(&read, "read", 0, "last `SeqId` that the reader has read; implies delivered")
	if err := cmd.MarkFlagRequired("reader"); err != nil {
		panic(err)
	}
	return cmd
}

func (a *app) cursorsCommand() *cobra.Command {
	var level levelFlags
	var timeline, reader string
	var readAtLeast uint64
	var count bool
	cmd := &cobra.Command{
		Use:   "cursors --timeline T | --reader R",
		Short: "List how far readers have come",
		Example: `  tidemark cursors --timeline conv/42 --read-at-least 10
  tidemark cursors --reader alice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := level.consistency()
			if err != nil {
				return err
			}
			if timeline == "" && (count || readAtLeast > 0) {
				return exit.Usagef("--count and --read-at-least go with --timeline")
			}
			options := []client.ListOption{chosen}
			if readAtLeast > 0 {
				options = append(options, client.ReadAtLeast(tidemark.SeqID(readAtLeast)))
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if count {
					return a.countCursors(ctx, c, tidemark.TimelineID(timeline), options)
				}
				list := c.TimelineCursors(ctx, tidemark.TimelineID(timeline), options...)
				if reader != "" {
					list = c.ReaderCursors(ctx, tidemark.ReaderID(reader), options...)
				}
				cursors, err := collect(list)
				if err != nil {
					return err
				}
				return a.printCursors(cursors)
			})
		},
	}
	level.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&timeline, "timeline", "", "cursors of this timeline")
	flags.StringVar(&reader, "reader", "", "cursors of this reader")
	flags.Uint64Var(&readAtLeast, "read-at-least", 0, "only of readers that have read up to this `SeqId`")
	flags.BoolVar(&count, "count", false, "only their number")
	cmd.MarkFlagsOneRequired("timeline", "reader")
	cmd.MarkFlagsMutuallyExclusive("timeline", "reader")
	return cmd
}

func (a *app) countCursors(ctx context.Context, c *client.Client, timeline tidemark.TimelineID, options []client.ListOption) error {
	n, err := c.CountCursors(ctx, timeline, options...)
	if err != nil {
		return err
	}
	return a.printOne(struct {
		Count uint64 `json:"count"`
	}{n}, func(t *table) { t.row(n) })
}

func (a *app) printCursors(cursors []client.Cursor) error {
	documents := make([]cursorDocument, len(cursors))
	for i, cursor := range cursors {
		documents[i] = cursorDocumentOf(cursor)
	}
	return printList(a, documents, documents, func(t *table) {
		t.row("TIMELINE", "READER", "DELIVERED", "READ", "LAST", "UNREAD", "UPDATED")
		for _, c := range cursors {
			t.row(c.Timeline, c.Reader, c.Delivered, c.Read, c.Last, c.Unread(), c.UpdatedTime)
		}
	})
}

// collect gathers a sequence, or returns its error.
func collect[T any](sequence iter.Seq2[T, error]) ([]T, error) {
	var items []T
	for item, err := range sequence {
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}
