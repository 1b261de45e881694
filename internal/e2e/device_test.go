package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	tm "tidemark"
	"tidemark/client"
)

// device is what an app keeps on a phone: the messages of some timelines, as far as it has
// come in each, with what was edited or recalled since. docs/story.md shows parts of it.
type device struct {
	reader    tm.ReaderID
	timelines map[tm.TimelineID]*copied
}

// copied is one timeline on a device.
type copied struct {
	// previous is the digest before the first message, from which the others are verified.
	previous tm.Digest
	messages []client.Message
}

func newDevice(reader tm.ReaderID, timelines ...tm.TimelineID) *device {
	d := &device{reader: reader, timelines: map[tm.TimelineID]*copied{}}
	for _, timeline := range timelines {
		d.timelines[timeline] = &copied{}
	}
	return d
}

func (t *copied) last() tm.SeqID {
	if len(t.messages) == 0 {
		return 0
	}
	return t.messages[len(t.messages)-1].SeqID
}

// at is the message with the SeqID, or nil if the device does not have it.
func (t *copied) at(seq tm.SeqID) *client.Message {
	if len(t.messages) == 0 || seq < t.messages[0].SeqID || seq > t.last() {
		return nil
	}
	return &t.messages[seq-t.messages[0].SeqID]
}

// sync gets what is new in all timelines of the device, in as few calls as it takes.
func (d *device) sync(ctx context.Context, c *client.Client) error {
	request := client.SyncRequest{Reader: d.reader}
	for timeline, t := range d.timelines {
		request.Have = append(request.Have, client.Have{Timeline: timeline, After: t.last()})
	}
	for news, err := range c.SyncAll(ctx, request) {
		if err != nil {
			return err
		}
		t := d.timelines[news.Timeline.ID]
		if len(t.messages) == 0 {
			t.previous = news.PreviousDigest
		}
		for _, m := range news.Messages {
			if err := t.add(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// add appends the next message, and does to an older one what a revision entry says.
func (t *copied) add(m client.Message) error {
	if len(t.messages) > 0 && m.SeqID != t.last()+1 {
		return fmt.Errorf("message %d of %s follows %d", m.SeqID, m.Timeline, t.last())
	}
	t.messages = append(t.messages, m)
	if m.Revises == nil || m.Revises.Superseded || m.Revises.Gone {
		return nil
	}
	target := t.revised(&m)
	if target == nil {
		return nil // it is older than what the device has
	}
	revision := tm.Revision{Number: m.Revises.Number, SeqID: m.SeqID, Redacted: m.Revises.Redacted}
	if m.Source != nil {
		revision.SeqID = m.Source.SeqID
	}
	if target.Revision != nil {
		revision.Original = target.Revision.Original
	} else {
		words, err := target.Tidemark()
		if err != nil {
			return err
		}
		revision.Original = words.Hash(tm.HashPayload(words.Payload))
	}
	target.Type, target.Payload, target.Attributes, target.Revision = m.Type, m.Payload, m.Attributes, &revision
	return nil
}

// revised is the message that an entry revises: in an inbox, the entry of its source.
func (t *copied) revised(entry *client.Message) *client.Message {
	if entry.Source == nil {
		return t.at(entry.Revises.SeqID)
	}
	for i := range t.messages {
		s := t.messages[i].Source
		if s.Timeline == entry.Source.Timeline && s.SeqID == entry.Revises.SeqID {
			return &t.messages[i]
		}
	}
	return nil
}

// unread counts what a user has not read: behind the mark and not before the floor, by
// others, and neither redacted nor an entry that only tells of a revision.
func (t *copied) unread(user string, read, floor tm.SeqID) (count uint64) {
	for i := range t.messages {
		m := &t.messages[i]
		redacted := m.Revision != nil && m.Revision.Redacted
		if m.SeqID > read && m.SeqID >= floor && m.Revises == nil && !redacted && tm.UserOf(m.Sender) != user {
			count++
		}
	}
	return count
}

// same compares what the device has with what a node has: the digests, computed from the
// device's own messages, and what is shown of each.
func (t *copied) same(ctx context.Context, c *client.Client, timeline tm.TimelineID) error {
	head, err := c.Timeline(ctx, timeline)
	if err != nil {
		return err
	}
	if t.last() != head.Last || len(t.messages) == 0 {
		return fmt.Errorf("%s ends at %d on the device, and at %d", timeline, t.last(), head.Last)
	}
	verified, err := c.Verify(ctx, t.previous, t.messages)
	if err != nil || !verified.Equal {
		return fmt.Errorf("%s has other digests on the device: %+v, %v", timeline, verified, err)
	}
	i := 0
	for m, err := range c.Messages(ctx, timeline, client.From(t.messages[0].SeqID)) {
		if err != nil {
			return err
		}
		if i == len(t.messages) {
			return fmt.Errorf("%s has more than the device", timeline)
		}
		if err := sameShown(&t.messages[i], &m); err != nil {
			return fmt.Errorf("message %d of %s: %w", m.SeqID, timeline, err)
		}
		i++
	}
	return nil
}

// sameShown compares what an app shows of a message.
func sameShown(have, want *client.Message) error {
	number := func(m *client.Message) (n uint64, redacted bool) {
		if m.Revision == nil {
			return 0, false
		}
		return m.Revision.Number, m.Revision.Redacted
	}
	haveNumber, haveRedacted := number(have)
	wantNumber, wantRedacted := number(want)
	switch {
	case have.ID != want.ID || have.Sender != want.Sender || !have.ServerTime.Equal(want.ServerTime):
		return fmt.Errorf("the device has %q of %q, and it is %q of %q", have.ID, have.Sender, want.ID, want.Sender)
	case haveNumber != wantNumber || haveRedacted != wantRedacted:
		return fmt.Errorf("the device shows revision %d, and it is %d", haveNumber, wantNumber)
	case want.Revises == nil && (have.Type != want.Type || !bytes.Equal(have.Payload, want.Payload) || !maps.Equal(have.Attributes, want.Attributes)):
		return fmt.Errorf("the device shows %q, and it is %q", have.Payload, want.Payload)
	}
	return nil
}
