package cli

import (
	"context"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

func (a *app) timelinesCommand() *cobra.Command {
	var level levelFlags
	var prefix string
	var count bool
	cmd := &cobra.Command{
		Use:   "timelines [TIMELINE…]",
		Short: "List timelines: those named, or all with a prefix",
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := level.consistency()
			if err != nil {
				return err
			}
			if len(args) > 0 && prefix != "" {
				return exit.Usagef("--prefix does not go with names of timelines")
			}
			if len(args) > 0 && count {
				return exit.Usagef("--count does not go with names of timelines")
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if count {
					return a.countTimelines(ctx, c, prefix, chosen)
				}
				var timelines []client.Timeline
				for _, name := range args {
					timeline, err := c.Timeline(ctx, tidemark.TimelineID(name), chosen)
					if err != nil {
						return err
					}
					timelines = append(timelines, timeline)
				}
				if len(args) == 0 {
					if timelines, err = collect(c.Timelines(ctx, prefix, chosen)); err != nil {
						return err
					}
				}
				return a.printTimelines(timelines)
			})
		},
	}
	level.register(cmd)
	cmd.Flags().StringVar(&prefix, "prefix", "", "only timelines whose ids start with it")
	cmd.Flags().BoolVar(&count, "count", false, "only their number")
	return cmd
}

func (a *app) countTimelines(ctx context.Context, c *client.Client, prefix string, level client.Consistency) error {
	n, err := c.CountTimelines(ctx, prefix, level)
	if err != nil {
		return err
	}
	return a.printOne(struct {
		Count uint64 `json:"count"`
	}{n}, func(t *table) { t.row(n) })
}

func (a *app) printTimelines(timelines []client.Timeline) error {
	documents := make([]timelineDocument, len(timelines))
	for i, timeline := range timelines {
		documents[i] = timelineDocumentOf(timeline)
	}
	return printList(a, documents, documents, func(t *table) {
		t.row("TIMELINE", "FIRST", "LAST", "COUNT", "BYTES", "LAST TIME", "DIGEST")
		for _, timeline := range timelines {
			t.row(timeline.ID, timeline.First, timeline.Last, timeline.Count, byteText(timeline.Bytes), timeline.LastTime, timeline.Digest)
		}
	})
}
