package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

// reviseFlags are those of both ways to revise.
type reviseFlags struct {
	id, sender string
	expected   int64
}

func (f *reviseFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.id, "message-id", "", "`name` of the revision, to be able to repeat the command; a new UUID if it is left out")
	flags.StringVar(&f.sender, "sender", "", "who revises; the message keeps its own sender")
	flags.Int64Var(&f.expected, "expected-revision", 0, "revise only if this is the message's revision; 0 for one that was never revised")
}

func (f *reviseFlags) options(cmd *cobra.Command) ([]client.ReviseOption, error) {
	options := []client.ReviseOption{client.RevisedBy(f.sender)}
	if f.id != "" {
		options = append(options, client.RevisionID(tidemark.MessageID(f.id)))
	}
	if cmd.Flags().Changed("expected-revision") {
		if f.expected < 0 {
			return nil, exit.Usagef("--expected-revision must be at least 0; it is %d", f.expected)
		}
		options = append(options, client.ExpectRevision(uint64(f.expected)))
	}
	return options, nil
}

func (a *app) reviseCommand() *cobra.Command {
	var flags reviseFlags
	var content client.Content
	var attributes []string
	cmd := &cobra.Command{
		Use:   "revise TIMELINE SEQ-ID [PAYLOAD]",
		Short: "Edit a message",
		Long: `Edit a message: it keeps its SeqId, and gets the type, payload and attributes that are given.
Without PAYLOAD, or with "-", the payload is standard input as it is. An entry at the end of
the timeline, and of the inboxes that the message was delivered to, tells readers of it.`,
		Example: `  tidemark revise conv/42 7 "hello, world" --sender alice --expected-revision 0`,
		Args:    cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := parseSeqID(args[1])
			if err != nil {
				return err
			}
			options, err := flags.options(cmd)
			if err != nil {
				return err
			}
			if content.Attributes, err = parseAttributes(attributes); err != nil {
				return err
			}
			if content.Payload, err = a.payload(args[2:]); err != nil {
				return err
			}
			return a.revise(cmd.Context(), tidemark.TimelineID(args[0]), func(ctx context.Context, c *client.Client) (client.ReviseResult, error) {
				return c.Revise(ctx, tidemark.TimelineID(args[0]), seq, content, options...)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&content.Type, "type", "text", "how to understand the payload")
	cmd.Flags().StringArrayVar(&attributes, "attribute", nil, "`KEY=VALUE` beside the payload; may be repeated")
	return cmd
}

func (a *app) redactCommand() *cobra.Command {
	var flags reviseFlags
	cmd := &cobra.Command{
		Use:   "redact TIMELINE SEQ-ID",
		Short: "Take the content of a message away for good",
		Long: `Take type, payload and attributes of a message away for good. Its place stays, and so do
sender, message id, times and digest. Readers are told as by "revise".`,
		Example: `  tidemark redact conv/42 7 --sender alice`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := parseSeqID(args[1])
			if err != nil {
				return err
			}
			options, err := flags.options(cmd)
			if err != nil {
				return err
			}
			return a.revise(cmd.Context(), tidemark.TimelineID(args[0]), func(ctx context.Context, c *client.Client) (client.ReviseResult, error) {
				return c.Redact(ctx, tidemark.TimelineID(args[0]), seq, options...)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func parseSeqID(text string) (tidemark.SeqID, error) {
	seq, err := strconv.ParseUint(text, 10, 64)
	if err != nil || seq == 0 {
		return 0, exit.Usagef("SEQ-ID must be a number from 1; %q is not", text)
	}
	return tidemark.SeqID(seq), nil
}

type reviseDocument struct {
	Timeline   string    `json:"timeline"`
	Revision   uint64    `json:"revision"`
	MessageID  string    `json:"message_id"`
	SeqID      uint64    `json:"seq_id"`
	ServerTime time.Time `json:"server_time"`
	Digest     string    `json:"digest"`
	Duplicate  bool      `json:"duplicate"`
	Inboxes    int       `json:"inboxes,omitempty"`
	Position   []byte    `json:"position"`
}

func (a *app) revise(ctx context.Context, timeline tidemark.TimelineID, do func(context.Context, *client.Client) (client.ReviseResult, error)) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		r, err := do(ctx, c)
		if err != nil {
			return err
		}
		document := reviseDocument{
			Timeline: string(timeline), Revision: r.Revision, MessageID: string(r.ID), SeqID: uint64(r.SeqID), ServerTime: r.ServerTime,
			Digest: r.Digest.String(), Duplicate: r.Duplicate, Inboxes: r.Inboxes, Position: r.Position.Token(),
		}
		return a.printOne(document, func(t *table) {
			t.row("TIMELINE", "REVISION", "SEQ", "MESSAGE ID", "SERVER TIME", "DUPLICATE", "INBOXES")
			t.row(timeline, r.Revision, r.SeqID, r.ID, r.ServerTime, r.Duplicate, r.Inboxes)
		})
	})
}
