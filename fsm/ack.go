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
		if result.Cursors[i], err = t.move(a, &a.Items[i], &heads[i]); err != nil {
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
	if item.Floor != nil && *item.Floor > last+1 {
		return tidemark.Invalid(at.field("floor_seq_id"), "is %d, beyond the next sequence id %d", *item.Floor, last+1)
	}
	return nil
}

// move brings one cursor forward, or where a rewind says, and returns it. It writes
// nothing if no mark moves.
func (t *transition) move(a *Ack, item *AckItem, head *tidemark.Head) (tidemark.Cursor, error) {
	cursor, found, err := t.batch.Cursor(head.Number, a.Reader)
	if err != nil {
		return cursor, err
	}
	if !found {
		cursor = tidemark.Cursor{UpdatedTime: tidemark.NoTime}
	}
	cursor.Timeline, cursor.Reader = head.Timeline, a.Reader
	delivered, read, floor := forward(&cursor, item)
	if a.Rewind {
		delivered, read, floor = rewind(&cursor, item)
	}
	if planted.Is(planted.CursorRegress) && item.Delivered != nil {
		delivered, read = *item.Delivered, min(read, *item.Delivered)
	}
	if delivered == cursor.Delivered && read == cursor.Read && floor == cursor.Floor {
		return cursor, nil
	}
	cursor.Delivered, cursor.Read, cursor.Floor = delivered, read, floor
	// NoTime is the least Time, so this holds for a new cursor too. A leader
	// whose clock is behind never takes the time of a cursor back.
	cursor.UpdatedTime = max(cursor.UpdatedTime, t.time)
	t.batch.PutCursor(head.Number, cursor)
	return cursor, nil
}

// forward takes the maximum of each mark.
func forward(c *tidemark.Cursor, item *AckItem) (delivered, read, floor tidemark.SeqID) {
	delivered, read, floor = c.Delivered, c.Read, c.Floor
	if item.Delivered != nil {
		delivered = max(delivered, *item.Delivered)
	}
	if item.Read != nil {
		read = max(read, *item.Read)
		delivered = max(delivered, read)
	}
	if item.Floor != nil {
		floor = max(floor, *item.Floor)
	}
	return delivered, read, floor
}

// rewind takes the marks that are given. Of the other one of delivered and read only as
// much moves as keeps read within delivered.
func rewind(c *tidemark.Cursor, item *AckItem) (delivered, read, floor tidemark.SeqID) {
	delivered, read, floor = c.Delivered, c.Read, c.Floor
	if item.Delivered != nil {
		delivered = *item.Delivered
		read = min(read, delivered)
	}
	if item.Read != nil {
		read = *item.Read
		delivered = max(delivered, read)
	}
	if item.Floor != nil {
		floor = *item.Floor
	}
	return delivered, read, floor
}
