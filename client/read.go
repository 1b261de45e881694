package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// ReadOption says where a read starts, which way it goes and what it may show. A
// read without options starts at the first message.
type ReadOption interface{ applyRead(*readOptions) }

type readOptions struct {
	start       tidemark.Start
	seq         tidemark.SeqID
	time        time.Time
	backward    bool
	limit       int
	pageSize    int
	maxBytes    int
	consistency Consistency
	ack         *pb.ReadAck
	reader      tidemark.ReaderID
}

type readOption func(*readOptions)

func (f readOption) applyRead(o *readOptions) { f(o) }

func (c Consistency) applyRead(o *readOptions) { o.consistency = c }

// From starts with the message that has the SeqID.
func From(seq tidemark.SeqID) ReadOption {
	return readOption(func(o *readOptions) { o.start, o.seq = tidemark.StartSeq, seq })
}

// Before starts just before the message that has the SeqID, and goes backward.
func Before(seq tidemark.SeqID) ReadOption {
	return readOption(func(o *readOptions) { o.start, o.seq, o.backward = tidemark.StartBefore, seq, true })
}

// Newest starts with the last message and goes backward. It also sets Limit to n
// unless n is 0.
func Newest(n int) ReadOption {
	return readOption(func(o *readOptions) {
		o.start, o.backward = tidemark.StartNewest, true
		if n != 0 {
			o.limit = n
		}
	})
}

// FromTime starts at a server time: forward with the first message not before it,
// backward with the last message not after it.
func FromTime(t time.Time) ReadOption {
	return readOption(func(o *readOptions) { o.start, o.time = tidemark.StartTime, t })
}

// Backward goes towards older messages. It goes with From and FromTime.
func Backward() ReadOption {
	return readOption(func(o *readOptions) { o.backward = true })
}

// Limit bounds the number of messages: of the page for Read (at most 1,000; 100 if
// it is left out), of all pages together for Messages (no limit if it is left out).
func Limit(n int) ReadOption {
	return readOption(func(o *readOptions) { o.limit = n })
}

// PageSize is how many messages (at most 1,000) Messages fetches at a time.
func PageSize(n int) ReadOption {
	return readOption(func(o *readOptions) { o.pageSize = n })
}

// MaxBytes bounds a page in bytes, at most 4 MiB. A page has one message even if
// that is larger.
func MaxBytes(n int) ReadOption {
	return readOption(func(o *readOptions) { o.maxBytes = n })
}

// AckPrevious moves the cursor of reader, in the same call, to acknowledge the page
// before this one. It goes with Read.
func AckPrevious(reader tidemark.ReaderID, delivered, read tidemark.SeqID) ReadOption {
	return readOption(func(o *readOptions) {
		o.reader = reader
		o.ack = &pb.ReadAck{DeliveredSeqId: uint64(delivered), ReadSeqId: uint64(read)}
	})
}

// As reads as the reader: what is before the floor of its cursor is left out.
func As(reader tidemark.ReaderID) ReadOption {
	return readOption(func(o *readOptions) { o.reader = reader })
}

// Page is one contiguous page of a timeline.
type Page struct {
	// Messages are in rising order of SeqID, whichever way the read went. Neighbours share
	// memory, up to 32 KiB of it or one message: copy what is to be kept without the others.
	Messages []Message
	// More says that there is more in the direction of the read.
	More bool
	// PreviousDigest is the digest before the first of Messages.
	PreviousDigest tidemark.Digest
	// Floor is that of the reader, with As or AckPrevious: what is before it was left out.
	Floor tidemark.SeqID
	// Timeline is as the same view shows it.
	Timeline Timeline
	// Position is where a read with SessionAt sees at least as much.
	Position tidemark.Position
	// AppliedIndex is the log index that the answering node had applied.
	AppliedIndex uint64
	// Staleness is how long ago the answering node last heard from a leader; 0 for
	// linearizable reads.
	Staleness time.Duration
	// Endpoint is the node that answered.
	Endpoint string
}

// Read returns one page. It returns tidemark.ErrTimelineNotFound for a timeline to
// which nothing was ever appended.
func (c *Client) Read(ctx context.Context, timeline tidemark.TimelineID, opts ...ReadOption) (*Page, error) {
	o := c.readOptions(opts)
	if err := o.validate(); err != nil {
		return nil, err
	}
	return c.read(ctx, o.request(c, timeline))
}

func (c *Client) readOptions(opts []ReadOption) readOptions {
	o := readOptions{consistency: c.options.consistency, start: tidemark.StartSeq, seq: 1}
	for _, option := range opts {
		option.applyRead(&o)
	}
	return o
}

// validate finds what cannot be said in a request; the node checks the rest.
func (o *readOptions) validate() error {
	for _, n := range []struct {
		field string
		value int
	}{{"limit", o.limit}, {"page_size", o.pageSize}, {"max_bytes", o.maxBytes}} {
		if n.value < 0 || n.value > 1<<31-1 {
			return tidemark.Invalid(n.field, "must not be negative or larger than a 32-bit number; it is %d", n.value)
		}
	}
	if o.start == tidemark.StartTime {
		_, err := tidemark.TimeOf("from_time", o.time)
		return err
	}
	return nil
}

func (o *readOptions) request(c *Client, timeline tidemark.TimelineID) *pb.ReadRequest {
	request := &pb.ReadRequest{
		Timeline:    string(timeline),
		Limit:       uint32(o.limit),
		MaxBytes:    uint32(o.maxBytes),
		Direction:   pb.Direction_DIRECTION_FORWARD,
		Consistency: c.consistency(o.consistency),
		Reader:      string(o.reader),
		Ack:         o.ack,
	}
	if o.backward {
		request.Direction = pb.Direction_DIRECTION_BACKWARD
	}
	switch o.start {
	case tidemark.StartBefore:
		request.Start = &pb.ReadRequest_BeforeSeqId{BeforeSeqId: uint64(o.seq)}
	case tidemark.StartNewest:
		request.Start = &pb.ReadRequest_Newest{Newest: true}
	case tidemark.StartTime:
		request.Start = &pb.ReadRequest_FromTime{FromTime: timestamppb.New(o.time)}
	default:
		request.Start = &pb.ReadRequest_FromSeqId{FromSeqId: uint64(o.seq)}
	}
	return request
}

// read fetches a page. A page that carries an acknowledgement is a write that can
// be repeated, because cursors only grow.
func (c *Client) read(ctx context.Context, request *pb.ReadRequest) (*Page, error) {
	kind := call{name: "Read", write: request.GetAck() != nil, repeatable: true}
	return do(ctx, c, kind, func(ctx context.Context, node *endpoint) (*Page, error) {
		var reply readReply
		if err := node.conn.Invoke(ctx, pb.TimelineService_Read_FullMethodName, request, &reply, pages...); err != nil {
			return nil, err
		}
		position, err := c.observeToken(reply.GetPosition())
		if err != nil {
			return nil, err
		}
		return &Page{
			Messages:       reply.messages,
			More:           reply.GetHasMore(),
			PreviousDigest: digestOf(reply.GetPreviousDigest()),
			Floor:          tidemark.SeqID(reply.GetFloorSeqId()),
			Timeline:       timelineOf(reply.GetTimeline()),
			Position:       position,
			AppliedIndex:   reply.GetAppliedIndex(),
			Staleness:      time.Duration(reply.GetStalenessMillis()) * time.Millisecond,
			Endpoint:       node.address,
		}, nil
	})
}

// Get returns the message with the SeqID. It returns tidemark.ErrTimelineNotFound
// or tidemark.ErrMessageNotFound. At most one level can be given.
func (c *Client) Get(ctx context.Context, timeline tidemark.TimelineID, seq tidemark.SeqID, level ...Consistency) (Message, error) {
	return c.get(ctx, &pb.GetRequest{Timeline: string(timeline), By: &pb.GetRequest_SeqId{SeqId: uint64(seq)}}, level)
}

// GetByID returns the message with the message id, as Get does. It also tells
// whether an append of unknown outcome has been applied by now.
func (c *Client) GetByID(ctx context.Context, timeline tidemark.TimelineID, id tidemark.MessageID, level ...Consistency) (Message, error) {
	return c.get(ctx, &pb.GetRequest{Timeline: string(timeline), By: &pb.GetRequest_MessageId{MessageId: string(id)}}, level)
}

func (c *Client) get(ctx context.Context, request *pb.GetRequest, level []Consistency) (Message, error) {
	request.Consistency = c.levelOf(level)
	return do(ctx, c, call{name: "Get"}, func(ctx context.Context, node *endpoint) (Message, error) {
		reply, err := node.timelines.Get(ctx, request)
		if err != nil {
			return Message{}, err
		}
		if _, err := c.observeToken(reply.GetPosition()); err != nil {
			return Message{}, err
		}
		return messageOf(reply.GetMessage()), nil
	})
}

// levelOf renders the last of the given levels, or the client's own.
func (c *Client) levelOf(given []Consistency) *pb.Consistency {
	if len(given) > 0 {
		return c.consistency(given[len(given)-1])
	}
	return c.consistency(c.options.consistency)
}
