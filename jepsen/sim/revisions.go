package sim

import (
	"context"
	"fmt"

	"tidemark"
	"tidemark/fsm"
	"tidemark/jepsen/history"
)

// revisedID is the timeline whose messages are revised.
const revisedID tidemark.TimelineID = "revised/1"

// revisedInboxes are those that its messages are delivered to.
func revisedInboxes() []tidemark.TimelineID {
	return []tidemark.TimelineID{"revised-inbox/1", "revised-inbox/2"}
}

// workRevised appends to the timeline, or revises what a page of it shows, or counts what
// is unread there. It needs the feature level, which a group that is ready shows.
func (c *client) workRevised() {
	if !c.ready[0] {
		return
	}
	switch k := c.rng.IntN(10); {
	case k < 4:
		c.appendRevisable()
	case k < 8:
		c.reviseOne()
	default:
		c.countRevised()
	}
}

func (c *client) appendRevisable() {
	d := c.draft()
	d.Timeline = revisedID
	command := fsm.Append{Draft: d, FanOut: tidemark.FanOut{Inboxes: revisedInboxes()}}
	c.appendAs(history.Operation{Kind: history.KindRevised, Timeline: string(revisedID), Items: []history.Item{itemOf(&d)}},
		func(int) []byte { return command.Encode() })
}

// reviseOne revises a message of the newest page, which others may have revised since.
func (c *client) reviseOne() {
	page, ok := c.readPage(
		tidemark.Range{Timeline: revisedID, Start: tidemark.StartNewest, Direction: tidemark.Backward, Limit: pageLimit, MaxBytes: 1 << 20},
		history.Operation{Kind: history.KindRevised, Start: history.Newest, Direction: history.Backward},
	)
	if !ok {
		return
	}
	var targets []*tidemark.Message
	for i := range page.Messages {
		if page.Messages[i].Revises == nil {
			targets = append(targets, &page.Messages[i])
		}
	}
	if len(targets) == 0 {
		return
	}
	target := targets[c.rng.IntN(len(targets))]
	c.sent++
	asked := &history.Revise{MessageID: fmt.Sprintf("%s-r%d", c.name, c.sent), Target: uint64(target.SeqID), Redact: c.rng.IntN(5) == 0}
	command := fsm.Revise{
		Draft: tidemark.Draft{Timeline: revisedID, ID: tidemark.MessageID(asked.MessageID), Sender: c.name, ClientTime: tidemark.NoTime},
		SeqID: target.SeqID, Redact: asked.Redact,
	}
	if !asked.Redact {
		command.Draft.Type, command.Draft.Payload = "edited", c.draft().Payload
	}
	if c.rng.IntN(2) == 0 {
		seen := uint64(0)
		if target.Revision != nil {
			seen = target.Revision.Number
		}
		asked.Expected, command.Expected = &seen, &seen
	}
	becomes := target.Draft
	becomes.Type, becomes.Payload, becomes.Attributes = command.Draft.Type, command.Draft.Payload, nil
	asked.Content = history.ContentOf(&becomes)
	op := c.process.Begin(history.Operation{Kind: history.KindRevised, Timeline: string(revisedID), Revise: asked})
	proposal, unknown, err := c.attempt(func(int) []byte { return command.Encode() })
	if err == nil {
		result := proposal.Result.(fsm.ReviseResult)
		if err = result.Err; err == nil {
			asked.Number, asked.SeqID = result.Revision, uint64(result.SeqID)
			c.session = max(c.session, uint64(proposal.Position))
		}
	}
	op.Outcome, op.Error = outcomeOf(err, unknown)
	c.process.End(op)
}

// countRevised marks a part as read, which does not matter to what is judged, and lists
// the cursors of a reader who has none elsewhere.
func (c *client) countRevised() {
	reader := tidemark.ReaderID(c.name + "#revisions")
	if last := c.pool.lastOf(revisedID); last > 0 {
		mark := tidemark.SeqID(1 + c.rng.Uint64N(uint64(last)))
		command := fsm.Ack{Reader: reader, Items: []fsm.AckItem{{Timeline: revisedID, Read: &mark}}}.Encode()
		if _, _, err := c.attempt(func(int) []byte { return command }); err != nil {
			return
		}
	}
	node := c.anyNode()
	op := history.Operation{Kind: history.KindRevised, Node: node.ID, Timeline: string(revisedID), Reader: string(reader)}
	c.chooseLevel(&op)
	begun := c.process.Begin(op)
	var page tidemark.CursorPage
	err := c.visit(node, func(ctx context.Context, p *process) (err error) {
		if begun.Staleness, err = p.await(ctx, begun); err == nil {
			page, err = p.store.CursorsByReader(reader, 0, pageLimit)
		}
		return err
	})
	begun.Outcome = history.OK
	if err != nil {
		begun.Outcome, begun.Error = history.Fail, err.Error()
	} else {
		showUnread(begun, &page)
	}
	c.process.End(begun)
}
