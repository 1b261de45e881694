package sim

import (
	"context"
	"errors"
	"fmt"

	"tidemark"
	"tidemark/jepsen/history"
)

// feed is what a client has got of the change feed.
type feed struct {
	position tidemark.ChangePosition
	// timelines are those that are judged; each has a process of its own.
	timelines map[tidemark.TimelineID]*fed
}

// fed is one timeline of a feed. Its first message is not the timeline's if the feed began later.
type fed struct {
	process *history.Process
	last    uint64
	digest  tidemark.Digest
}

func newFeed(recorder *history.Recorder, timelines []tidemark.TimelineID) *feed {
	f := &feed{timelines: make(map[tidemark.TimelineID]*fed)}
	for _, timeline := range timelines {
		f.timelines[timeline] = &fed{process: recorder.NewProcess("changes")}
	}
	return f
}

// changesLimit is how many changes a page has at most, of which there are more in some entries.
const changesLimit = 64

// readChanges goes on in the change feed on any node, and takes only a part of what it gets.
func (c *client) readChanges() {
	if !c.ready[0] {
		return
	}
	node := c.anyNode()
	var page tidemark.ChangesPage
	err := c.visit(node, func(_ context.Context, p *process) (err error) {
		page, err = p.store.Changes(tidemark.ChangesQuery{From: c.feed.position, MaxChanges: changesLimit, MaxBytes: 1 << 20})
		return err
	})
	if err != nil || len(page.Changes) == 0 {
		return
	}
	c.feed.take(node.ID, page.Changes[:1+c.rng.IntN(len(page.Changes))])
}

// take records changes, by timelines, and goes on behind the last of them.
func (f *feed) take(node string, changes []tidemark.Change) {
	operations := make(map[tidemark.TimelineID]*history.Operation)
	words := make(map[tidemark.TimelineID][]tidemark.Message)
	var order []tidemark.TimelineID
	for i := range changes {
		change := &changes[i]
		f.position = change.Position
		t := f.timelines[change.Timeline]
		if t == nil || change.Kind != tidemark.ChangeAppended || change.Message == nil {
			continue
		}
		op := operations[change.Timeline]
		if op == nil {
			started := ""
			if t.last == 0 && change.Seq > 1 { // the feed began with a feature level
				t.last, started = uint64(change.Seq)-1, history.FromSeq
			}
			op = t.process.Begin(history.Operation{Kind: history.KindChanges, Node: node, Timeline: string(change.Timeline), Start: started, From: t.last})
			operations[change.Timeline] = op
			order = append(order, change.Timeline)
		}
		op.Messages = append(op.Messages, seenOf(change.Message))
		op.Places = append(op.Places, history.Place{Index: change.Position.Index, Offset: change.Position.Offset})
		words[change.Timeline] = append(words[change.Timeline], *change.Message)
	}
	for _, timeline := range order {
		t, op, messages := f.timelines[timeline], operations[timeline], words[timeline]
		if op.Start == "" {
			op.BadDigest = history.FirstBadDigest(t.digest, messages)
		}
		op.Outcome = history.OK
		t.last, t.digest = op.Messages[len(op.Messages)-1].SeqID, messages[len(messages)-1].Digest
		t.process.End(op)
	}
}

// finishFeed has a client get the rest of the change feed from a node that holds all.
func (r *run) finishFeed(f *feed, p *process) {
	for {
		page, err := p.store.Changes(tidemark.ChangesQuery{From: f.position, MaxChanges: changesLimit, MaxBytes: 1 << 20})
		if errors.Is(err, tidemark.ErrUpgradeIncomplete) {
			return // no feature level was raised in this run
		}
		if err != nil {
			r.cluster.noteFailure(fmt.Errorf("%s: read back the change feed: %w", p.node.ID, err))
			return
		}
		f.take(p.node.ID, page.Changes)
		f.position = page.Next
		if !page.More {
			break
		}
	}
	for _, timeline := range r.pool.timelines {
		t := f.timelines[timeline]
		head, err := p.store.Head(timeline)
		if err != nil || t.last == 0 {
			continue // nothing was appended since the feed began
		}
		op := t.process.Begin(history.Operation{Kind: history.KindChangesEnd, Node: p.node.ID, Timeline: string(timeline), From: t.last})
		op.HeadLast, op.Outcome = uint64(head.Last), history.OK
		t.process.End(op)
	}
}
