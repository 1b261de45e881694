package fsm

import (
	"maps"
	"slices"

	"tidemark"
)

// model is what the state machine should be, in maps and slices, with every rule in its
// shortest form.
type model struct {
	level     uint32
	timelines map[tidemark.TimelineID]*modelTimeline
}

type modelTimeline struct {
	messages   []modelMessage
	cursors    map[tidemark.ReaderID]tidemark.Cursor
	recipients map[tidemark.TimelineID]bool
	version    uint64
	time       tidemark.Time
	attributes map[string]string
	// trimmed counts the messages, from the first one on, that are gone.
	trimmed int
	deleted bool
}

// modelMessage is one of the timeline itself, or one that refers to another.
type modelMessage struct {
	draft  tidemark.Draft
	time   tidemark.Time
	source *tidemark.Source
	// content is the payload of the newest revision, and draft what was appended.
	content  string
	revision tidemark.Revision
	// revises and request are those of a revision entry.
	revises *tidemark.Revises
	request Revise
	// uncounted are revision entries, and what is redacted.
	uncounted bool
	// delivered is where references to it were put, as far as that is kept.
	delivered []tidemark.Source
}

func newModel() *model { return &model{level: 1, timelines: map[tidemark.TimelineID]*modelTimeline{}} }

func (m *model) clone() *model {
	c := newModel()
	c.level = m.level
	for id, line := range m.timelines {
		copied := *line
		copied.messages, copied.cursors, copied.recipients = slices.Clone(line.messages), maps.Clone(line.cursors), maps.Clone(line.recipients)
		copied.attributes = maps.Clone(line.attributes)
		c.timelines[id] = &copied
	}
	return c
}

func (m *model) timeline(id tidemark.TimelineID, now tidemark.Time) *modelTimeline {
	line := m.timelines[id]
	if line == nil {
		line = &modelTimeline{cursors: map[tidemark.ReaderID]tidemark.Cursor{}, recipients: map[tidemark.TimelineID]bool{}, time: now, attributes: map[string]string{}}
		m.timelines[id] = line
	}
	if line.deleted {
		line.deleted, line.time = false, max(line.time, now)
	}
	return line
}

// there is a timeline that exists, or nil.
func (m *model) there(id tidemark.TimelineID) *modelTimeline {
	if line := m.timelines[id]; line != nil && !line.deleted {
		return line
	}
	return nil
}

func (m *model) trim(c *Trim) (trimmed int, err error) {
	line := m.there(c.Timeline)
	if line == nil {
		return 0, tidemark.ErrTimelineNotFound
	}
	if c.First == 0 || int(c.First) > len(line.messages)+1 {
		return 0, tidemark.ErrInvalid
	}
	trimmed = max(int(c.First)-1-line.trimmed, 0)
	line.trimmed += trimmed
	return trimmed, nil
}

func (m *model) delete(id tidemark.TimelineID) error {
	line := m.there(id)
	if line == nil {
		return tidemark.ErrTimelineNotFound
	}
	line.deleted, line.trimmed, line.version = true, len(line.messages), 0
	clear(line.cursors)
	clear(line.attributes)
	line.recipients = map[tidemark.TimelineID]bool{}
	return nil
}

func (m *model) update(c *UpdateTimeline, now tidemark.Time) {
	line := m.timeline(c.Timeline, now)
	for _, key := range c.Remove {
		delete(line.attributes, key)
	}
	for _, attribute := range c.Set {
		line.attributes[attribute.Key] = attribute.Value
	}
}

func (m *model) importHistory(c *Import) (duplicates int, err error) {
	line, exists := m.timelines[c.Timeline], m.there(c.Timeline) != nil
	if line == nil {
		line = &modelTimeline{cursors: map[tidemark.ReaderID]tidemark.Cursor{}, recipients: map[tidemark.TimelineID]bool{}, attributes: map[string]string{}}
	}
	last, at, below := len(line.messages), line.time, 0
	if last == 0 {
		// Its messages may be older than it is, and start anywhere.
		at, below = tidemark.Time(tidemark.MinTime.UnixNano()), int(c.First)-1
		last = below
	}
	var added []modelMessage
	for i, item := range c.Items {
		seq := c.First + tidemark.SeqID(i)
		known := tidemark.SeqID(0)
		if exists {
			known = line.find(item.Draft.ID)
		}
		again := slices.ContainsFunc(added, func(m modelMessage) bool { return m.draft.ID == item.Draft.ID })
		switch {
		case item.Draft.Sender == "\xff":
			return 0, tidemark.ErrInvalid
		case again || known > 0 && (known != seq || line.messages[seq-1].revises != nil || line.messages[seq-1].draft.Sender != item.Draft.Sender || string(line.messages[seq-1].draft.Payload) != string(item.Draft.Payload)):
			return 0, tidemark.ErrMessageIDConflict
		case known > 0 && line.messages[seq-1].time != item.ServerTime:
			return 0, tidemark.ErrInvalid
		case known > 0 || exists && int(seq) <= line.trimmed:
			duplicates++
		case int(seq) != last+len(added)+1:
			return 0, tidemark.ErrSequenceConflict
		case item.ServerTime < at:
			return 0, tidemark.ErrInvalid
		default:
			at = item.ServerTime
			added = append(added, modelMessage{draft: item.Draft, time: at, content: string(item.Draft.Payload)})
		}
	}
	if len(added) > 0 {
		line.messages, line.trimmed = append(line.messages, make([]modelMessage, below)...), line.trimmed+below
		line.messages, line.time, line.deleted = append(line.messages, added...), at, false
		m.timelines[c.Timeline] = line
	}
	return duplicates, nil
}

func (l *modelTimeline) add(d tidemark.Draft, now tidemark.Time, source *tidemark.Source) tidemark.SeqID {
	l.time = max(l.time, now)
	l.messages = append(l.messages, modelMessage{draft: d, time: l.time, source: source, content: string(d.Payload)})
	return tidemark.SeqID(len(l.messages))
}

// find is the place of a message id among those that are no references.
func (l *modelTimeline) find(id tidemark.MessageID) tidemark.SeqID {
	for i, message := range l.messages {
		if i >= l.trimmed && message.source == nil && message.draft.ID == id {
			return tidemark.SeqID(i + 1)
		}
	}
	return 0
}

func (m *model) append(a *Append, now tidemark.Time) (tidemark.SeqID, error) {
	if a.Draft.Sender == "\xff" || slices.Contains(a.FanOut.Inboxes, a.Draft.Timeline) || a.AdvanceSender && a.Draft.Sender == "" {
		return 0, tidemark.ErrInvalid
	}
	last := tidemark.SeqID(0)
	if line := m.there(a.Draft.Timeline); line != nil {
		last = tidemark.SeqID(len(line.messages))
		if at := line.find(a.Draft.ID); at > 0 {
			if known := &line.messages[at-1].draft; line.messages[at-1].revises != nil || known.Sender != a.Draft.Sender || string(known.Payload) != string(a.Draft.Payload) {
				return 0, tidemark.ErrMessageIDConflict
			}
			return at, nil
		}
	}
	if a.Expected != nil && *a.Expected != last {
		return 0, tidemark.ErrSequenceConflict
	}
	line := m.timeline(a.Draft.Timeline, now)
	seq := line.add(a.Draft, now, nil)
	targets := map[tidemark.TimelineID]bool{}
	if a.FanOut.Recipients {
		maps.Copy(targets, line.recipients)
	}
	for _, inbox := range a.FanOut.Inboxes {
		targets[inbox] = true
	}
	for inbox := range targets {
		at := m.timeline(inbox, now).add(a.Draft, now, &tidemark.Source{Timeline: a.Draft.Timeline, SeqID: seq})
		if m.level >= revisionLevel {
			message := &line.messages[seq-1]
			message.delivered = append(message.delivered, tidemark.Source{Timeline: inbox, SeqID: at})
		}
	}
	if a.AdvanceSender {
		line.move(a.Draft.Timeline, tidemark.ReaderID(a.Draft.Sender), AckItem{Read: &seq}, false)
	}
	return seq, nil
}

func (m *model) revise(c *Revise, now tidemark.Time) (result ReviseResult) {
	line := m.there(c.Draft.Timeline)
	switch {
	case c.SeqID == 0 || c.Redact && len(c.Draft.Payload) > 0:
		return ReviseResult{Err: tidemark.ErrInvalid}
	case line == nil:
		return ReviseResult{Err: tidemark.ErrTimelineNotFound}
	}
	if at := line.find(c.Draft.ID); at > 0 {
		known := &line.messages[at-1]
		same := known.revises != nil && known.request.SeqID == c.SeqID && known.request.Redact == c.Redact &&
			known.draft.Sender == c.Draft.Sender && string(known.request.Draft.Payload) == string(c.Draft.Payload)
		if !same {
			return ReviseResult{Err: tidemark.ErrMessageIDConflict}
		}
		return ReviseResult{Revision: known.revises.Number, SeqID: at, Duplicate: true}
	}
	if int(c.SeqID) <= line.trimmed || int(c.SeqID) > len(line.messages) {
		return ReviseResult{Err: tidemark.ErrMessageNotFound}
	}
	target := &line.messages[c.SeqID-1]
	switch {
	case target.source != nil || target.revises != nil:
		return ReviseResult{Err: tidemark.ErrInvalid}
	case target.revision.Redacted:
		return ReviseResult{Err: tidemark.ErrRedacted}
	case c.Expected != nil && *c.Expected != target.revision.Number:
		return ReviseResult{Err: tidemark.ErrRevisionConflict}
	}
	number := target.revision.Number + 1
	entry := tidemark.Draft{ID: c.Draft.ID, Sender: c.Draft.Sender}
	result = ReviseResult{Revision: number, SeqID: line.addRevision(entry, now, nil)}
	target = &line.messages[c.SeqID-1] // adding may have moved it
	at := &line.messages[result.SeqID-1]
	at.revises, at.request = &tidemark.Revises{SeqID: c.SeqID, Number: number, Redacted: c.Redact}, *c
	target.revision = tidemark.Revision{Number: number, Time: at.time, SeqID: result.SeqID, Redacted: c.Redact}
	target.content, target.uncounted = string(c.Draft.Payload), c.Redact
	for _, delivery := range target.delivered {
		inbox := m.there(delivery.Timeline)
		if inbox == nil {
			continue
		}
		if c.Redact && int(delivery.SeqID) > inbox.trimmed {
			inbox.messages[delivery.SeqID-1].uncounted = true
		}
		inbox.addRevision(entry, now, &tidemark.Source{Timeline: c.Draft.Timeline, SeqID: result.SeqID})
		result.Inboxes++
	}
	return result
}

func (l *modelTimeline) addRevision(d tidemark.Draft, now tidemark.Time, source *tidemark.Source) tidemark.SeqID {
	at := l.add(d, now, source)
	l.messages[at-1].uncounted = true
	return at
}

func (l *modelTimeline) move(id tidemark.TimelineID, reader tidemark.ReaderID, item AckItem, rewind bool) {
	c := l.cursors[reader]
	before := c
	c.Timeline, c.Reader = id, reader
	set := func(mark *tidemark.SeqID, to *tidemark.SeqID) {
		if to != nil && (rewind || *to > *mark) {
			*mark = *to
		}
	}
	set(&c.Delivered, item.Delivered)
	if rewind && item.Delivered != nil {
		c.Read = min(c.Read, c.Delivered)
	}
	set(&c.Read, item.Read)
	c.Delivered = max(c.Delivered, c.Read)
	set(&c.Floor, item.Floor)
	if c.Delivered != before.Delivered || c.Read != before.Read || c.Floor != before.Floor {
		l.cursors[reader] = c
	}
}

func (m *model) ack(a *Ack) error {
	for _, item := range a.Items {
		line := m.there(item.Timeline)
		if line == nil {
			return tidemark.ErrTimelineNotFound
		}
		last := tidemark.SeqID(len(line.messages))
		for _, mark := range []*tidemark.SeqID{item.Delivered, item.Read} {
			if mark != nil && *mark > last {
				return tidemark.ErrInvalid
			}
		}
		if item.Floor != nil && *item.Floor > last+1 {
			return tidemark.ErrInvalid
		}
	}
	for _, item := range a.Items {
		m.timelines[item.Timeline].move(item.Timeline, a.Reader, item, a.Rewind)
	}
	return nil
}

func (m *model) setRecipients(c *SetRecipients, now tidemark.Time) (version uint64, err error) {
	if slices.Contains(c.Change.Add, c.Timeline) || slices.Contains(c.Change.Remove, c.Timeline) {
		return 0, tidemark.ErrInvalid
	}
	before := &modelTimeline{}
	if line := m.there(c.Timeline); line != nil {
		before = line
	}
	if c.Change.ExpectedVersion != nil && *c.Change.ExpectedVersion != before.version {
		return 0, tidemark.ErrRecipientsConflict
	}
	after := map[tidemark.TimelineID]bool{}
	if !c.Change.Replace {
		maps.Copy(after, before.recipients)
	}
	for _, inbox := range c.Change.Remove {
		delete(after, inbox)
	}
	for _, inbox := range c.Change.Add {
		after[inbox] = true
	}
	if before.version > 0 && maps.Equal(after, before.recipients) {
		return before.version, nil
	}
	line := m.timeline(c.Timeline, now)
	line.recipients = after
	line.version++
	return line.version, nil
}
