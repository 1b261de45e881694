package checker

import (
	"tidemark/jepsen/history"
)

// malformedHistory finds records that no run can have made. A history with any is
// not worth a verdict: it is the harness that is broken.
func malformedHistory(x *index, f *findings) {
	ids := make(map[int64]bool, len(x.h.Operations))
	busy := make(map[int64]*history.Operation)
	ops := x.h.Operations
	ordered := make([]*history.Operation, len(ops))
	for i := range ops {
		ordered[i] = &ops[i]
	}
	sortByInvoked(ordered)
	for _, op := range ordered {
		this := []*history.Operation{op}
		if ids[op.ID] {
			f.add(op.Timeline, this, "operation id %d is there twice", op.ID)
		}
		ids[op.ID] = true
		if problem := malformed(op); problem != "" {
			f.add(op.Timeline, this, "operation %d (%s) %s", op.ID, op.Kind, problem)
		}
		before := busy[op.Process]
		if before != nil && (before.Completed == history.NeverEnded || before.Completed > op.Invoked || before.Outcome == history.Unknown) {
			f.add(op.Timeline, []*history.Operation{before, op}, "process %d began operation %d while operation %d had not ended", op.Process, op.ID, before.ID)
		}
		busy[op.Process] = op
	}
}

// malformed says what is wrong with a record, or nothing.
func malformed(op *history.Operation) string {
	ended := op.Completed != history.NeverEnded
	switch {
	case op.Outcome != history.OK && op.Outcome != history.Fail && op.Outcome != history.Unknown:
		return "has outcome " + string(op.Outcome)
	case op.Invoked < 0 || ended && op.Completed < op.Invoked:
		return "ended before it was invoked"
	case !ended && op.Outcome != history.Unknown:
		return "has an outcome and no end"
	}
	switch op.Kind {
	case history.KindAppend, history.KindBatch:
		return malformedItems(op)
	case history.KindFanOut:
		if len(op.Items) != 1 || len(op.Inboxes) == 0 {
			return "delivers nothing, or to nobody"
		}
	case history.KindRevised, history.KindRevisedTail, history.KindRevisedTailEnd, history.KindFinalRevised:
		switch {
		case op.Timeline == "":
			return "names no timeline"
		case op.Kind == history.KindRevisedTail && len(op.Messages) == 0:
			return "delivers nothing"
		case op.Revise != nil && (op.Revise.MessageID == "" || op.Revise.Target == 0):
			return "revises nothing"
		}
	case history.KindInbox, history.KindFinalInbox, history.KindKept, history.KindFinalKept:
		if op.Timeline == "" {
			return "names no timeline"
		}
	case history.KindRead, history.KindGet, history.KindHead:
		if op.Level != history.Linearizable && op.Level != history.Session && op.Level != history.Local {
			return "has no level"
		}
		fallthrough
	case history.KindTail, history.KindTailEnd, history.KindChanges, history.KindChangesEnd, history.KindFinalRead:
		if (op.Kind == history.KindTail || op.Kind == history.KindChanges) && len(op.Messages) == 0 {
			return "delivers nothing"
		}
		if op.Kind == history.KindChanges && len(op.Places) != len(op.Messages) {
			return "has a wrong number of places"
		}
		if op.Timeline == "" {
			return "names no timeline"
		}
	case history.KindAck:
		if len(op.Acks) == 0 {
			return "acknowledges nothing"
		}
	case history.KindCursors, history.KindFinalCursors:
		if op.Timeline == "" && op.Reader == "" {
			return "names no timeline and no reader"
		}
	default:
		return "is of no known kind"
	}
	if op.Kind.Final() && op.Node == "" {
		return "names no node"
	}
	return ""
}

func malformedItems(op *history.Operation) string {
	if len(op.Items) == 0 || op.Kind == history.KindAppend && len(op.Items) != 1 {
		return "has a wrong number of items"
	}
	for i := range op.Items {
		item := &op.Items[i]
		switch outcome := op.ItemOutcome(item); {
		case item.MessageID == "" || item.Timeline == "" && op.Timeline == "":
			return "has an item without message id or timeline"
		case outcome != history.OK && outcome != history.Fail && outcome != history.Unknown:
			return "has an item with outcome " + string(outcome)
		case outcome == history.OK && item.SeqID == 0:
			return "has an acknowledged item without SeqId"
		case outcome == history.OK && op.Completed == history.NeverEnded:
			return "has an acknowledged item and no end"
		}
	}
	return ""
}
