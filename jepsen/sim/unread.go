package sim

import (
	"context"
	"fmt"

	"tidemark"
	"tidemark/jepsen/history"
)

// devices is how many devices each client has, as a reader. What it sends itself is not
// unread on any of them.
const devices = 2

func deviceID(client string, device int) tidemark.ReaderID {
	return tidemark.ReaderID(fmt.Sprintf("%s#%d", client, device+1))
}

func (c *client) device() tidemark.ReaderID { return deviceID(c.name, c.rng.IntN(devices)) }

// devices are those of all clients.
func (r *run) devices() (readers []tidemark.ReaderID) {
	for i := range r.cluster.options.Clients {
		for device := range devices {
			readers = append(readers, deviceID(clientName(i), device))
		}
	}
	return readers
}

// listUnread lists the cursors of a device with their counts of what is unread.
func (c *client) listUnread() {
	node := c.anyNode()
	reader := c.device()
	op := history.Operation{Kind: history.KindCursors, Node: node.ID, Reader: string(reader)}
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
		c.session = max(c.session, page.Applied)
	}
	c.process.End(begun)
}

// showUnread records what a listing shows.
func showUnread(op *history.Operation, page *tidemark.CursorPage) {
	op.Cursors, op.More, op.AppliedIndex, op.Position = cursorsSeen(page.Cursors), page.More, page.Applied, page.Applied
	for i := range op.Cursors {
		op.Cursors[i].Unread, op.Cursors[i].Last = &page.Unread[i], uint64(page.Heads[i].Last)
	}
}

// readUnread records what a node counts in the end.
func (r *run) readUnread(process *history.Process, p *process, reader tidemark.ReaderID) {
	op := process.Begin(history.Operation{Kind: history.KindFinalCursors, Node: p.node.ID, Level: history.Local, Reader: string(reader)})
	page, err := p.store.CursorsByReader(reader, 0, finalLimit)
	op.Outcome = history.OK
	if err != nil {
		op.Outcome, op.Error = history.Fail, err.Error()
		r.cluster.noteFailure(fmt.Errorf("%s: read back cursors of %s: %w", p.node.ID, reader, err))
	} else {
		showUnread(op, &page)
	}
	process.End(op)
}
