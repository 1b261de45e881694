package cli

import (
	"context"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) recipientsCommand() *cobra.Command {
	var level levelFlags
	var add, remove []string
	var replace bool
	var expected int64
	cmd := &cobra.Command{
		Use:   "recipients TIMELINE",
		Short: "List or change the inboxes that a fan-out reaches",
		Long: `List the recipient set of a timeline: the inboxes that "append --fan-out" delivers to.
With --add, --remove or --replace it is changed first, in one step of at most 1,000 inboxes.`,
		Example: `  tidemark recipients conv/42 --add inbox/alice,inbox/bob
  tidemark recipients conv/42`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			timeline := tidemark.TimelineID(args[0])
			changes := replace || len(add) > 0 || len(remove) > 0
			if !changes {
				chosen, err := level.consistency()
				if err != nil {
					return err
				}
				return a.listRecipients(cmd.Context(), timeline, chosen)
			}
			change := tidemark.RecipientChange{Replace: replace, Add: timelineIDs(add), Remove: timelineIDs(remove)}
			if cmd.Flags().Changed("expected-version") {
				if expected < 0 {
					return exit.Usagef("--expected-version must be at least 0; it is %d", expected)
				}
				version := uint64(expected)
				change.ExpectedVersion = &version
			}
			return a.setRecipients(cmd.Context(), timeline, change)
		},
	}
	level.register(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&add, "add", nil, "`inboxes` to add; may be repeated")
	flags.StringSliceVar(&remove, "remove", nil, "`inboxes` to remove; may be repeated")
	flags.BoolVar(&replace, "replace", false, "empty the set before --add")
	flags.Int64Var(&expected, "expected-version", 0, "change only if this is the version of the set; 0 for one that was never set")
	return cmd
}

func timelineIDs(names []string) []tidemark.TimelineID {
	ids := make([]tidemark.TimelineID, len(names))
	for i, name := range names {
		ids[i] = tidemark.TimelineID(name)
	}
	return ids
}

type recipientDocument struct {
	Timeline string `json:"timeline"`
	Inbox    string `json:"inbox"`
}

func (a *app) listRecipients(ctx context.Context, timeline tidemark.TimelineID, level client.Consistency) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		inboxes, err := collect(c.Recipients(ctx, timeline, level))
		if err != nil {
			return err
		}
		documents := make([]recipientDocument, len(inboxes))
		for i, inbox := range inboxes {
			documents[i] = recipientDocument{string(timeline), string(inbox)}
		}
		return printList(a, documents, documents, func(t *table) {
			t.row("TIMELINE", "INBOX")
			for _, d := range documents {
				t.row(d.Timeline, d.Inbox)
			}
		})
	})
}

func (a *app) setRecipients(ctx context.Context, timeline tidemark.TimelineID, change tidemark.RecipientChange) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		set, err := c.SetRecipients(ctx, timeline, change)
		if err != nil {
			return err
		}
		return a.printOne(struct {
			Timeline string `json:"timeline"`
			Version  uint64 `json:"version"`
			Count    uint64 `json:"count"`
		}{string(timeline), set.Version, set.Count}, func(t *table) {
			t.row("TIMELINE", "VERSION", "COUNT")
			t.row(timeline, set.Version, set.Count)
		})
	})
}
