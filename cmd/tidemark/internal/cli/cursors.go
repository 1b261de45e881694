package cli

import (
	"context"
	"iter"
	"strconv"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) ackCommand() *cobra.Command {
	var reader string
	var delivered, read, floor uint64
	var rewind bool
	cmd := &cobra.Command{
		Use:   "ack TIMELINE… --reader R --delivered N | --read N | --floor N",
		Short: "Move a reader's cursors forward",
		Long: `Acknowledge that a reader got, or has read, everything up to a SeqId in each of the
timelines, or may see nothing before one: all of them or none. Marks only move forward,
unless --rewind sets them to what is given; 0 is allowed then.`,
		Example: `  tidemark ack conv/42 --reader alice#phone --delivered 12 --read 10
  tidemark ack conv/42 --reader alice --read 7 --rewind`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := func(name string, value uint64) *tidemark.SeqID {
				if !cmd.Flags().Changed(name) {
					return nil
				}
				return (*tidemark.SeqID)(&value)
			}
			marks := client.RewindItem{Delivered: given("delivered", delivered), Read: given("read", read), Floor: given("floor", floor)}
			if rewind && (marks.Delivered != nil || marks.Read != nil || marks.Floor != nil) {
				return a.rewind(cmd.Context(), tidemark.ReaderID(reader), args, marks)
			}
			if delivered == 0 && read == 0 && floor == 0 {
				return exit.Usagef("--delivered, --read or --floor must be given, and at least 1 without --rewind")
			}
			items := make([]client.AckItem, len(args))
			for i, timeline := range args {
				items[i] = client.AckItem{
					Timeline: tidemark.TimelineID(timeline), Delivered: tidemark.SeqID(delivered), Read: tidemark.SeqID(read), Floor: tidemark.SeqID(floor),
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
	flags.Uint64Var(&floor, "floor", 0, "first `SeqId` that the reader may see")
	flags.BoolVar(&rewind, "rewind", false, "set the marks to what is given, also back: mark as unread")
	if err := cmd.MarkFlagRequired("reader"); err != nil {
		panic(err)
	}
	return cmd
}

func (a *app) rewind(ctx context.Context, reader tidemark.ReaderID, timelines []string, marks client.RewindItem) error {
	items := make([]client.RewindItem, len(timelines))
	for i, timeline := range timelines {
		items[i] = marks
		items[i].Timeline = tidemark.TimelineID(timeline)
	}
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		cursors, err := c.Rewind(ctx, reader, items...)
		if err != nil {
			return err
		}
		return a.printCursors(cursors)
	})
}

func (a *app) cursorsCommand() *cobra.Command {
	var level levelFlags
	var timeline, reader string
	var readAtLeast uint64
	var count, byActivity bool
	cmd := &cobra.Command{
		Use:   "cursors --timeline T | --reader R",
		Short: "List how far readers have come",
		Example: `  tidemark cursors --timeline conv/42 --read-at-least 10
  tidemark cursors --reader alice --by-activity`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := level.consistency()
			if err != nil {
				return err
			}
			if timeline == "" && (count || readAtLeast > 0) {
				return exit.Usagef("--count and --read-at-least go with --timeline")
			}
			if reader == "" && byActivity {
				return exit.Usagef("--by-activity goes with --reader")
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
				switch {
				case reader != "" && byActivity:
					list = c.Conversations(ctx, tidemark.ReaderID(reader), options...)
				case reader != "":
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
	flags.BoolVar(&byActivity, "by-activity", false, "the timeline with the newest message first, as a list of conversations")
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
		t.row("TIMELINE", "READER", "DELIVERED", "READ", "FLOOR", "LAST", "UNREAD", "UPDATED")
		for _, c := range cursors {
			unread := ""
			if c.UnreadKnown {
				unread = strconv.FormatUint(c.Unread, 10)
			}
			t.row(c.Timeline, c.Reader, c.Delivered, c.Read, c.Floor, c.Last, unread, c.UpdatedTime)
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
