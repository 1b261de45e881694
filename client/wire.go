package client

import (
	"errors"
	"time"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Pages of messages are most of what nodes send. So their messages are decoded by hand, from
// what was received into Message, without a protobuf message and five allocations for each. All
// else that such a reply holds is decoded by the generated code.

// Fields of the API that hold messages, or what holds them.
const (
	fieldReadMessages  protowire.Number = 1 // of ReadResponse
	fieldSyncTimelines protowire.Number = 1 // of SyncResponse
	fieldSyncMessages  protowire.Number = 3 // of SyncTimeline
	fieldTailEvents    protowire.Number = 1 // of TailResponse
	fieldTailMessages  protowire.Number = 2 // of TailEvent
	fieldTailPage      protowire.Number = 1 // of TailMessages
)

// Keys of the fields of Message that are decoded by hand, and of what they hold.
const (
	keyTimeline   = uint64(1<<3 | protowire.BytesType)
	keySeqID      = uint64(2<<3 | protowire.VarintType)
	keyMessageID  = uint64(3<<3 | protowire.BytesType)
	keySender     = uint64(4<<3 | protowire.BytesType)
	keyType       = uint64(5<<3 | protowire.BytesType)
	keyPayload    = uint64(6<<3 | protowire.BytesType)
	keyAttributes = uint64(7<<3 | protowire.BytesType)
	keyClientTime = uint64(8<<3 | protowire.BytesType)
	keyServerTime = uint64(9<<3 | protowire.BytesType)
	keyDigest     = uint64(10<<3 | protowire.BytesType)
	keySource     = uint64(11<<3 | protowire.BytesType)
	keyRevision   = uint64(12<<3 | protowire.BytesType)
	keyRevises    = uint64(13<<3 | protowire.BytesType)

	keySeconds = uint64(1<<3 | protowire.VarintType)
	keyNanos   = uint64(2<<3 | protowire.VarintType)

	keyEntryKey   = uint64(1<<3 | protowire.BytesType)
	keyEntryValue = uint64(2<<3 | protowire.BytesType)
)

var (
	errFieldNumber = errors.New("a field of a message has a number that no field can have")
	errNotUTF8     = errors.New("a text of a message is not UTF-8")
)

// handDecoded is a reply that does not leave its decoding to the generated code.
type handDecoded interface {
	// decode must not keep data.
	decode(data []byte) error
}

// pageCodec is the codec of calls whose replies hold pages of messages.
type pageCodec struct{ encoding.CodecV2 }

// pages are the options of such calls.
var pages = []grpc.CallOption{grpc.StaticMethod(), grpc.ForceCodecV2(pageCodec{encoding.GetCodecV2("proto")})}

// received are buffers in which replies that came in pieces are put together. gRPC's own pool
// has nothing between 32 KiB and 1 MiB, and a page is often a little more than the one.
var received = newReceived(12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24)

func newReceived(exponents ...uint8) mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(exponents...)
	if err != nil {
		// Only sizes beyond the address space are refused.
		panic(err)
	}
	return pool
}

// Unmarshal implements encoding.CodecV2.
func (c pageCodec) Unmarshal(data mem.BufferSlice, v any) error {
	reply, ok := v.(handDecoded)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(received)
	defer buffer.Free()
	return reply.decode(buffer.ReadOnlyData())
}

// readReply is a ReadResponse; its own field of messages stays empty.
type readReply struct {
	pb.ReadResponse
	messages []Message
}

func (r *readReply) decode(data []byte) (err error) {
	var d messageDecoder
	r.messages, err = d.messages(nil, data, fieldReadMessages, &r.ReadResponse)
	return err
}

// syncReply is a SyncResponse; its own field of timelines stays empty.
type syncReply struct {
	pb.SyncResponse
	timelines []syncReplyTimeline
}

type syncReplyTimeline struct {
	pb.SyncTimeline
	messages []Message
}

func (r *syncReply) decode(data []byte) error {
	var d messageDecoder
	r.timelines = make([]syncReplyTimeline, 0, count(data, fieldSyncTimelines))
	return cut(data, fieldSyncTimelines, &r.SyncResponse, func(timeline []byte) (err error) {
		r.timelines = append(r.timelines, syncReplyTimeline{})
		t := &r.timelines[len(r.timelines)-1]
		t.messages, err = d.messages(nil, timeline, fieldSyncMessages, &t.SyncTimeline)
		return err
	})
}

// tailReply is a TailResponse; its own field of events stays empty.
type tailReply struct {
	pb.TailResponse
	events []tailReplyEvent
}

// tailReplyEvent is an event that brings messages, if delivers is set, or that the TailEvent
// says.
type tailReplyEvent struct {
	pb.TailEvent
	delivers bool
	messages []Message
}

func (r *tailReply) decode(data []byte) error {
	var d messageDecoder
	r.events = make([]tailReplyEvent, 0, count(data, fieldTailEvents))
	return cut(data, fieldTailEvents, &r.TailResponse, func(event []byte) error {
		r.events = append(r.events, tailReplyEvent{})
		e := &r.events[len(r.events)-1]
		return cut(event, fieldTailMessages, &e.TailEvent, func(page []byte) (err error) {
			e.delivers = true
			// What else a page says, nobody asks for.
			e.messages, err = d.messages(e.messages, page, fieldTailPage, new(pb.TailMessages))
			return err
		})
	})
}

// cut calls visit with each value of the field, which is one of messages, and decodes all other
// fields into rest.
func cut(data []byte, field protowire.Number, rest proto.Message, visit func([]byte) error) error {
	var others []byte
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if number == field && kind == protowire.BytesType {
			value, size := protowire.ConsumeBytes(data[n:])
			if size < 0 {
				return protowire.ParseError(size)
			}
			if err := visit(value); err != nil {
				return err
			}
			data = data[n+size:]
			continue
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		others = append(others, data[:n+size]...)
		data = data[n+size:]
	}
	return proto.UnmarshalOptions{Merge: true}.Unmarshal(others, rest)
}

// count is how many values of the field there are. It stops at what is malformed, which cut
// reports.
func count(data []byte, field protowire.Number) (values int) {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return values
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return values
		}
		if number == field {
			values++
		}
		data = data[n+size:]
	}
	return values
}

// pieceBytes is how large the pieces of memory are that messages share. Who keeps one message
// keeps what shares its piece, but not a whole reply of megabytes.
const pieceBytes = 32 << 10

// messageDecoder decodes messages. Their texts and payloads are parts of copies of what was
// received, of which several share a piece of memory.
type messageDecoder struct {
	piece []byte
	// expected is about how many bytes are still to come.
	expected int
}

// messages appends the messages that the field of data holds, and decodes all other fields
// into rest.
func (d *messageDecoder) messages(to []Message, data []byte, field protowire.Number, rest proto.Message) ([]Message, error) {
	if n := count(data, field); to == nil {
		to = make([]Message, 0, n)
	}
	d.expected = len(data)
	err := cut(data, field, rest, func(message []byte) error {
		to = append(to, Message{})
		return d.message(d.copyOf(message), &to[len(to)-1])
	})
	return to, err
}

// copyOf returns a copy that nobody else writes to.
func (d *messageDecoder) copyOf(b []byte) []byte {
	if len(b) > cap(d.piece)-len(d.piece) {
		d.piece = make([]byte, 0, max(len(b), min(d.expected, pieceBytes)))
	}
	d.expected -= len(b)
	at := len(d.piece)
	d.piece = append(d.piece, b...)
	return d.piece[at:len(d.piece):len(d.piece)]
}

// message decodes a message, of which texts and payload stay parts of data.
func (d *messageDecoder) message(data []byte, m *Message) error {
	var clientTime, serverTime timestamp
	// Rare fields are left to the generated code.
	var rare []byte
	for len(data) > 0 {
		f, err := next(data)
		if err != nil {
			return err
		}
		switch f.key {
		case keyTimeline:
			err = text(&m.Timeline, f.bytes)
		case keySeqID:
			m.SeqID = tidemark.SeqID(f.number)
		case keyMessageID:
			err = text(&m.ID, f.bytes)
		case keySender:
			err = text(&m.Sender, f.bytes)
		case keyType:
			err = text(&m.Type, f.bytes)
		case keyPayload:
			m.Payload = f.bytes[:len(f.bytes):len(f.bytes)] // whoever appends to it writes over nothing
		case keyAttributes:
			err = attribute(&m.Attributes, f.bytes)
		case keyClientTime:
			err = clientTime.decode(f.bytes)
		case keyServerTime:
			err = serverTime.decode(f.bytes)
		case keyDigest:
			m.Digest = digestOf(f.bytes)
		case keySource, keyRevision, keyRevises:
			rare = append(rare, data[:f.size]...)
		}
		if err != nil {
			return err
		}
		data = data[f.size:]
	}
	m.ClientTime, m.ServerTime = clientTime.time(), serverTime.time()
	if rare == nil {
		return nil
	}
	var decoded pb.Message
	if err := proto.Unmarshal(rare, &decoded); err != nil {
		return err
	}
	m.Source, m.Revision, m.Revises = sourceOf(decoded.GetSource()), revisionOf(decoded.GetRevision()), revisesOf(decoded.GetRevises())
	return nil
}

// field is one field of what is decoded by hand.
type field struct {
	key uint64
	// number is the value of a varint, and bytes that of what has a length.
	number uint64
	bytes  []byte
	// size is that of all of it.
	size int
}

// next takes the first field apart.
func next(data []byte) (f field, err error) {
	key, n := protowire.ConsumeVarint(data)
	if n < 0 {
		return f, protowire.ParseError(n)
	}
	number, kind := protowire.DecodeTag(key)
	if !number.IsValid() {
		return f, errFieldNumber
	}
	f.key = key
	var length int
	switch kind {
	case protowire.BytesType:
		f.bytes, length = protowire.ConsumeBytes(data[n:])
	case protowire.VarintType:
		f.number, length = protowire.ConsumeVarint(data[n:])
	default:
		length = protowire.ConsumeFieldValue(number, kind, data[n:])
	}
	if length < 0 {
		return f, protowire.ParseError(length)
	}
	f.size = n + length
	return f, nil
}

// text makes a string of bytes that are not written to any more.
func text[T ~string](to *T, value []byte) error {
	if !utf8.Valid(value) {
		return errNotUTF8
	}
	// The bytes are a part of a copy (copyOf) of which only payloads are given away as bytes.
	*to = T(unsafe.String(unsafe.SliceData(value), len(value)))
	return nil
}

// attribute decodes an entry of a map.
func attribute(to *map[string]string, data []byte) error {
	var key, value string
	for len(data) > 0 {
		f, err := next(data)
		if err != nil {
			return err
		}
		switch f.key {
		case keyEntryKey:
			err = text(&key, f.bytes)
		case keyEntryValue:
			err = text(&value, f.bytes)
		}
		if err != nil {
			return err
		}
		data = data[f.size:]
	}
	if *to == nil {
		*to = make(map[string]string)
	}
	(*to)[key] = value
	return nil
}

// timestamp is a google.protobuf.Timestamp.
type timestamp struct {
	seconds int64
	nanos   int32
	present bool
}

func (t *timestamp) decode(data []byte) error {
	t.present = true
	for len(data) > 0 {
		f, err := next(data)
		if err != nil {
			return err
		}
		switch f.key {
		case keySeconds:
			t.seconds = int64(f.number)
		case keyNanos:
			t.nanos = int32(f.number)
		}
		data = data[f.size:]
	}
	return nil
}

func (t *timestamp) time() time.Time {
	if !t.present {
		return time.Time{}
	}
	return time.Unix(t.seconds, int64(t.nanos)).UTC()
}
