package history

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"tidemark"
	"tidemark/client"
)

// Sent remembers what was sent, and what a cluster acknowledged of it. It is safe
// for concurrent use.
type Sent struct {
	mu           sync.Mutex
	timelines    map[tidemark.TimelineID]*sentTimeline
	order        []tidemark.TimelineID
	acknowledged int
}

type sentTimeline struct {
	// order is that of the calls of Send.
	order  []tidemark.MessageID
	drafts map[tidemark.MessageID]*tidemark.Draft
	acked  map[tidemark.MessageID]tidemark.SeqID
}

// NewSent remembers nothing yet.
func NewSent() *Sent { return &Sent{timelines: map[tidemark.TimelineID]*sentTimeline{}} }

// Send remembers a draft before it is sent.
func (s *Sent) Send(draft tidemark.Draft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	timeline := s.timelines[draft.Timeline]
	if timeline == nil {
		timeline = &sentTimeline{drafts: map[tidemark.MessageID]*tidemark.Draft{}, acked: map[tidemark.MessageID]tidemark.SeqID{}}
		s.timelines[draft.Timeline] = timeline
		s.order = append(s.order, draft.Timeline)
	}
	timeline.order = append(timeline.order, draft.ID)
	timeline.drafts[draft.ID] = &draft
}

// Acknowledge remembers an acknowledgement, and returns how many there are. Two for
// one message must name the same SeqID.
func (s *Sent) Acknowledge(timeline tidemark.TimelineID, id tidemark.MessageID, seq tidemark.SeqID) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked := s.timelines[timeline].acked
	if first, ok := acked[id]; ok {
		if first != seq {
			return s.acknowledged, fmt.Errorf("message %q of %q was acknowledged as %d and as %d", id, timeline, first, seq)
		}
		return s.acknowledged, nil
	}
	acked[id] = seq
	s.acknowledged++
	return s.acknowledged, nil
}

// Timelines are those that were sent to, in the order of the first message.
func (s *Sent) Timelines() []tidemark.TimelineID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// Acknowledged is how many messages were acknowledged.
func (s *Sent) Acknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acknowledged
}

// Expectation says what a timeline must hold beyond what always holds: every
// acknowledged message once, at its SeqID; no message twice; none that was not sent.
type Expectation struct {
	// All of what was sent, acknowledged or not.
	All bool
	// Ordered as it was sent, by one sender.
	Ordered bool
}

// Compare checks the messages of a timeline, as Read returned them.
func (s *Sent) Compare(id tidemark.TimelineID, messages []client.Message, want Expectation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	timeline := s.timelines[id]
	if timeline == nil {
		return fmt.Errorf("timeline %q: nothing was sent to it", id)
	}
	held := make(map[tidemark.MessageID]tidemark.SeqID, len(messages))
	for i := range messages {
		m := &messages[i]
		if first, twice := held[m.ID]; twice {
			return fmt.Errorf("timeline %q holds message %q twice, as %d and as %d", id, m.ID, first, m.SeqID)
		}
		held[m.ID] = m.SeqID
		draft := timeline.drafts[m.ID]
		if draft == nil {
			return fmt.Errorf("timeline %q holds message %q as %d, which nobody sent", id, m.ID, m.SeqID)
		}
		if err := sameContent(draft, m); err != nil {
			return fmt.Errorf("timeline %q, message %q at %d: %w", id, m.ID, m.SeqID, err)
		}
	}
	for acked, seq := range timeline.acked {
		if held[acked] != seq {
			return fmt.Errorf("timeline %q: message %q was acknowledged as %d and is at %d (0: it is lost)", id, acked, seq, held[acked])
		}
	}
	return timeline.compareOrder(id, messages, held, want)
}

func (t *sentTimeline) compareOrder(id tidemark.TimelineID, messages []client.Message, held map[tidemark.MessageID]tidemark.SeqID, want Expectation) error {
	if want.All && len(messages) != len(t.order) {
		for _, sent := range t.order {
			if held[sent] == 0 {
				return fmt.Errorf("timeline %q: message %q was sent and is not there (%d of %d are)", id, sent, len(messages), len(t.order))
			}
		}
	}
	if !want.Ordered {
		return nil
	}
	var last tidemark.SeqID
	for _, sent := range t.order {
		seq := held[sent]
		if seq == 0 {
			continue
		}
		if seq < last {
			return fmt.Errorf("timeline %q: message %q is at %d, before one that was sent before it", id, sent, seq)
		}
		last = seq
	}
	return nil
}

// sameContent finds a difference between what was sent and what is held.
func sameContent(draft *tidemark.Draft, m *client.Message) error {
	got, err := m.Tidemark()
	if err != nil {
		return err
	}
	switch {
	case got.Sender != draft.Sender:
		return fmt.Errorf("sender is %q, sent was %q", got.Sender, draft.Sender)
	case got.Type != draft.Type:
		return fmt.Errorf("type is %q, sent was %q", got.Type, draft.Type)
	case got.ClientTime != draft.ClientTime:
		return fmt.Errorf("client time is %v, sent was %v", got.ClientTime.Go(), draft.ClientTime.Go())
	case !bytes.Equal(got.Payload, draft.Payload):
		return errors.New("payload differs")
	case !slices.Equal(got.Attributes, draft.Attributes):
		return errors.New("attributes differ")
	}
	return nil
}
