package fsm

import (
	"fmt"

	"tidemark"
	"tidemark/internal/planted"
)

// ack applies one Ack: all items are judged first, and cursors are written only
// if none fails.
func (t *transition) ack(a *Ack) (AckResult, error) {
	if err := checkName(string(a.Reader), rule1ReaderIDBytes, whole, "reader"); err != nil {
		return AckResult{Err: err}, nil
	}
	heads := make([]tidemark.Head, len(a.Items))
	for i := range a.Items {
		item := &a.Items[i]
		if err := checkName(string(item.Timeline), rule1TimelineIDBytes, place(i), "timeline"); err != nil {
			return AckResult{Err: err}, nil
		}
		head, exists, err := t.batch.Head(item.Timeline)
		if err != nil {
			return AckResult{}, err
		}
		if !exists {
			return AckResult{Err: fmt.Errorf("%s: %w", place(i), tidemark.ErrTimelineNotFound)}, nil
		}
		if err := checkMarks(item, place(i), head.Last); err != nil {
			return AckResult{Err: err}, nil
		}
		heads[i] = head
	}
	result := AckResult{Cursors: make([]tidemark.Cursor, len(a.Items)), Heads: heads}
	for i := range a.Items {
		var err error
		if result.Cursors[i], err = t.move(a.Reader, &a.Items[i], &heads[i]); err != nil {
			return AckResult{}, err
		}
	}
	return result, nil
}

// checkMarks refuses marks beyond the last SeqID: what is not there was not read.
func checkMarks(item *AckItem, at place, last tidemark.SeqID) error {
	if item.Delivered != nil && *item.Delivered > last {
		return tidemark.Invalid(at.field("delivered_seq_id"), "is %d, beyond the last sequence id %d", *item.Delivered, last)
	}
	if item.Read != nil && *item.Read > last {
		return tidemark.Invalid(at.field("read_seq_id"), "is %d, beyond the last sequence id %d", *item.Read, last)
	}
	return nil
}

// move brings one cursor forward and returns it. It writes nothing if no mark moves.
func (t *transition) move(reader tidemark.ReaderID, item *AckItem, head *tidemark.Head) (tidemark.Cursor, error) {
	cursor, found, err := t.batch.Cursor(head.Number, reader)
	if err != nil {
		return cursor, err
	}
	if !found {
		cursor = tidemark.Cursor{UpdatedTime: tidemark.NoTime}
	}
	cursor.Timeline, cursor.Reader = head.Timeline, reader
	delivered, read := cursor.Delivered, cursor.Read
	if item.Delivered != nil {
		delivered = max(delivered, *item.Delivered)
	}
	if item.Read != nil {
		read = max(read, *item.Read)
		delivered = max(delivered, read)
	}
	if planted.Is(planted.CursorRegress) && item.Delivered != nil {
		delivered, read = *item.Delivered, min(read, *item.Delivered)
	}
	if delivered == cursor.Delivered && read == cursor.Read {
		return cursor, nil
	}
	cursor.Delivered, cursor.Read = delivered, read
	// NoTime is the least Time, so this holds for a new cursor too. A leader
	// whose clock is behind never takes the time of a cursor back.
	cursor.UpdatedTime = max(cursor.UpdatedTime, t.time)
	t.batch.PutCursor(head.Number, cursor)
	return cursor, nil
}
