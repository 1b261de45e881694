package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/cmd/tidemark/internal/transfer"
	"tidemark/internal/exchange"
)

type transferDocument struct {
	Messages       int     `json:"messages"`
	Duplicates     int     `json:"duplicates"`
	Rejected       int     `json:"rejected"`
	LeftOut        int     `json:"left_out,omitempty"`
	ElapsedSeconds float64 `json:"elapsed_seconds"`
	Rate           float64 `json:"messages_per_second"`
}

func transferDocumentOf(s transfer.Summary) transferDocument {
	return transferDocument{s.Messages, s.Duplicates, s.Rejected, s.LeftOut, s.Elapsed.Seconds(), s.Rate()}
}

// maxInFlight bounds --in-flight. More than a stream may have proposed gains nothing.
const maxInFlight = 1 << 16

func (a *app) importCommand() *cobra.Command {
	var run transfer.Import
	var history bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Append the messages of a file",
		Long: `Append the messages of a file, one JSON object a line (see docs/format.md), in the order
of its lines within each timeline. A file that ends in .gz is unpacked; "-" is standard
input. It may be repeated: what is there already is counted as a duplicate.

It stops at the first line that is broken or refused, and names it. Lines before it are
imported. --timeout bounds how long nothing may be acknowledged.

With --history the messages keep the SeqIds and server times that an export gave them, in
timelines that do not exist or hold the same; digests are compared. Timelines that begin
with entries of inboxes are left out.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if run.InFlight < 1 || run.InFlight > maxInFlight {
				return exit.Usagef("--in-flight must be 1 to %d; it is %d", maxInFlight, run.InFlight)
			}
			if history {
				if run.SkipInvalid || cmd.Flags().Changed("in-flight") {
					return exit.Usagef("--history goes without --skip-invalid and --in-flight")
				}
				return a.runImport(cmd.Context(), args[0], func(ctx context.Context, c *client.Client, lines *exchange.Reader, imported func(int), _ func(*exchange.LineError)) (transfer.Summary, error) {
					return (&transfer.History{Imported: imported}).Run(ctx, c, lines)
				})
			}
			return a.runImport(cmd.Context(), args[0], func(ctx context.Context, c *client.Client, lines *exchange.Reader, imported func(int), rejected func(*exchange.LineError)) (transfer.Summary, error) {
				run.Acknowledged = func(*client.AppendResult) error {
					imported(1)
					return nil
				}
				run.Rejected = rejected
				return run.Run(ctx, c, lines)
			})
		},
	}
	cmd.Flags().BoolVar(&history, "history", false, "keep the SeqIds and server times of an export")
	cmd.Flags().BoolVar(&run.SkipInvalid, "skip-invalid", false, "tell of lines that are broken or refused, and go on")
	cmd.Flags().IntVar(&run.InFlight, "in-flight", transfer.DefaultInFlight, "messages that may be sent and not yet acknowledged")
	return cmd
}

// runImport imports a file by run, which tells what it has imported and what it skips.
func (a *app) runImport(ctx context.Context, name string,
	run func(ctx context.Context, c *client.Client, lines *exchange.Reader, imported func(int), rejected func(*exchange.LineError)) (transfer.Summary, error)) error {
	lines, err := exchange.Open(name)
	if err != nil {
		return err
	}
	defer lines.Close()
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	bar := a.progress("import", lines.Size(), lines.BytesRead)
	var summary transfer.Summary
	err = a.watch(ctx, func(ctx context.Context, progress func()) error {
		imported := func(n int) {
			bar.add(int64(n))
			progress()
		}
		rejected := func(err *exchange.LineError) { bar.say(fmt.Sprintf("%s: skipped %v", name, err)) }
		var err error
		summary, err = run(ctx, c, lines, imported, rejected)
		return err
	})
	bar.close()
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return fmt.Errorf("%s: %w (%d messages were acknowledged before; repeating the import appends none twice)", name, err, summary.Messages)
	}
	if err := a.printOne(transferDocumentOf(summary), func(t *table) { t.row("imported " + summary.String()) }); err != nil {
		return err
	}
	if summary.Rejected > 0 {
		return fmt.Errorf("%s: %d lines were skipped", name, summary.Rejected)
	}
	return nil
}

func (a *app) exportCommand() *cobra.Command {
	var run transfer.Export
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write all messages to a file",
		Long: `Write the messages of all timelines, or of those with a prefix, one JSON object a line (see
docs/format.md), to a file or to standard output. A file that ends in .gz is compressed.

Each timeline is written as it was when the timelines were listed. Every digest is
recomputed. The file appears under its name when it is whole.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := exchange.Stdin
			if len(args) > 0 {
				name = args[0]
			}
			return a.runExport(cmd.Context(), &run, name)
		},
	}
	cmd.Flags().StringVar(&run.Prefix, "prefix", "", "only timelines whose ids start with it")
	return cmd
}

func (a *app) runExport(ctx context.Context, run *transfer.Export, name string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	w := exchange.NewWriter(a.Out)
	if name != exchange.Stdin {
		if w, err = exchange.Create(name); err != nil {
			return err
		}
	}
	var bar *progressBar
	var summary transfer.Summary
	err = a.watch(ctx, func(ctx context.Context, progress func()) error {
		run.Total = func(messages uint64) { bar = a.progress("export", int64(messages), nil) }
		run.Written = func() {
			bar.add(1)
			progress()
		}
		var err error
		summary, err = run.Run(ctx, c, w)
		return err
	})
	if bar != nil {
		bar.close()
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Close(); err != nil {
		return err
	}
	text := fmt.Sprintf("exported %d messages in %v (%.0f messages/s)", summary.Messages, summary.Elapsed.Round(time.Millisecond), summary.Rate())
	if name == exchange.Stdin {
		// Standard output holds the messages.
		_, err := fmt.Fprintln(a.Err, text)
		return err
	}
	return a.printOne(transferDocumentOf(summary), func(t *table) { t.row(text) })
}
