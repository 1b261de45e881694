package cli

import (
	"context"

	"github.com/spf13/cobra"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/exchange"
)

func (a *app) explainCommand() *cobra.Command {
	var seq uint64
	var id string
	cmd := &cobra.Command{
		Use:   "explain TIMELINE --seq N | --message-id ID",
		Short: "Say what became of one message",
		Long: `Say what became of one message: where it is in the Raft log, which inboxes have it, which
cursors are past it, and which nodes have applied it.`,
		Example: "  tidemark explain conv/42 --message-id 0198c3f0-0000-7000-8000-000000000000",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			timeline := tidemark.TimelineID(args[0])
			return a.call(cmd.Context(), func(ctx context.Context, c *client.Client) (err error) {
				var e client.Explanation
				if cmd.Flags().Changed("message-id") {
					e, err = c.ExplainByID(ctx, timeline, tidemark.MessageID(id))
				} else {
					e, err = c.Explain(ctx, timeline, tidemark.SeqID(seq))
				}
				if err != nil {
					return err
				}
				return a.printExplanation(&e)
			})
		},
	}
	cmd.Flags().Uint64Var(&seq, "seq", 0, "`SeqId` of the message")
	cmd.Flags().StringVar(&id, "message-id", "", "message `id`")
	cmd.MarkFlagsOneRequired("seq", "message-id")
	cmd.MarkFlagsMutuallyExclusive("seq", "message-id")
	return cmd
}

type explanationDocument struct {
	Message        exchange.Record      `json:"message"`
	LogIndex       uint64               `json:"log_index,omitempty"`
	InboxCount     uint64               `json:"inbox_count"`
	Inboxes        []inboxEntryDocument `json:"inboxes,omitempty"`
	CursorCount    uint64               `json:"cursor_count"`
	DeliveredCount uint64               `json:"delivered_count"`
	ReadCount      uint64               `json:"read_count"`
	Cursors        []cursorDocument     `json:"cursors,omitempty"`
	Replicas       []replicaDocument    `json:"replicas"`
	Position       []byte               `json:"position"`
	AppliedIndex   uint64               `json:"applied_index"`
}

type inboxEntryDocument struct {
	Inbox string `json:"inbox"`
	SeqID uint64 `json:"seq_id"`
	Gone  bool   `json:"gone,omitempty"`
}

type replicaDocument struct {
	NodeID        string `json:"node_id"`
	ClientAddress string `json:"client_address,omitempty"`
	Reachable     bool   `json:"reachable"`
	AppliedIndex  uint64 `json:"applied_index,omitempty"`
	HasMessage    bool   `json:"has_message"`
}

func (a *app) printExplanation(e *client.Explanation) error {
	record, err := recordOf(&e.Message)
	if err != nil {
		return err
	}
	document := explanationDocument{
		Message: record, LogIndex: e.LogIndex, InboxCount: e.InboxCount, CursorCount: e.CursorCount, DeliveredCount: e.DeliveredCount,
		ReadCount: e.ReadCount, Position: e.Position.Token(), AppliedIndex: e.AppliedIndex,
	}
	for _, entry := range e.Inboxes {
		document.Inboxes = append(document.Inboxes, inboxEntryDocument{string(entry.Inbox), uint64(entry.SeqID), entry.Gone})
	}
	for _, cursor := range e.Cursors {
		document.Cursors = append(document.Cursors, cursorDocumentOf(cursor))
	}
	for _, r := range e.Replicas {
		document.Replicas = append(document.Replicas, replicaDocument{r.NodeID, r.ClientAddress, r.Reachable, r.AppliedIndex, r.HasMessage})
	}
	return a.printOne(document, func(t *table) { explanationRows(t, e) })
}

func explanationRows(t *table, e *client.Explanation) {
	m := &e.Message
	t.row("MESSAGE", m.ID, "of", m.Timeline)
	t.row("SEQ", m.SeqID, "at", m.ServerTime)
	if m.Source != nil {
		t.row("SOURCE", m.Source.Timeline, "seq", m.Source.SeqID)
	}
	if r := m.Revision; r != nil {
		t.row("REVISION", r.Number, "seq", r.SeqID)
		if r.Redacted {
			t.row("REDACTED", r.Redacted)
		}
	}
	if r := m.Revises; r != nil {
		t.row("REVISES", r.SeqID, "revision", r.Number)
	}
	index := any(e.LogIndex)
	if e.LogIndex == 0 {
		index = "unknown"
	}
	t.row("LOG INDEX", index)
	t.row("INBOXES", e.InboxCount)
	for _, entry := range e.Inboxes {
		state := "there"
		if entry.Gone {
			state = "gone"
		}
		t.row("  INBOX", entry.Inbox, "seq", entry.SeqID, state)
	}
	t.row("CURSORS", e.CursorCount, "delivered", e.DeliveredCount, "read", e.ReadCount)
	for _, cursor := range e.Cursors {
		t.row("  CURSOR", cursor.Reader, "delivered", cursor.Delivered, "read", cursor.Read)
	}
	for _, r := range e.Replicas {
		switch {
		case !r.Reachable:
			t.row("NODE", r.NodeID, "did not answer")
		case r.HasMessage:
			t.row("NODE", r.NodeID, "has applied it", "up to", r.AppliedIndex)
		default:
			t.row("NODE", r.NodeID, "may not have applied it", "up to", r.AppliedIndex)
		}
	}
}
