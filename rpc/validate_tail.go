package rpc

import (
	"math"

	"tidemark"
	"tidemark/internal/planted"
	"tidemark/rpc/tidemarkv1"
)

// This file is validate.go for Tail.

// validateTailRequest refuses what concerns the request as a whole; what is wrong with
// one of its subscriptions is for parseTailSubscription.
func validateTailRequest(request *tidemarkv1.TailRequest) error {
	if err := refuseUnknownFields(request); err != nil {
		return err
	}
	if n := len(request.GetSubscribe()); n > tidemark.MaxTailRequestItems {
		return tidemark.Invalid("subscribe", "must hold at most %d items; it holds %d", tidemark.MaxTailRequestItems, n)
	}
	if n := len(request.GetUnsubscribe()); n > tidemark.MaxTailRequestItems {
		return tidemark.Invalid("unsubscribe", "must hold at most %d items; it holds %d", tidemark.MaxTailRequestItems, n)
	}
	return nil
}

// parseTailSubscription returns a subscription that belongs to no stream yet.
func parseTailSubscription(item *tidemarkv1.TailSubscription) (*subscription, tidemark.TimelineID, error) {
	timeline := tidemark.TimelineID(item.GetTimeline())
	if err := timeline.Validate("timeline"); err != nil {
		return nil, "", err
	}
	level, known := priorityOf[item.GetPriority()]
	if !known {
		return nil, "", tidemark.Invalid("priority", "is %d; it must be one of 0 to 3", item.GetPriority())
	}
	s := &subscription{tag: item.GetTag(), priority: level, notifyOnly: item.GetNotifyOnly()}
	switch start := item.GetStart().(type) {
	case *tidemarkv1.TailSubscription_AfterSeqId:
		if start.AfterSeqId == math.MaxUint64 {
			return nil, "", tidemark.Invalid("after_seq_id", "must be at most %d", uint64(math.MaxUint64-1))
		}
		s.position = tidemark.SeqID(start.AfterSeqId)
		if planted.Is(planted.TailSkip) && s.position > 0 {
			s.position++
		}
	case *tidemarkv1.TailSubscription_Newest:
		if !start.Newest {
			return nil, "", tidemark.Invalid("newest", "must be true if it is given; choose another start instead")
		}
		s.fromNewest = true
	}
	return s, timeline, nil
}
