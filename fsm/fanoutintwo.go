package fsm

import "tidemark"

// lateDeliveries is a planted bug: what a fan-out leaves for the next entry, in memory.
type lateDeliveries []lateDelivery

type lateDelivery struct {
	message tidemark.Message
	source  uint64
	targets []tidemark.TimelineID
}

func (l *lateDeliveries) add(message *tidemark.Message, source uint64, targets []tidemark.TimelineID) {
	*l = append(*l, lateDelivery{*message, source, targets})
}

// deliverLate delivers what the entry before has left.
func (t *transition) deliverLate() error {
	late := *t.late
	*t.late = nil
	for i := range late {
		if err := t.deliverTo(late[i].targets, &late[i].message, late[i].source); err != nil {
			return err
		}
	}
	return nil
}
