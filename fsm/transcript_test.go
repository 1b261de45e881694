package fsm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"tidemark"
	"tidemark/internal/crashfs"
)

// Transcripts of what commands do. Their directives:
//
//	apply       one call of ApplyBatch. The input has a line for each entry:
//	                entry INDEX/TERM t=TIME | members INDEX/TERM TEXT
//	            and below an entry one for each command:
//	                append TIMELINE MESSAGE_ID PAYLOAD [key=value …]
//	                batch                      the lines that start with "item" are its items,
//	                item …                     written as append
//	                ack READER [TIMELINE:DELIVERED:READ …]    either mark may be left out
//	                noop
//	            Text in double quotes is unquoted as in Go. x65 at the end of a word
//	            repeats what stands before it so many times.
//	heads       all timelines
//	cursors     the cursors of the timeline
//	applied     the applied record
//	reopen      close the store and open it again
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		b := newBench(t, crashfs.New())
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "apply":
				entries := parseEntries(t, d.Input)
				results, err := b.apply(entries...)
				if err != nil {
					return "stopped: " + err.Error() + "\n"
				}
				return renderResults(entries, results)
			case "heads":
				return renderHeads(b.heads())
			case "cursors":
				page, err := b.store.CursorsByTimeline(tidemark.TimelineID(d.CmdArgs[0].Key), 0, "", tidemark.MaxListItems)
				if err != nil {
					return err.Error() + "\n"
				}
				return renderCursors(page.Cursors, page.Heads)
			case "applied":
				a := b.machine.Applied()
				return fmt.Sprintf("index %d, term %d, members %q at %d, installed %d\n", a.Index, a.Term, a.Membership, a.MembershipIndex, a.InstalledIndex)
			case "reopen":
				b.reopen()
				return ""
			default:
				d.Fatalf(t, "unknown directive %s", d.Cmd)
				return ""
			}
		})
	})
}

func renderResults(entries []tidemark.Entry, results [][]any) string {
	var out strings.Builder
	for i, e := range entries {
		fmt.Fprintf(&out, "%d:", e.Index)
		if results[i] == nil {
			out.WriteString(" nil")
		}
		out.WriteString("\n")
		for _, result := range results[i] {
			renderResult(&out, result)
		}
	}
	return out.String()
}

func renderResult(out *strings.Builder, result any) {
	switch r := result.(type) {
	case AppendResult:
		fmt.Fprintf(out, "  append: %s\n", renderAppend(&r))
	case AppendBatchResult:
		if r.Err != nil {
			fmt.Fprintf(out, "  batch: error: %v\n", r.Err)
		} else {
			fmt.Fprintf(out, "  batch: ok\n")
		}
		for i := range r.Results {
			fmt.Fprintf(out, "    items[%d]: %s\n", i, renderAppend(&r.Results[i]))
		}
	case AckResult:
		if r.Err != nil {
			fmt.Fprintf(out, "  ack: error: %v\n", r.Err)
			return
		}
		fmt.Fprintf(out, "  ack: ok\n")
		for line := range strings.Lines(renderCursors(r.Cursors, r.Heads)) {
			out.WriteString("    " + line)
		}
	case NoopResult:
		out.WriteString("  noop\n")
	default:
		fmt.Fprintf(out, "  %#v\n", r)
	}
}

func renderAppend(r *AppendResult) string {
	if r.Err != nil {
		if *r != (AppendResult{Err: r.Err}) {
			return fmt.Sprintf("error with a result beside it: %+v", *r)
		}
		return "error: " + r.Err.Error()
	}
	text := fmt.Sprintf("seq %d, time %d, digest %.8s", r.SeqID, r.ServerTime, r.Digest)
	if r.Duplicate {
		text += ", duplicate"
	}
	return text
}

func renderHeads(heads []tidemark.Head) string {
	var out strings.Builder
	for _, h := range heads {
		fmt.Fprintf(&out, "%.40q: number %d, first %d, last %d, bytes %d, created %d, last time %d, digest %.8s\n",
			h.Timeline, h.Number, h.First, h.Last, h.Bytes, h.CreatedTime, h.LastTime, h.Digest)
	}
	return out.String()
}

func renderCursors(cursors []tidemark.Cursor, heads []tidemark.Head) string {
	var out strings.Builder
	for i, c := range cursors {
		updated := "never"
		if c.UpdatedTime != tidemark.NoTime {
			updated = strconv.FormatInt(int64(c.UpdatedTime), 10)
		}
		fmt.Fprintf(&out, "%s in %s: delivered %d, read %d of %d, updated %s\n", c.Reader, c.Timeline, c.Delivered, c.Read, heads[i].Last, updated)
	}
	return out.String()
}
