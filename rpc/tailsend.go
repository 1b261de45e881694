package rpc

import (
	"errors"
	"math"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// maxCredit is the most that a client can have: more than it can ever use.
const maxCredit = math.MaxUint64 >> 1

// gather makes the next response of what there is; without events if there is nothing,
// or no credit for it.
func (t *tailStream) gather() (*tailBatch, error) {
	response := &tailBatch{}
	size := 0
	for size < tailResponseBytes && response.count < tailResponseEvents {
		s, credit := t.next(response)
		if s == nil {
			break
		}
		if t.server.isStopping() {
			break
		}
		n, err := t.advance(s, credit, response)
		if err != nil {
			return nil, err
		}
		size += n
	}
	return response, nil
}

// next moves the answers to requests into the response, and takes the next subscription
// out of the queue, with how much may be sent of it; nil if there is none. The answers
// come first, so that nothing follows the one that ends a subscription.
func (t *tailStream) next(response *tailBatch) (*subscription, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.notes) > 0 {
		response.add(t.notes...)
		t.notes = nil
		signal(t.room)
	}
	for {
		s := t.queue.pop()
		if s == nil {
			return nil, 0
		}
		s.queued = false
		if s.ended {
			continue
		}
		if !t.metered {
			return s, math.MaxUint64
		}
		return s, t.credit
	}
}

// advance sends what one turn of a subscription has, and queues it again if there is
// more. It returns about how many bytes that is.
func (t *tailStream) advance(s *subscription, credit uint64, response *tailBatch) (size int, err error) {
	limit := tailPageMessages
	switch {
	case s.notifyOnly || s.fromNewest:
		// One message shows the head, and is not sent.
		limit = 1
	case credit == 0:
		// Without credit, it is only found whether it has caught up.
		limit = 1
	default:
		limit = int(min(uint64(limit), credit))
	}
	memory := takePageMemory()
	defer givePageMemory(memory)
	page, err := t.readTail(s, limit, memory)
	if err != nil {
		return 0, err
	}
	if s.fromNewest {
		s.fromNewest, s.position = false, page.Head.Last
		page.Messages, page.More = nil, false
	}
	emit := func(event *tidemarkv1.TailEvent) {
		event.Tag = s.tag
		response.add(event)
	}
	if first := page.Head.First; first > s.position+1 {
		emit(&tidemarkv1.TailEvent{Event: &tidemarkv1.TailEvent_Trimmed{Trimmed: &tidemarkv1.TailTrimmed{FirstSeqId: uint64(first)}}})
		s.position = first - 1
	}
	behind := page.Head.Last > s.position
	switch {
	case behind && credit == 0:
		t.waitForCredit(s)
		return 0, nil
	case behind && s.notifyOnly:
		t.spend(1)
		s.position = page.Head.Last
		emit(&tidemarkv1.TailEvent{Event: &tidemarkv1.TailEvent_Notice{Notice: &tidemarkv1.TailNotice{LastSeqId: uint64(s.position)}}})
		t.saw(&page)
	case behind:
		t.spend(uint64(len(page.Messages)))
		s.position = page.Messages[len(page.Messages)-1].SeqID
		if err := response.addPage(s.tag, &page); err != nil {
			return 0, err
		}
		for i := range page.Messages {
			size += page.Messages[i].Size()
		}
		t.saw(&page)
	}
	switch {
	case s.position < page.Head.Last:
		s.live = false
		t.ready(s)
	case s.position == page.Head.Last && !s.live:
		s.live = true
		emit(&tidemarkv1.TailEvent{Event: &tidemarkv1.TailEvent_CaughtUp{CaughtUp: &tidemarkv1.TailCaughtUp{LastSeqId: uint64(page.Head.Last)}}})
	}
	return size, nil
}

// readTail reads the next page of a subscription. A timeline that does not exist is empty.
func (t *tailStream) readTail(s *subscription, limit int, memory *tidemark.PageMemory) (tidemark.Page, error) {
	release, err := t.server.admission.waitPage(t.ctx, tailPageBytes)
	if err != nil {
		return tidemark.Page{}, err
	}
	defer release()
	page, err := t.server.Store.Read(tidemark.Range{
		Timeline: s.topic.timeline, Start: tidemark.StartSeq, Seq: s.position + 1, Direction: tidemark.Forward,
		Limit: limit, MaxBytes: tailPageBytes, Memory: memory,
	})
	if errors.Is(err, tidemark.ErrTimelineNotFound) {
		return tidemark.Page{Head: tidemark.Head{First: 1}}, nil
	}
	return page, err
}

// saw takes note of what the client will have seen.
func (t *tailStream) saw(page *tidemark.Page) { t.seen = max(t.seen, page.Applied) }

func (t *tailStream) spend(messages uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.metered {
		t.credit -= messages
	}
}

// waitForCredit puts a subscription aside that has something to send, and nothing to
// pay for it.
func (t *tailStream) waitForCredit(s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.ended || s.queued {
		return
	}
	s.queued = true
	t.unpaid = append(t.unpaid, s)
}
