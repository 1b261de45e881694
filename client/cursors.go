package client

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// AckItem says how far a reader has come in one timeline. A mark of 0 is left as
// it is, and one below the present one changes nothing.
type AckItem struct {
	Timeline tidemark.TimelineID
	// Delivered and Read must not be beyond the timeline's last SeqID. Read implies Delivered.
	Delivered, Read tidemark.SeqID
	// Floor is the first message that the reader may see, who joined late or cleared the
	// history: at most one more than the last SeqID. It is honoured by reads with As, by
	// Sync, and by what is unread.
	Floor tidemark.SeqID
}

// Ack moves cursors of a reader forward, all or none, and returns them in the order
// of the items: 1 to 1,024, each of another timeline. It can be repeated at will.
func (c *Client) Ack(ctx context.Context, reader tidemark.ReaderID, items ...AckItem) ([]Cursor, error) {
	return c.ack(ctx, &pb.AckRequest{Reader: string(reader), Items: ackItems(items)})
}

// RewindItem says where the marks of a reader in one timeline are to be. A mark that is
// nil is left as it is, but for what keeps Read within Delivered; 0 stands for nothing.
type RewindItem struct {
	Timeline               tidemark.TimelineID
	Delivered, Read, Floor *tidemark.SeqID
}

// Rewind sets cursors of a reader to what is given, also back: mark as unread, or give the
// history back. All or none, as Ack. What another device acknowledges at the same time
// may come before or after it.
func (c *Client) Rewind(ctx context.Context, reader tidemark.ReaderID, items ...RewindItem) ([]Cursor, error) {
	request := &pb.AckRequest{Reader: string(reader), Rewind: true}
	for _, item := range items {
		request.Items = append(request.Items, &pb.AckItem{
			Timeline: string(item.Timeline), DeliveredSeqId: (*uint64)(item.Delivered), ReadSeqId: (*uint64)(item.Read), FloorSeqId: (*uint64)(item.Floor),
		})
	}
	return c.ack(ctx, request)
}

func (c *Client) ack(ctx context.Context, request *pb.AckRequest) ([]Cursor, error) {
	kind := call{name: "Ack", write: true, repeatable: !request.GetRewind()}
	return do(ctx, c, kind, func(ctx context.Context, node *endpoint) ([]Cursor, error) {
		reply, err := node.timelines.Ack(ctx, request)
		if err != nil {
			return nil, err
		}
		if _, err := c.observeToken(reply.GetPosition()); err != nil {
			return nil, err
		}
		return cursorsOf(reply.GetCursors()), nil
	})
}

func ackItems(items []AckItem) []*pb.AckItem {
	out := make([]*pb.AckItem, len(items))
	for i, item := range items {
		out[i] = &pb.AckItem{Timeline: string(item.Timeline)}
		if item.Delivered > 0 {
			out[i].DeliveredSeqId = proto.Uint64(uint64(item.Delivered))
		}
		if item.Read > 0 {
			out[i].ReadSeqId = proto.Uint64(uint64(item.Read))
		}
		if item.Floor > 0 {
			out[i].FloorSeqId = proto.Uint64(uint64(item.Floor))
		}
	}
	return out
}

// ListOption narrows a listing. Every Consistency is one.
type ListOption interface {
	applyList(*pb.ListCursorsRequest, *Consistency)
}

type listOption func(*pb.ListCursorsRequest)

func (f listOption) applyList(r *pb.ListCursorsRequest, _ *Consistency) { f(r) }

func (c Consistency) applyList(_ *pb.ListCursorsRequest, chosen *Consistency) { *chosen = c }

// ReadAtLeast keeps the cursors whose Read mark is at least seq: who has read it.
// It goes with a listing by timeline.
func ReadAtLeast(seq tidemark.SeqID) ListOption {
	return listOption(func(r *pb.ListCursorsRequest) { r.ReadAtLeast = uint64(seq) })
}

// TimelineCursors lists the cursors of a timeline, in byte order of the readers. An
// error ends the sequence.
func (c *Client) TimelineCursors(ctx context.Context, timeline tidemark.TimelineID, opts ...ListOption) iter.Seq2[Cursor, error] {
	return c.cursors(ctx, &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: string(timeline)}}, opts)
}

// ReaderCursors lists the cursors of a reader, in the order in which the timelines
// were created. An error ends the sequence.
func (c *Client) ReaderCursors(ctx context.Context, reader tidemark.ReaderID, opts ...ListOption) iter.Seq2[Cursor, error] {
	return c.cursors(ctx, &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: string(reader)}}, opts)
}

// Conversations lists the cursors of a reader with what is unread, the timeline with the
// newest message first: an app's list of conversations. One that gets a message meanwhile
// may be left out. An error ends the sequence.
func (c *Client) Conversations(ctx context.Context, reader tidemark.ReaderID, opts ...ListOption) iter.Seq2[Cursor, error] {
	return c.cursors(ctx, &pb.ListCursorsRequest{
		By: &pb.ListCursorsRequest_Reader{Reader: string(reader)}, Order: pb.CursorOrder_CURSOR_ORDER_ACTIVITY,
	}, opts)
}

// CountCursors counts what TimelineCursors would list.
func (c *Client) CountCursors(ctx context.Context, timeline tidemark.TimelineID, opts ...ListOption) (uint64, error) {
	request := &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: string(timeline)}, CountOnly: true}
	request.Consistency = c.consistency(c.applyList(request, opts))
	reply, err := c.listCursors(ctx, request)
	return reply.GetCount(), err
}

func (c *Client) applyList(request *pb.ListCursorsRequest, opts []ListOption) Consistency {
	chosen := c.options.consistency
	for _, option := range opts {
		option.applyList(request, &chosen)
	}
	return chosen
}

func (c *Client) listCursors(ctx context.Context, request *pb.ListCursorsRequest) (*pb.ListCursorsResponse, error) {
	return do(ctx, c, call{name: "ListCursors"}, func(ctx context.Context, node *endpoint) (*pb.ListCursorsResponse, error) {
		reply, err := node.timelines.ListCursors(ctx, request)
		if err != nil {
			return nil, err
		}
		_, err = c.observeToken(reply.GetPosition())
		return reply, err
	})
}

func (c *Client) cursors(ctx context.Context, first *pb.ListCursorsRequest, opts []ListOption) iter.Seq2[Cursor, error] {
	chosen := c.applyList(first, opts)
	return func(yield func(Cursor, error) bool) {
		request := proto.CloneOf(first)
		request.PageSize = tidemark.MaxListItems
		request.Consistency = c.consistency(chosen)
		for {
			reply, err := c.listCursors(ctx, request)
			if err != nil {
				yield(Cursor{}, err)
				return
			}
			for _, cursor := range reply.GetCursors() {
				if !yield(cursorOf(cursor), nil) {
					return
				}
			}
			if request.PageToken = reply.GetNextPageToken(); request.PageToken == "" {
				return
			}
			request.Consistency = following(reply.GetPosition())
		}
	}
}

func cursorsOf(cursors []*pb.Cursor) []Cursor {
	out := make([]Cursor, len(cursors))
	for i, cursor := range cursors {
		out[i] = cursorOf(cursor)
	}
	return out
}
