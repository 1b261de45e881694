package fsm

import (
	"errors"
	"fmt"

	"tidemark"
	"tidemark/pebblestore"
)

// plan is what an atomic batch would do: the verdict on each item, and each
// timeline as the items before would leave it. Nothing is written while it is made.
type plan struct {
	verdicts []verdict
	// timelines is only looked up by key: the order of a map never decides anything.
	timelines map[tidemark.TimelineID]*plannedTimeline
	// failed is the first item that fails, or whole.
	failed place
}

type plannedTimeline struct {
	// head is also that of a timeline that was deleted, until an item makes it anew.
	head   tidemark.Head
	exists bool
	added  added
}

// add plans one message more.
func (p *plannedTimeline) add() {
	p.head.Last++
	p.head.Deleted = false
}

// seen is the head that an expectation is judged by: a timeline that was deleted holds nothing.
func (p *plannedTimeline) seen() *tidemark.Head {
	head := p.head
	if head.Deleted {
		head.Last = 0
	}
	return &head
}

// added are messages that items before would append, as the store would know them.
type added map[tidemark.MessageID]pebblestore.DedupeEntry

// appendBatch applies one AppendBatch: all items are judged first, and executed
// only if none fails.
func (t *transition) appendBatch(b *AppendBatch) (AppendBatchResult, error) {
	p := plan{
		verdicts:  make([]verdict, len(b.Items)),
		timelines: make(map[tidemark.TimelineID]*plannedTimeline),
		failed:    whole,
	}
	for i := range b.Items {
		if err := t.planItem(&p, &b.Items[i], place(i)); err != nil {
			return AppendBatchResult{}, err
		}
	}
	if p.failed != whole {
		return p.abort(), nil
	}
	result := AppendBatchResult{Results: make([]AppendResult, len(b.Items))}
	for i := range b.Items {
		head, exists, err := t.batch.Head(b.Items[i].Draft.Timeline)
		if err != nil {
			return AppendBatchResult{}, err
		}
		if result.Results[i], err = t.execute(&b.Items[i], &head, exists, &p.verdicts[i]); err != nil {
			return AppendBatchResult{}, err
		}
	}
	return result, nil
}

// planItem judges one item. After the first item that fails, the last SeqID that
// a later one would have met is not known, so none is blamed for its expected one.
func (t *transition) planItem(p *plan, a *Append, item place) error {
	v := &p.verdicts[item]
	if v.err = checkAppend(a, item); v.err == nil {
		timeline, err := t.planTimeline(p, a.Draft.Timeline)
		if err != nil {
			return err
		}
		if *v, err = t.judge(a, timeline.seen(), timeline.exists, timeline.added); err != nil {
			return err
		}
		if p.failed != whole && errors.Is(v.err, tidemark.ErrSequenceConflict) {
			v.err = nil
		}
		if v.err == nil && v.duplicate == 0 {
			timeline.add()
			timeline.added[a.Draft.ID] = pebblestore.DedupeEntry{SeqID: timeline.head.Last, Content: [16]byte(v.content[:])}
			if err := t.planFanOut(p, a, timeline); err != nil {
				return err
			}
		}
	}
	if v.err != nil && p.failed == whole {
		p.failed = item
	}
	return nil
}

// planFanOut counts what the item would deliver, for the expectations of later ones.
func (t *transition) planFanOut(p *plan, a *Append, timeline *plannedTimeline) error {
	if a.FanOut.None() {
		return nil
	}
	fanOut := a.FanOut
	fanOut.Recipients = fanOut.Recipients && timeline.exists // one that is made here has no set
	targets, _, err := t.targets(&fanOut, timeline.head.Number)
	if err != nil {
		return err
	}
	for _, inbox := range targets {
		planned, err := t.planTimeline(p, inbox)
		if err != nil {
			return err
		}
		planned.add()
	}
	return nil
}

func (t *transition) planTimeline(p *plan, id tidemark.TimelineID) (*plannedTimeline, error) {
	if planned := p.timelines[id]; planned != nil {
		return planned, nil
	}
	head, found, err := t.batch.AnyHead(id)
	if err != nil {
		return nil, err
	}
	planned := &plannedTimeline{head: head, exists: found && !head.Deleted, added: make(added)}
	p.timelines[id] = planned
	return planned, nil
}

// abort is the result of a batch that failed.
func (p *plan) abort() AppendBatchResult {
	result := AppendBatchResult{Results: make([]AppendResult, len(p.verdicts))}
	for i := range p.verdicts {
		if result.Results[i].Err = p.verdicts[i].err; result.Results[i].Err == nil {
			result.Results[i].Err = tidemark.ErrBatchAborted
		}
	}
	result.Err = p.verdicts[p.failed].err
	if !errors.Is(result.Err, tidemark.ErrInvalid) { // which names the item itself
		result.Err = fmt.Errorf("%s: %w", p.failed, result.Err)
	}
	return result
}
