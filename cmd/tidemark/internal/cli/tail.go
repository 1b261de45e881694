package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
)

// tailFlags say what to follow, and when to stop.
type tailFlags struct {
	after      uint64
	newest     bool
	notifyOnly bool
	untilQuiet bool
	limit      int
}

func (a *app) tailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail TIMELINE…",
		Short: "Follow timelines: print messages as they come",
		Long: `Print every message after a start, once and in order, as it comes, until Ctrl-C. When
the node that serves it fails, another one goes on. With -o json too, each message is
an object on a line of its own.`,
		Example: `  tidemark tail conv/42
  tidemark tail conv/42 --after 100 --until-caught-up
  tidemark tail inbox/alice inbox/bob --newest -o jsonl`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.limit < 0 {
				return exit.Usagef("--limit must not be negative; it is %d", f.limit)
			}
			return a.tail(cmd.Context(), &f, args)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.after, "after", 0, "start behind this `SeqId`")
	flags.BoolVar(&f.newest, "newest", false, "start behind the last message")
	flags.BoolVar(&f.notifyOnly, "notify-only", false, "print only up to which SeqId there are messages")
	flags.BoolVar(&f.untilQuiet, "until-caught-up", false, "stop when everything that there is was printed")
	flags.IntVar(&f.limit, "limit", 0, "stop after this many messages; 0 goes on")
	cmd.MarkFlagsMutuallyExclusive("after", "newest")
	return cmd
}

// tail prints events until ctx ends, or as the flags say.
func (a *app) tail(ctx context.Context, f *tailFlags, timelines []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	t, err := c.Tail()
	if err != nil {
		return err
	}
	defer t.Close()
	options := []client.FollowOption{client.After(tidemark.SeqID(f.after))}
	if f.newest {
		options = append(options, client.FromNow())
	}
	if f.notifyOnly {
		options = append(options, client.NotifyOnly())
	}
	behind := make(map[*client.Subscription]bool, len(timelines))
	for _, timeline := range timelines {
		s, err := t.Follow(tidemark.TimelineID(timeline), options...)
		if err != nil {
			return err
		}
		behind[s] = true
	}
	p := tailPrinter{app: a, left: f.limit}
	for {
		event, err := t.Next(ctx)
		if err != nil {
			return err
		}
		if done, err := p.print(&event); done || err != nil {
			return err
		}
		if event.CaughtUp {
			delete(behind, event.Subscription)
		}
		if f.untilQuiet && len(behind) == 0 {
			return nil
		}
	}
}

// tailPrinter prints each event at once, so that columns are only as wide as what
// stands in them.
type tailPrinter struct {
	app    *app
	headed bool
	// left is how many messages are still to be printed; 0 for all.
	left int
}

// print reports done when the last message that was asked for is printed.
func (p *tailPrinter) print(event *client.TailEvent) (done bool, err error) {
	timeline := event.Subscription.Timeline
	switch {
	case event.Err != nil:
		return true, event.Err
	case event.Trimmed > 0:
		fmt.Fprintf(p.app.Err, "tidemark: %s: messages before %d are gone\n", timeline, event.Trimmed)
	case event.Notified > 0 && p.app.global.output == outputTable:
		fmt.Fprintf(p.app.Out, "%s  up to %d\n", printable(string(timeline)), event.Notified)
	case event.Notified > 0:
		return false, p.app.printJSONLine(noticeDocument{Timeline: string(timeline), LastSeqID: uint64(event.Notified)})
	}
	for i := range event.Messages {
		if err := p.message(&event.Messages[i]); err != nil {
			return true, err
		}
		if p.left--; p.left == 0 {
			return true, nil
		}
	}
	return false, nil
}

// noticeDocument is what --notify-only prints in JSON.
type noticeDocument struct {
	Timeline  string `json:"timeline"`
	LastSeqID uint64 `json:"last_seq_id"`
}

func (p *tailPrinter) message(m *client.Message) error {
	if p.app.global.output != outputTable {
		record, err := recordOf(m)
		if err != nil {
			return err
		}
		return p.app.printJSONLine(record)
	}
	t := newTable(p.app.Out)
	if !p.headed {
		p.headed = true
		t.row("TIMELINE", "SEQ", "SERVER TIME", "SENDER", "PAYLOAD")
	}
	t.row(m.Timeline, m.SeqID, m.ServerTime, m.Sender, payloadText(m.Payload))
	return t.writer.Flush()
}
