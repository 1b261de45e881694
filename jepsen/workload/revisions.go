package workload

import (
	"context"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// revisions appends to timelines, edits and redacts what stands there, also on what others
// edit at the same time, reads and tails it from anywhere, and looks at what is unread.
type revisions struct{}

func (revisions) Name() string { return "revision" }
func (revisions) Threads() int { return 6 }

// RevisedTimelines are those whose messages are revised, and RevisedInboxes the inboxes that
// all of them are fanned out to.
func RevisedTimelines() []string { return []string{"revised/1", "revised/2"} }
func RevisedInboxes() []string   { return []string{"revised-inbox/1", "revised-inbox/2"} }

func (revisions) Run(ctx context.Context, t *Thread) {
	if t.number%2 == 0 && t.chance(0.5) {
		t.tail(ctx, RevisedTimelines(), history.KindRevisedTail, history.KindRevisedTailEnd)
		return
	}
	for {
		t.enterAny(anyDoor)
		timeline := RevisedTimelines()[t.rand.IntN(len(RevisedTimelines()))]
		switch n := t.rand.IntN(10); {
		case n < 4:
			t.appendRevisable(ctx, timeline)
		case n < 8:
			t.reviseOne(ctx, timeline)
		default:
			t.countRevised(ctx, timeline)
		}
		if !t.pause(ctx) {
			return
		}
	}
}

func (t *Thread) appendRevisable(ctx context.Context, timeline string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	draft := t.draft(timeline)
	op := t.process.Begin(history.Operation{
		Node: t.door.Node, Kind: history.KindRevised, Via: history.ViaStream, Timeline: timeline, Inboxes: RevisedInboxes(),
		Items: []history.Item{itemOf(draft, nil)},
	})
	var inboxes []tidemark.TimelineID
	for _, inbox := range RevisedInboxes() {
		inboxes = append(inboxes, tidemark.TimelineID(inbox))
	}
	result, err := t.door.SDK.Append(ctx, draft, client.FanOutTo(inboxes...))
	op.Outcome, op.Error = writeOutcome(err)
	item := &op.Items[0]
	item.Outcome, item.Error = op.Outcome, op.Error
	if err == nil {
		fill(item, result)
		t.Board.reached(timeline, item.SeqID)
	}
	t.end(op)
}

// reviseOne reads a page and revises one of its messages, which others may have revised since.
func (t *Thread) reviseOne(ctx context.Context, timeline string) {
	page := t.readRevised(ctx, timeline)
	if page == nil {
		return
	}
	var targets []*client.Message
	for i := range page.Messages {
		if page.Messages[i].Revises == nil {
			targets = append(targets, &page.Messages[i])
		}
	}
	if len(targets) == 0 {
		return
	}
	t.revise(ctx, targets[t.rand.IntN(len(targets))])
}

func (t *Thread) readRevised(ctx context.Context, timeline string) *client.Page {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := history.Operation{
		Node: t.door.Node, Kind: history.KindRevised, Level: t.level(), Timeline: timeline,
		Start: history.FromSeq, Direction: history.Forward, Limit: maxPage, From: 1,
	}
	if last := t.Board.last(timeline); last > maxPage {
		op.From = last - t.rand.Uint64N(maxPage)
	}
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	page, err := t.door.SDK.Read(ctx, tidemark.TimelineID(timeline), client.From(tidemark.SeqID(op.From)), client.Limit(maxPage), at)
	if begun.Outcome, begun.Error = ReadOutcome(err); page != nil {
		Show(begun, page)
		t.Board.reached(timeline, begun.HeadLast)
	}
	t.end(begun)
	return page
}

func (t *Thread) revise(ctx context.Context, m *client.Message) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	asked := &history.Revise{MessageID: t.Board.nextID(), Target: uint64(m.SeqID), Redact: t.chance(0.2)}
	options := []client.ReviseOption{client.RevisionID(tidemark.MessageID(asked.MessageID)), client.RevisedBy(t.door.Name)}
	if t.chance(0.6) {
		seen := uint64(0)
		if m.Revision != nil {
			seen = m.Revision.Number
		}
		asked.Expected = &seen
		options = append(options, client.ExpectRevision(seen))
	}
	becomes := m.Draft
	becomes.Type, becomes.Payload, becomes.Attributes = "", nil, nil
	if !asked.Redact {
		becomes.Type, becomes.Payload = "edited", t.payload()
	}
	words, err := becomes.Tidemark()
	if err != nil {
		return // a message with a time that is out of range, which another checker tells
	}
	asked.Content = history.ContentOf(&words)
	op := t.process.Begin(history.Operation{Node: t.door.Node, Kind: history.KindRevised, Timeline: string(m.Timeline), Revise: asked})
	var result client.ReviseResult
	if asked.Redact {
		result, err = t.door.SDK.Redact(ctx, m.Timeline, m.SeqID, options...)
	} else {
		result, err = t.door.SDK.Revise(ctx, m.Timeline, m.SeqID, client.Content{Type: becomes.Type, Payload: becomes.Payload}, options...)
	}
	if op.Outcome, op.Error = writeOutcome(err); err == nil {
		asked.Number, asked.SeqID = result.Revision, uint64(result.SeqID)
		t.Board.reached(op.Timeline, asked.SeqID)
	}
	t.end(op)
}

// countRevised marks a part of a timeline as read, by a device of the user of the thread's
// door, and asks what is unread.
func (t *Thread) countRevised(ctx context.Context, timeline string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	reader := tidemark.ReaderID(t.door.Name + "#revisions")
	if last := t.Board.last(timeline); last > 0 {
		// What is unread is judged by the answer alone, so that it does not matter whether
		// this was done.
		_, _ = t.door.SDK.Ack(ctx, reader, client.AckItem{Timeline: tidemark.TimelineID(timeline), Read: tidemark.SeqID(1 + t.rand.Uint64N(last))})
	}
	op := history.Operation{Node: t.door.Node, Kind: history.KindRevised, Level: t.level(), Timeline: timeline, Reader: string(reader)}
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	begun.Outcome, begun.Error = List(begun, t.door.SDK.ReaderCursors(ctx, reader, at))
	t.end(begun)
}
