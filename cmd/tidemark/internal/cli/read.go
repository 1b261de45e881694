package cli

import (
	"context"
	"encoding/base64"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/internal/exchange"
)

// readFlags say which messages to read.
type readFlags struct {
	levelFlags
	from, before    uint64
	newest          bool
	fromTime        string
	backward, all   bool
	limit, maxBytes int
	reader          string
	delivered, read uint64
}

func (a *app) readCommand() *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:   "read TIMELINE",
		Short: "Read messages of a timeline",
		Long: `Read one page of a timeline, or with --all everything from its start on. A page is
printed in rising order of SeqId, whichever way it was read.`,
		Example: `  tidemark read conv/42 --newest --limit 20
  tidemark read conv/42 --from 100 --all -o jsonl
  tidemark read conv/42 --before 100
  tidemark read conv/42 --from-time 2026-01-01T00:00:00Z --consistency local`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := f.options(cmd)
			if err != nil {
				return err
			}
			if f.all {
				return a.readAll(cmd.Context(), tidemark.TimelineID(args[0]), options)
			}
			return a.readPage(cmd.Context(), tidemark.TimelineID(args[0]), options)
		},
	}
	f.levelFlags.register(cmd)
	flags := cmd.Flags()
	flags.Uint64Var(&f.from, "from", 1, "start with this `SeqId`")
	flags.Uint64Var(&f.before, "before", 0, "start just before this `SeqId`, backward")
	flags.BoolVar(&f.newest, "newest", false, "start with the last message, backward")
	flags.StringVar(&f.fromTime, "from-time", "", "start at this server time, in `RFC3339`")
	flags.BoolVar(&f.backward, "backward", false, "go towards older messages")
	flags.BoolVar(&f.all, "all", false, "read on to the end, not one page")
	flags.IntVar(&f.limit, "limit", tidemark.DefaultPageMessages, "number of messages, at most 1000")
	flags.IntVar(&f.maxBytes, "max-bytes", tidemark.MaxPageBytes, "bytes of a page")
	flags.StringVar(&f.reader, "reader", "", "who reads, for --ack-delivered and --ack-read")
	flags.Uint64Var(&f.delivered, "ack-delivered", 0, "acknowledge in the same call that the reader got everything up to this `SeqId`")
	flags.Uint64Var(&f.read, "ack-read", 0, "acknowledge in the same call that the reader has read everything up to this `SeqId`")
	cmd.MarkFlagsMutuallyExclusive("from", "before", "newest", "from-time")
	cmd.MarkFlagsMutuallyExclusive("all", "limit")
	return cmd
}

func (f *readFlags) options(cmd *cobra.Command) ([]client.ReadOption, error) {
	level, err := f.consistency()
	if err != nil {
		return nil, err
	}
	options := []client.ReadOption{level, client.MaxBytes(f.maxBytes)}
	switch changed := cmd.Flags().Changed; {
	case changed("before"):
		options = append(options, client.Before(tidemark.SeqID(f.before)))
	case f.newest:
		options = append(options, client.Newest(0))
	case f.fromTime != "":
		at, err := parseTime("--from-time", f.fromTime)
		if err != nil {
			return nil, err
		}
		options = append(options, client.FromTime(at))
	default:
		options = append(options, client.From(tidemark.SeqID(f.from)))
	}
	if f.backward {
		options = append(options, client.Backward())
	}
	if !f.all {
		if f.limit < 1 || f.limit > tidemark.MaxPageMessages {
			return nil, exit.Usagef("--limit must be 1 to %d; it is %d (--all reads everything)", tidemark.MaxPageMessages, f.limit)
		}
		options = append(options, client.Limit(f.limit))
	}
	if acks := f.delivered > 0 || f.read > 0; acks != (f.reader != "") || acks && f.all {
		return nil, exit.Usagef("--reader goes with --ack-delivered or --ack-read, and not with --all")
	}
	if f.reader != "" {
		options = append(options, client.AckPrevious(tidemark.ReaderID(f.reader), tidemark.SeqID(f.delivered), tidemark.SeqID(f.read)))
	}
	return options, nil
}

func (a *app) readPage(ctx context.Context, timeline tidemark.TimelineID, options []client.ReadOption) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		page, err := c.Read(ctx, timeline, options...)
		if err != nil {
			return err
		}
		document := pageDocument{
			Messages: make([]exchange.Record, len(page.Messages)), HasMore: page.More,
			PreviousDigest: page.PreviousDigest.String(), Timeline: timelineDocumentOf(page.Timeline),
			Position: page.Position.Token(), AppliedIndex: page.AppliedIndex,
			StalenessMillis: page.Staleness.Milliseconds(), Endpoint: page.Endpoint,
		}
		for i := range page.Messages {
			if document.Messages[i], err = recordOf(&page.Messages[i]); err != nil {
				return err
			}
		}
		return printList(a, document, document.Messages, func(t *table) {
			messageRows(t, page.Messages)
			if page.More {
				t.row("")
				t.row("There is more. position " + base64.StdEncoding.EncodeToString(document.Position))
			}
		})
	})
}

// readAll streams a timeline; each page, not the whole, has --timeout.
func (a *app) readAll(ctx context.Context, timeline tidemark.TimelineID, options []client.ReadOption) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	out := newMessagePrinter(a)
	err = a.watch(ctx, func(ctx context.Context, progress func()) error {
		for message, err := range c.Messages(ctx, timeline, options...) {
			if err != nil {
				return err
			}
			progress()
			if err := out.print(&message); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.close()
}

func (a *app) getCommand() *cobra.Command {
	var level levelFlags
	var seq uint64
	var id string
	cmd := &cobra.Command{
		Use:     "get TIMELINE --seq N | --message-id ID",
		Short:   "Get one message by its SeqId or its message id",
		Example: "  tidemark get conv/42 --seq 7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := level.consistency()
			if err != nil {
				return err
			}
			timeline := tidemark.TimelineID(args[0])
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				var message client.Message
				var err error
				if cmd.Flags().Changed("message-id") {
					message, err = c.GetByID(ctx, timeline, tidemark.MessageID(id), chosen)
				} else {
					message, err = c.Get(ctx, timeline, tidemark.SeqID(seq), chosen)
				}
				if err != nil {
					return err
				}
				record, err := recordOf(&message)
				if err != nil {
					return err
				}
				return a.printOne(record, func(t *table) { messageRows(t, []client.Message{message}) })
			})
		},
	}
	level.register(cmd)
	cmd.Flags().Uint64Var(&seq, "seq", 0, "`SeqId` of the message")
	cmd.Flags().StringVar(&id, "message-id", "", "message `id`")
	cmd.MarkFlagsOneRequired("seq", "message-id")
	cmd.MarkFlagsMutuallyExclusive("seq", "message-id")
	return cmd
}
