package client

import (
	"context"
	"fmt"
	"iter"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Messages pages through a timeline: forward in rising order of SeqID, backward
// (Newest, Before, Backward) in falling order. It ends where the timeline ends
// when its page is read. An error, such as tidemark.ErrTimelineNotFound, ends it too.
//
//	for message, err := range c.Messages(ctx, "conv/42", client.Newest(50)) {
//		if err != nil {
//			return err
//		}
//		…
//	}
//
// The level holds for the first page; the others show at least as much as the pages
// before them. AckPrevious does not go with it.
func (c *Client) Messages(ctx context.Context, timeline tidemark.TimelineID, opts ...ReadOption) iter.Seq2[Message, error] {
	o := c.readOptions(opts)
	return func(yield func(Message, error) bool) {
		if err := o.validate(); err != nil {
			yield(Message{}, err)
			return
		}
		if o.ack != nil {
			yield(Message{}, tidemark.Invalid("ack", "goes with Read, not with Messages"))
			return
		}
		walk := walk{c: c, options: o, request: o.request(c, timeline), left: o.limit}
		walk.run(ctx, yield)
	}
}

// walk is one run through the pages of a timeline.
type walk struct {
	c       *Client
	options readOptions
	request *pb.ReadRequest
	// left is how many messages are still asked for, if options.limit is not 0.
	left int
	// last is the SeqID of the message that was yielded last, or 0.
	last tidemark.SeqID
}

func (w *walk) run(ctx context.Context, yield func(Message, error) bool) {
	for {
		w.request.Limit = w.pageSize()
		page, err := w.c.read(ctx, w.request)
		if err == nil {
			err = w.check(page)
		}
		if err != nil {
			yield(Message{}, err)
			return
		}
		n := len(page.Messages)
		for i := range n {
			at := i
			if w.options.backward {
				at = n - 1 - i
			}
			w.last = page.Messages[at].SeqID
			if !yield(page.Messages[at], nil) {
				return
			}
		}
		w.left -= n
		if !page.More || n == 0 || w.options.limit > 0 && w.left <= 0 {
			return
		}
		w.advance(page)
	}
}

func (w *walk) pageSize() uint32 {
	size := w.options.pageSize
	if size == 0 {
		size = tidemark.MaxPageMessages
	}
	if w.options.limit > 0 {
		size = min(size, w.left)
	}
	return uint32(min(size, tidemark.MaxPageMessages))
}

// advance asks for the page after the last message.
func (w *walk) advance(page *Page) {
	if w.options.backward {
		w.request.Start = &pb.ReadRequest_BeforeSeqId{BeforeSeqId: uint64(w.last)}
	} else {
		w.request.Start = &pb.ReadRequest_FromSeqId{FromSeqId: uint64(w.last) + 1}
	}
	w.request.Consistency = following(page.Position.Token())
}

// check finds a hole: SeqIDs are dense, within a page and from page to page. Only
// trimming explains messages that are missing, and only before the first retained.
func (w *walk) check(page *Page) error {
	for i, message := range page.Messages {
		var want tidemark.SeqID
		switch {
		case i > 0:
			want = page.Messages[i-1].SeqID + 1
		case w.last == 0:
			continue
		case w.options.backward:
			want = w.last - tidemark.SeqID(len(page.Messages))
		default:
			want = max(w.last+1, page.Timeline.First, page.Floor)
		}
		if message.SeqID != want {
			return fmt.Errorf("%w: %s returned message %d of %q where %d was expected",
				tidemark.ErrCorrupt, page.Endpoint, message.SeqID, page.Timeline.ID, want)
		}
	}
	return nil
}

// following is the level of a page after another: at least what that one showed.
// Since a listing began when its first page was read, it need not show more than
// was there then; so it does not ask the leader again.
func following(position []byte) *pb.Consistency {
	return &pb.Consistency{Level: &pb.Consistency_Session_{Session: &pb.Consistency_Session{Position: position}}}
}
