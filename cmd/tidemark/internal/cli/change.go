package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) updateCommand() *cobra.Command {
	var set, remove []string
	cmd := &cobra.Command{
		Use:     "update TIMELINE --set KEY=VALUE… | --remove KEY…",
		Short:   "Change the attributes of a timeline",
		Long:    "Set and remove attributes of a timeline, which is created if it does not exist. The others stay.",
		Example: "  tidemark update conv/42 --set topic=tides --remove owner",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(set) == 0 && len(remove) == 0 {
				return exit.Usagef("--set or --remove must be given")
			}
			attributes := make(map[string]string, len(set))
			for _, item := range set {
				key, value, ok := strings.Cut(item, "=")
				if !ok || key == "" {
					return exit.Usagef("--set must be KEY=VALUE; %q is not", item)
				}
				attributes[key] = value
			}
			return a.change(cmd.Context(), func(ctx context.Context, c *client.Client) (client.Timeline, error) {
				return c.UpdateTimeline(ctx, tidemark.TimelineID(args[0]), attributes, remove...)
			})
		},
	}
	cmd.Flags().StringArrayVar(&set, "set", nil, "`KEY=VALUE`; may be repeated")
	cmd.Flags().StringArrayVar(&remove, "remove", nil, "`key` to remove; may be repeated")
	return cmd
}

func (a *app) trimCommand() *cobra.Command {
	var first, keep uint64
	cmd := &cobra.Command{
		Use:   "trim TIMELINE --first N | --keep N",
		Short: "Take away the oldest messages of a timeline",
		Long: `Take away the messages before a SeqId, or all but the last ones. They are gone for good,
and their message ids can be appended again. Readers that are behind are told of the gap.`,
		Example: "  tidemark trim conv/42 --keep 10000",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			timeline := tidemark.TimelineID(args[0])
			return a.change(cmd.Context(), func(ctx context.Context, c *client.Client) (client.Timeline, error) {
				if cmd.Flags().Changed("first") {
					return c.Trim(ctx, timeline, tidemark.SeqID(first))
				}
				head, err := c.Timeline(ctx, timeline)
				if err != nil || head.Count <= keep {
					return head, err
				}
				return c.Trim(ctx, timeline, head.Last+1-tidemark.SeqID(keep))
			})
		},
	}
	cmd.Flags().Uint64Var(&first, "first", 0, "first `SeqId` that stays")
	cmd.Flags().Uint64Var(&keep, "keep", 0, "`number` of messages that stay")
	cmd.MarkFlagsOneRequired("first", "keep")
	cmd.MarkFlagsMutuallyExclusive("first", "keep")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete TIMELINE --yes",
		Short: "Delete a timeline",
		Long: `Take away all messages, cursors, recipients and attributes of a timeline, for good. What
it was is printed. Whoever appends to it later goes on behind its last SeqId.`,
		Example: "  tidemark delete conv/42 --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return exit.Usagef("--yes must be given: what is deleted cannot be brought back")
			}
			return a.change(cmd.Context(), func(ctx context.Context, c *client.Client) (client.Timeline, error) {
				return c.DeleteTimeline(ctx, tidemark.TimelineID(args[0]))
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "that it is meant")
	return cmd
}

// change makes a change of a timeline, and prints what it returns.
func (a *app) change(ctx context.Context, change func(context.Context, *client.Client) (client.Timeline, error)) error {
	return a.call(ctx, func(ctx context.Context, c *client.Client) error {
		timeline, err := change(ctx, c)
		if err != nil {
			return err
		}
		return a.printTimelines([]client.Timeline{timeline})
	})
}
