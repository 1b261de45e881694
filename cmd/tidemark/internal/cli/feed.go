package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/internal/exchange"
)

// feedFlags say what of the change feed to print, and when to stop.
type feedFlags struct {
	from   string
	now    bool
	prefix string
	follow bool
	limit  int
}

func (a *app) changesCommand() *cobra.Command {
	var f feedFlags
	cmd := &cobra.Command{
		Use:   "changes",
		Short: "Print what was changed in all timelines, in the order of the log",
		Long: `Print the messages that were appended or imported, the trims and the deletions of all
timelines in one order, from a position on; by default from the first change that is
retained, to the last one that there is. Each change has the position to go on from behind
it, which is the same on every node. With -o json too, each change is an object on a line
of its own.`,
		Example: `  tidemark changes
  tidemark changes --prefix conv/ --follow -o jsonl
  tidemark changes --from AQAAAAAAAAAB… --limit 100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.limit < 0 {
				return exit.Usagef("--limit must not be negative; it is %d", f.limit)
			}
			from, err := tidemark.ParseChangePositionText("--from", f.from)
			if err != nil {
				return exit.Usagef("%v", err)
			}
			options := []client.ChangesOption{client.ChangesFrom(from), client.ChangesOf(f.prefix), client.ChangesAt(client.Linearizable())}
			if f.now {
				options = append(options, client.ChangesFromNow())
			}
			return a.changes(cmd.Context(), &f, options)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "start behind this `POSITION`")
	flags.BoolVar(&f.now, "now", false, "start behind all that there is; with --follow")
	flags.StringVar(&f.prefix, "prefix", "", "only timelines whose ids begin with it")
	flags.BoolVar(&f.follow, "follow", false, "go on with what comes, until Ctrl-C")
	flags.IntVar(&f.limit, "limit", 0, "stop after this many changes; 0 goes on")
	cmd.MarkFlagsMutuallyExclusive("from", "now")
	return cmd
}

// changes prints the feed until ctx ends, or as the flags say. Without --follow each batch
// has to come within --timeout.
func (a *app) changes(ctx context.Context, f *feedFlags, options []client.ChangesOption) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	feed, err := c.Changes(options...)
	if err != nil {
		return err
	}
	defer feed.Close()
	p := feedPrinter{app: a, left: f.limit}
	print := func(ctx context.Context, progress func()) error {
		for {
			batch, err := feed.Next(ctx)
			if err != nil {
				return err
			}
			progress()
			if done, err := p.print(&batch); done || err != nil {
				return err
			}
			if batch.CaughtUp && !f.follow {
				return nil
			}
		}
	}
	if f.follow {
		err = print(ctx, func() {})
	} else {
		err = a.watch(ctx, print)
	}
	if !p.at.IsZero() {
		fmt.Fprintf(a.Err, "to go on from here: --from %s\n", p.at)
	}
	return err
}

// feedPrinter prints each batch at once, so that columns are only as wide as what stands in it.
type feedPrinter struct {
	app    *app
	headed bool
	// left is how many changes are still to be printed; 0 for all.
	left int
	// at is the place behind what was printed.
	at tidemark.ChangePosition
}

// changeDocument is a change in JSON. Change is appended, gone, trimmed or deleted.
type changeDocument struct {
	Position string `json:"position"`
	Timeline string `json:"timeline"`
	Change   string `json:"change"`
	// SeqID is that of the message, the first that is retained, or the last of what was deleted.
	SeqID   uint64           `json:"seq_id"`
	Message *exchange.Record `json:"message,omitempty"`
}

// print reports done when the last change that was asked for is printed.
func (p *feedPrinter) print(batch *client.ChangeBatch) (done bool, err error) {
	t := newTable(p.app.Out)
	for i := range batch.Changes {
		if err := p.change(t, &batch.Changes[i]); err != nil {
			return true, err
		}
		p.at = batch.Changes[i].Position
		if p.left--; p.left == 0 {
			return true, t.writer.Flush()
		}
	}
	p.at = batch.Position
	return false, t.writer.Flush()
}

func (p *feedPrinter) change(t *table, c *client.Change) error {
	what := map[tidemark.ChangeKind]string{
		tidemark.ChangeAppended: "appended", tidemark.ChangeTrimmed: "trimmed", tidemark.ChangeDeleted: "deleted",
	}[c.Kind]
	if c.Kind == tidemark.ChangeAppended && c.Message == nil {
		what = "gone"
	}
	if p.app.global.output == outputTable {
		if !p.headed {
			p.headed = true
			t.row("TIMELINE", "CHANGE", "SEQ", "SENDER", "PAYLOAD")
		}
		cells := []any{c.Timeline, what, c.SeqID}
		if c.Message != nil {
			cells = append(cells, c.Message.Sender, payloadText(c.Message.Payload))
		}
		t.row(cells...)
		return nil
	}
	document := changeDocument{Position: c.Position.String(), Timeline: string(c.Timeline), Change: what, SeqID: uint64(c.SeqID)}
	if c.Message != nil {
		record, err := recordOf(c.Message)
		if err != nil {
			return err
		}
		document.Message = &record
	}
	return p.app.printJSONLine(document)
}
