package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) appendCommand() *cobra.Command {
	var draft client.Draft
	var id, clientTime string
	var attributes []string
	var inboxes []string
	var fanOut, advance bool
	var expected int64
	cmd := &cobra.Command{
		Use:   "append TIMELINE [PAYLOAD]",
		Short: "Append one message",
		Long: `Append one message. Without PAYLOAD, or with "-", the payload is standard input as it is.

Give a --message-id to be able to repeat the command: the message is then appended once,
however often it is repeated.`,
		Example: `  tidemark append conv/42 "hello" --sender alice
  tidemark append conv/42 --type image/png < picture.png
  tidemark append conv/42 "hello" --sender alice --fan-out --advance-sender-cursor`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			draft.Timeline, draft.ID = tidemark.TimelineID(args[0]), tidemark.MessageID(id)
			var err error
			if draft.Attributes, err = parseAttributes(attributes); err != nil {
				return err
			}
			if draft.ClientTime, err = parseTime("--client-time", clientTime); err != nil {
				return err
			}
			if draft.Payload, err = a.payload(args[1:]); err != nil {
				return err
			}
			var options []client.AppendOption
			if cmd.Flags().Changed("expected-last-seq-id") {
				if expected < 0 {
					return exit.Usagef("--expected-last-seq-id must be at least 0; it is %d", expected)
				}
				options = append(options, client.ExpectLastSeqID(tidemark.SeqID(expected)))
			}
			if fanOut {
				options = append(options, client.FanOut())
			}
			for _, inbox := range inboxes {
				options = append(options, client.FanOutTo(tidemark.TimelineID(inbox)))
			}
			if advance {
				options = append(options, client.AdvanceSenderCursor())
			}
			return a.append(cmd.Context(), draft, options)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&id, "message-id", "", "`name` of the message; a new UUID if it is left out")
	flags.StringVar(&draft.Sender, "sender", "", "who sends")
	flags.StringVar(&draft.Type, "type", "text", "how to understand the payload")
	flags.BoolVar(&fanOut, "fan-out", false, "deliver to the inboxes of the timeline's recipient set")
	flags.StringSliceVar(&inboxes, "to", nil, "deliver to these `inboxes`, too; may be repeated")
	flags.BoolVar(&advance, "advance-sender-cursor", false, "move the sender's own read mark to the message")
	flags.StringArrayVar(&attributes, "attribute", nil, "`KEY=VALUE` beside the payload; may be repeated")
	flags.StringVar(&clientTime, "client-time", "", "when the sender says that it sent, in `RFC3339`")
	flags.Int64Var(&expected, "expected-last-seq-id", 0, "append only if this is the timeline's last SeqId; 0 for a timeline that does not exist")
	return cmd
}

func (a *app) append(ctx context.Context, draft client.Draft, options []client.AppendOption) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		result, err := c.Append(ctx, draft, options...)
		if err != nil {
			return err
		}
		return a.printOne(appendDocumentOf(result), func(t *table) {
			t.row("TIMELINE", "SEQ", "MESSAGE ID", "SERVER TIME", "DUPLICATE", "INBOXES")
			t.row(result.Timeline, result.SeqID, result.ID, result.ServerTime, result.Duplicate, result.Inboxes)
		})
	})
}

// payload is the argument, or standard input if there is none. It reads one byte
// more than the limit, so that the cluster says what the limit is.
func (a *app) payload(args []string) ([]byte, error) {
	if len(args) > 0 && args[0] != "-" {
		return []byte(args[0]), nil
	}
	payload, err := io.ReadAll(io.LimitReader(a.In, tidemark.MaxPayloadBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	return payload, nil
}

func parseAttributes(items []string) (map[string]string, error) {
	attributes := make(map[string]string, len(items))
	for _, item := range items {
		key, value, ok := strings.Cut(item, "=")
		if !ok || key == "" {
			return nil, exit.Usagef("--attribute must be KEY=VALUE; %q is not", item)
		}
		if _, twice := attributes[key]; twice {
			return nil, exit.Usagef("--attribute %q is given twice", key)
		}
		attributes[key] = value
	}
	return attributes, nil
}

// parseTime reads RFC 3339; nothing is the zero time.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, exit.Usagef("%s must be a time like 2006-01-02T15:04:05Z; it is %q", flag, text)
	}
	return at, nil
}
