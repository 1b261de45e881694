package report

import (
	"fmt"
	"slices"
	"strings"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
)

// shownAnomalies bounds the anomalies on a page, shownMessages the messages of an operation.
const (
	shownAnomalies = 30
	shownMessages  = 6
)

type anomalyView struct {
	checker.Anomaly
	Rows []operationRow
}

// operationRow is one operation as a person reads it.
type operationRow struct {
	ID, Process                          int64
	Invoked, Completed                   string
	Where, What, Outcome, Asked, Answers string
}

// anomalies are the first anomalies with the operations that show them.
func anomalies(p Page) []anomalyView {
	byID := map[int64]*history.Operation{}
	shown := p.Verdict.Anomalies[:min(shownAnomalies, len(p.Verdict.Anomalies))]
	for _, a := range shown {
		for _, id := range a.Operations {
			byID[id] = nil
		}
	}
	for i := range p.History.Operations {
		op := &p.History.Operations[i]
		if _, wanted := byID[op.ID]; wanted {
			byID[op.ID] = op
		}
	}
	var views []anomalyView
	for _, a := range shown {
		view := anomalyView{Anomaly: a}
		for _, id := range a.Operations {
			if op := byID[id]; op != nil {
				view.Rows = append(view.Rows, rowOf(op, a.Timeline))
			}
		}
		slices.SortStableFunc(view.Rows, func(a, b operationRow) int { return int(a.ID - b.ID) })
		views = append(views, view)
	}
	return views
}

// rowOf tells of an operation what concerns the timeline.
func rowOf(op *history.Operation, timeline string) operationRow {
	row := operationRow{
		ID: op.ID, Process: op.Process,
		Invoked: fmt.Sprintf("%.6f", op.Invoked.Seconds()), Completed: fmt.Sprintf("%.6f", op.Completed.Seconds()),
		Where: op.Client, What: string(op.Kind), Outcome: string(op.Outcome),
	}
	if op.Completed == history.NeverEnded {
		row.Completed = "never"
	}
	if op.Node != "" {
		row.Where += " at " + op.Node
	}
	for _, word := range []string{op.Via, op.Level} {
		if word != "" {
			row.What += " " + word
		}
	}
	if op.Error != "" {
		row.Outcome += ": " + op.Error
	}
	row.Asked, row.Answers = asked(op, timeline), answers(op, timeline)
	return row
}

func asked(op *history.Operation, timeline string) string {
	var parts []string
	for i := range op.Items {
		item := &op.Items[i]
		if timeline != "" && item.Timeline != timeline {
			continue
		}
		text := item.MessageID
		if item.Expected != nil {
			text += fmt.Sprintf(" if last is %d", *item.Expected)
		}
		parts = append(parts, text)
	}
	if op.Start != "" {
		parts = append(parts, fmt.Sprintf("%s %d, limit %d %s", op.Start, op.From, op.Limit, op.Direction))
	}
	if op.SessionAt > 0 {
		parts = append(parts, fmt.Sprintf("at position %d", op.SessionAt))
	}
	for _, ack := range op.Acks {
		parts = append(parts, fmt.Sprintf("%s delivered %d read %d", ack.Reader, ack.Delivered, ack.Read))
	}
	return strings.Join(parts, "; ")
}

func answers(op *history.Operation, timeline string) string {
	var parts []string
	for i := range op.Items {
		item := &op.Items[i]
		if item.SeqID == 0 || timeline != "" && item.Timeline != timeline {
			continue
		}
		text := fmt.Sprintf("%s is %d", item.MessageID, item.SeqID)
		if item.Duplicate {
			text += " (again)"
		}
		parts = append(parts, text)
	}
	if op.HeadLast > 0 {
		parts = append(parts, fmt.Sprintf("last is %d", op.HeadLast))
	}
	if op.Position > 0 {
		parts = append(parts, fmt.Sprintf("position %d", op.Position))
	}
	// Of a long page its two ends, where most anomalies are.
	for i := range op.Messages {
		if hidden := len(op.Messages) - shownMessages; hidden > 0 && i >= shownMessages/2 && i < shownMessages/2+hidden {
			if i == shownMessages/2 {
				parts = append(parts, fmt.Sprintf("… %d more …", hidden))
			}
			continue
		}
		parts = append(parts, fmt.Sprintf("%d: %s", op.Messages[i].SeqID, op.Messages[i].MessageID))
	}
	for i, cursor := range op.Cursors {
		if i == shownMessages {
			parts = append(parts, fmt.Sprintf("… and %d more cursors", len(op.Cursors)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s in %s delivered %d read %d", cursor.Reader, cursor.Timeline, cursor.Delivered, cursor.Read))
	}
	return strings.Join(parts, "; ")
}
