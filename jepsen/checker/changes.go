package checker

import (
	"tidemark/jepsen/history"
)

// changeFeed finds readers of the change feed that missed a message of a timeline, or got
// one twice or out of order, or had not got everything when the load had ended; and
// messages that do not stand at one place of the feed alone, the same for all readers.
func changeFeed(x *index, f *findings) {
	continuity(x.feeds, "change feed", f)
	type sighted struct {
		op       *history.Operation
		timeline string
		seq      uint64
	}
	type message struct {
		timeline string
		seq      uint64
	}
	at, of := make(map[history.Place]sighted), make(map[message]history.Place)
	for _, op := range x.feeds {
		for i, place := range op.Places {
			m := message{op.Timeline, op.Messages[i].SeqID}
			first, known := at[place]
			if known && (message{first.timeline, first.seq}) != m {
				f.add(op.Timeline, []*history.Operation{first.op, op}, "at %d/%d of the change feed stands message %d, and message %d of %s",
					place.Index, place.Offset, m.seq, first.seq, first.timeline)
			} else if !known {
				at[place] = sighted{op, m.timeline, m.seq}
			}
			if other, known := of[m]; known && other != place {
				f.add(op.Timeline, []*history.Operation{at[other].op, op}, "message %d stands at %d/%d of the change feed, and at %d/%d",
					m.seq, other.Index, other.Offset, place.Index, place.Offset)
			} else if before, known := of[message{m.timeline, m.seq - 1}]; known && !before.Before(place) {
				f.add(op.Timeline, []*history.Operation{at[before].op, op}, "message %d stands at %d/%d of the change feed, before the message before it",
					m.seq, place.Index, place.Offset)
			}
			of[m] = place
		}
	}
}
