package sim

import (
	"context"
	"fmt"
	"slices"

	"tidemark"
	"tidemark/fsm"
	"tidemark/jepsen/history"
)

const (
	// groups are the timelines that are fanned out.
	groups = 2
	// groupInboxes is how many inboxes the recipient set of a group has. Half of them are
	// also those of the next group.
	groupInboxes = 4
	// listedInbox is delivered to by some appends, by its name.
	listedInbox tidemark.TimelineID = "inbox/listed"
)

func groupID(group int) tidemark.TimelineID {
	return tidemark.TimelineID(fmt.Sprintf("group/%d", group+1))
}

// inboxesOf is the recipient set of a group, which it gets before anything is appended.
func inboxesOf(group int) (inboxes []tidemark.TimelineID) {
	for i := range groupInboxes {
		inboxes = append(inboxes, tidemark.TimelineID(fmt.Sprintf("inbox/%d", group*groupInboxes/2+i+1)))
	}
	return inboxes
}

// allInboxes are those that anything may have been delivered to.
func allInboxes() []tidemark.TimelineID {
	inboxes := []tidemark.TimelineID{listedInbox}
	for group := range groups {
		inboxes = append(inboxes, inboxesOf(group)...)
	}
	slices.Sort(inboxes)
	return slices.Compact(inboxes)
}

// fanOut appends a message to a group and the inboxes of its set, and to a listed one now
// and then. The first call gives the group its set.
func (c *client) fanOut() {
	group := c.rng.IntN(groups)
	if !c.ready[group] {
		c.ready[group] = c.setRecipients(group)
		return
	}
	d := c.draft()
	d.Timeline = groupID(group)
	command := fsm.Append{Draft: d, FanOut: tidemark.FanOut{Recipients: true}, AdvanceSender: true}
	inboxes := inboxesOf(group)
	if c.rng.IntN(3) == 0 {
		command.FanOut.Inboxes = []tidemark.TimelineID{listedInbox}
		inboxes = append(inboxes, listedInbox)
	}
	op := history.Operation{Kind: history.KindFanOut, Timeline: string(d.Timeline), Items: []history.Item{itemOf(&d)}}
	for _, inbox := range inboxes {
		op.Inboxes = append(op.Inboxes, string(inbox))
	}
	c.appendAs(op, func(int) []byte { return command.Encode() })
}

// setRecipients reports whether the group has its set. Package rpc refuses fan-outs
// before the feature level that has them was raised.
func (c *client) setRecipients(group int) bool {
	raised := false
	err := c.visit(c.anyNode(), func(_ context.Context, p *process) error {
		raised = p.machine.Level() == fsm.Level
		return nil
	})
	if err != nil || !raised {
		return false
	}
	command := fsm.SetRecipients{Timeline: groupID(group), Change: tidemark.RecipientChange{Replace: true, Add: inboxesOf(group)}}.Encode()
	proposal, _, err := c.attempt(func(int) []byte { return command })
	if err != nil {
		return false
	}
	result := proposal.Result.(fsm.SetRecipientsResult)
	return result.Err == nil && result.Count == groupInboxes
}

// readInbox reads the end of an inbox.
func (c *client) readInbox() {
	inboxes := allInboxes()
	inbox := inboxes[c.rng.IntN(len(inboxes))]
	c.readPage(
		tidemark.Range{Timeline: inbox, Start: tidemark.StartNewest, Direction: tidemark.Backward, Limit: pageLimit, MaxBytes: 1 << 20},
		history.Operation{Kind: history.KindInbox, Start: history.Newest, Direction: history.Backward},
	)
}
