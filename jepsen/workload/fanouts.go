package workload

import (
	"context"
	"fmt"
	"slices"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// fanouts appends to groups, and so to the inboxes of their members, and reads inboxes.
// The recipient set of a group is what it will be before anything is appended, so that
// each message has to be in each inbox of it.
type fanouts struct{}

func (fanouts) Name() string { return "fanout" }
func (fanouts) Threads() int { return 4 }

const (
	groups = 2
	// membersOfGroup are how many inboxes a group has; half of them are also those of the next.
	membersOfGroup = 6
	// listedInbox is delivered to by some appends, by its name.
	listedInbox = "inbox/listed"
)

// Groups are the timelines that are fanned out.
func Groups() (names []string) {
	for i := range groups {
		names = append(names, fmt.Sprintf("group/%d", i+1))
	}
	return names
}

// inboxesOf are the inboxes of the recipient set of the group with the number, from 0 on.
func inboxesOf(group int) (inboxes []string) {
	for i := range membersOfGroup {
		inboxes = append(inboxes, fmt.Sprintf("inbox/%d", group*membersOfGroup/2+i+1))
	}
	return inboxes
}

// Inboxes are all inboxes that anything may have been delivered to.
func Inboxes() []string {
	inboxes := []string{listedInbox}
	for i := range groups {
		inboxes = append(inboxes, inboxesOf(i)...)
	}
	slices.Sort(inboxes)
	return slices.Compact(inboxes)
}

func (fanouts) Run(ctx context.Context, t *Thread) {
	ready := make([]bool, groups)
	for {
		t.enterAny(anyDoor)
		group := t.rand.IntN(groups)
		switch {
		case !ready[group]:
			ready[group] = t.setRecipients(ctx, group)
		case t.chance(0.6):
			t.fanOut(ctx, group)
		default:
			inboxes := Inboxes()
			t.readInbox(ctx, inboxes[t.rand.IntN(len(inboxes))], t.level())
		}
		if !t.pause(ctx) {
			return
		}
	}
}

// setRecipients gives a group its set; whoever comes later finds it there.
func (t *Thread) setRecipients(ctx context.Context, group int) bool {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	change := tidemark.RecipientChange{Replace: true}
	for _, inbox := range inboxesOf(group) {
		change.Add = append(change.Add, tidemark.TimelineID(inbox))
	}
	_, err := t.door.SDK.SetRecipients(ctx, tidemark.TimelineID(Groups()[group]), change)
	return err == nil
}

// fanOut appends one message, and asks again with the same draft if it does not know.
func (t *Thread) fanOut(ctx context.Context, group int) {
	draft := t.draft(Groups()[group])
	inboxes := inboxesOf(group)
	options := []client.AppendOption{client.FanOut(), client.AdvanceSenderCursor()}
	if t.chance(0.3) {
		options = append(options, client.FanOutTo(listedInbox))
		inboxes = append(inboxes, listedInbox)
	}
	for range 2 {
		if t.fanOutOnce(ctx, draft, inboxes, options) != history.Unknown {
			return
		}
	}
}

func (t *Thread) fanOutOnce(ctx context.Context, draft client.Draft, inboxes []string, options []client.AppendOption) history.Outcome {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := t.process.Begin(history.Operation{
		Node: t.door.Node, Kind: history.KindFanOut, Via: history.ViaStream,
		Timeline: string(draft.Timeline), Items: []history.Item{itemOf(draft, nil)}, Inboxes: inboxes,
	})
	result, err := t.door.SDK.Append(ctx, draft, options...)
	op.Outcome, op.Error = writeOutcome(err)
	item := &op.Items[0]
	item.Outcome, item.Error = op.Outcome, op.Error
	if err == nil {
		fill(item, result)
	}
	t.end(op)
	return op.Outcome
}

// readInbox reads the end of an inbox.
func (t *Thread) readInbox(ctx context.Context, inbox, level string) {
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := history.Operation{
		Node: t.door.Node, Kind: history.KindInbox, Level: level, Timeline: inbox,
		Start: history.Newest, Direction: history.Backward, Limit: maxPage,
	}
	at := t.consistency(&op)
	begun := t.process.Begin(op)
	page, err := t.door.SDK.Read(ctx, tidemark.TimelineID(inbox), client.Newest(maxPage), at)
	if begun.Outcome, begun.Error = ReadOutcome(err); page != nil {
		Show(begun, page)
	}
	t.end(begun)
}
