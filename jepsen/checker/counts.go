package checker

import "tidemark/jepsen/history"

// Counts says how much a verdict stands on.
type Counts struct {
	Operations int `json:"operations"`
	Timelines  int `json:"timelines"`
	Processes  int `json:"processes"`
	// Appends are items, single or in batches, by outcome. Duplicates are among the acknowledged.
	AcknowledgedAppends int `json:"acknowledged_appends"`
	FailedAppends       int `json:"failed_appends"`
	UnknownAppends      int `json:"unknown_appends"`
	Duplicates          int `json:"duplicates"`
	// Reads are those that were answered, by level; gets and heads are reads.
	LinearizableReads int `json:"linearizable_reads"`
	SessionReads      int `json:"session_reads"`
	LocalReads        int `json:"local_reads"`
	// MessagesRead are those in pages, MessagesReadBack those in final reads.
	MessagesRead     int `json:"messages_read"`
	FinalReads       int `json:"final_reads"`
	MessagesReadBack int `json:"messages_read_back"`
	// MessagesTailed are those that tails delivered.
	MessagesTailed int `json:"messages_tailed"`
	Acks           int `json:"acks"`
	CursorReads    int `json:"cursor_reads"`
	Faults         int `json:"faults"`
	Samples        int `json:"samples"`
	LogEntries     int `json:"log_entries"`
}

func (x *index) counts() Counts {
	h := x.h
	c := Counts{Operations: len(h.Operations), Timelines: len(x.timelines),
		Faults: len(h.Faults), Samples: len(h.Samples), LogEntries: len(h.Logs)}
	processes := make(map[int64]struct{})
	for i := range h.Operations {
		op := &h.Operations[i]
		processes[op.Process] = struct{}{}
		c.countItems(op)
		if op.Outcome == history.OK {
			c.countAnswer(op)
		}
	}
	c.Processes = len(processes)
	return c
}

func (c *Counts) countItems(op *history.Operation) {
	for i := range op.Items {
		item := &op.Items[i]
		switch op.ItemOutcome(item) {
		case history.OK:
			c.AcknowledgedAppends++
			if item.Duplicate {
				c.Duplicates++
			}
		case history.Fail:
			c.FailedAppends++
		default:
			c.UnknownAppends++
		}
	}
}

func (c *Counts) countAnswer(op *history.Operation) {
	switch op.Kind {
	case history.KindFinalRead:
		c.FinalReads++
		c.MessagesReadBack += len(op.Messages)
	case history.KindTail:
		c.MessagesTailed += len(op.Messages)
	case history.KindAck:
		c.Acks++
	case history.KindCursors, history.KindFinalCursors:
		c.CursorReads++
	case history.KindRead, history.KindGet, history.KindHead:
		c.MessagesRead += len(op.Messages)
		switch op.Level {
		case history.Session:
			c.SessionReads++
		case history.Local:
			c.LocalReads++
		default:
			c.LinearizableReads++
		}
	}
}
