package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/exit"
	"tidemark/internal/exchange"
)

// syncFlags say whose timelines to pull, and how much.
type syncFlags struct {
	levelFlags
	reader          string
	all, ack        bool
	limit, maxBytes int
}

func (a *app) syncCommand() *cobra.Command {
	var f syncFlags
	cmd := &cobra.Command{
		Use:   "sync [TIMELINE[=SEQID]…]",
		Short: "Pull what is new in many timelines at once",
		Long: `Print what comes after a SeqId in each of the timelines: only those with news, in one
call and under one byte budget. A timeline without =SEQID is pulled from what --reader
has acknowledged as delivered, or from its start without a reader. With --reader alone,
the timelines in which the reader has a cursor are pulled: all of them with --all, and
the first 10,000 without.`,
		Example: `  tidemark sync conv/42=17 conv/7=0
  tidemark sync --reader alice#phone --ack
  tidemark sync --reader alice#phone --all -o jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := f.request(args)
			if err != nil {
				return err
			}
			level, err := f.consistency()
			if err != nil {
				return err
			}
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.sync(ctx, c, &f, request, level)
			})
		},
	}
	f.levelFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.reader, "reader", "", "`name` of the reader: a user, or user#device")
	flags.BoolVar(&f.all, "all", false, "pull until nothing is left, not once")
	flags.BoolVar(&f.ack, "ack", false, "acknowledge as delivered what was printed")
	flags.IntVar(&f.limit, "limit", tidemark.DefaultPageMessages, "messages of each timeline, at most 1000")
	flags.IntVar(&f.maxBytes, "max-bytes", 0, "bytes of one answer, at most 4 MiB; 0 is 2 MiB")
	return cmd
}

func (f *syncFlags) request(args []string) (client.SyncRequest, error) {
	request := client.SyncRequest{Reader: tidemark.ReaderID(f.reader), Limit: f.limit, MaxBytes: f.maxBytes}
	if f.ack && f.reader == "" {
		return request, exit.Usagef("--ack needs --reader")
	}
	if len(args) == 0 && f.reader == "" {
		return request, exit.Usagef("name timelines, or a --reader")
	}
	for _, arg := range args {
		have := client.Have{Timeline: tidemark.TimelineID(arg), FromCursor: f.reader != ""}
		if at := strings.LastIndexByte(arg, '='); at >= 0 {
			after, err := strconv.ParseUint(arg[at+1:], 10, 64)
			if err != nil {
				return request, exit.Usagef("%q does not end in =SEQID", arg)
			}
			have = client.Have{Timeline: tidemark.TimelineID(arg[:at]), After: tidemark.SeqID(after)}
		}
		request.Have = append(request.Have, have)
	}
	return request, nil
}

func (a *app) sync(ctx context.Context, c *client.Client, f *syncFlags, request client.SyncRequest, level client.Consistency) error {
	document := syncDocument{Timelines: []syncTimelineDocument{}}
	var timelines []client.SyncedTimeline
	if f.all {
		var err error
		if timelines, err = collect(c.SyncAll(ctx, request, level)); err != nil {
			return err
		}
	} else {
		synced, err := c.Sync(ctx, request, level)
		if err != nil {
			return err
		}
		timelines = synced.Timelines
		document.HasMore, document.NextPageToken, document.Position = synced.More, synced.NextPageToken, synced.Position.Token()
	}
	for i := range timelines {
		timeline, err := syncTimelineDocumentOf(&timelines[i])
		if err != nil {
			return err
		}
		document.Timelines = append(document.Timelines, timeline)
	}
	err := printList(a, document, document.Timelines, func(t *table) {
		t.row("TIMELINE", "SEQ", "SERVER TIME", "SENDER", "PAYLOAD")
		for i := range timelines {
			syncRows(t, &timelines[i])
		}
		if document.HasMore || document.NextPageToken != "" {
			t.row("")
			t.row("There is more.")
		}
	})
	if err != nil || !f.ack {
		return err
	}
	return acknowledge(ctx, c, request.Reader, timelines)
}

func syncRows(t *table, timeline *client.SyncedTimeline) {
	if timeline.Trimmed > 0 {
		t.row(timeline.Timeline.ID, "", "", "", "messages before "+timeline.Trimmed.String()+" are gone")
	}
	for i := range timeline.Messages {
		m := &timeline.Messages[i]
		t.row(m.Timeline, m.SeqID, m.ServerTime, m.Sender, payloadText(m.Payload))
	}
	if timeline.Timeline.Last < timeline.After {
		t.row(timeline.Timeline.ID, timeline.Timeline.Last, "", "", "is the last; "+timeline.After.String()+" is beyond it")
	}
	if timeline.More {
		t.row(timeline.Timeline.ID, "…", "", "", "up to "+timeline.Timeline.Last.String())
	}
}

// acknowledge marks as delivered what was printed.
func acknowledge(ctx context.Context, c *client.Client, reader tidemark.ReaderID, timelines []client.SyncedTimeline) error {
	last := make(map[tidemark.TimelineID]tidemark.SeqID)
	for i := range timelines {
		for j := range timelines[i].Messages {
			last[timelines[i].Timeline.ID] = timelines[i].Messages[j].SeqID
		}
	}
	var items []client.AckItem
	for timeline, seq := range last {
		items = append(items, client.AckItem{Timeline: timeline, Delivered: seq})
	}
	for len(items) > 0 {
		part := items[:min(len(items), tidemark.MaxAckItems)]
		if _, err := c.Ack(ctx, reader, part...); err != nil {
			return err
		}
		items = items[len(part):]
	}
	return nil
}

// syncDocument is what sync prints in JSON; in lines, each of Timelines is one.
type syncDocument struct {
	Timelines     []syncTimelineDocument `json:"timelines"`
	HasMore       bool                   `json:"has_more"`
	NextPageToken string                 `json:"next_page_token,omitempty"`
	Position      []byte                 `json:"position,omitempty"`
}

type syncTimelineDocument struct {
	Timeline       timelineDocument  `json:"timeline"`
	AfterSeqID     uint64            `json:"after_seq_id"`
	Messages       []exchange.Record `json:"messages"`
	PreviousDigest string            `json:"previous_digest"`
	HasMore        bool              `json:"has_more"`
	TrimmedToSeqID uint64            `json:"trimmed_to_seq_id,omitempty"`
	Cursor         *cursorDocument   `json:"cursor,omitempty"`
}

func syncTimelineDocumentOf(t *client.SyncedTimeline) (syncTimelineDocument, error) {
	document := syncTimelineDocument{
		Timeline: timelineDocumentOf(t.Timeline), AfterSeqID: uint64(t.After), Messages: make([]exchange.Record, len(t.Messages)),
		PreviousDigest: t.PreviousDigest.String(), HasMore: t.More, TrimmedToSeqID: uint64(t.Trimmed),
	}
	if t.Cursor.Reader != "" {
		cursor := cursorDocumentOf(t.Cursor)
		document.Cursor = &cursor
	}
	for i := range t.Messages {
		var err error
		if document.Messages[i], err = recordOf(&t.Messages[i]); err != nil {
			return document, err
		}
	}
	return document, nil
}
