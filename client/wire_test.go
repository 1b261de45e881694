package client

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "tidemark/rpc/tidemarkv1"
)

// TestRepliesDecodedByHand: what is decoded by hand is what the generated code makes of the same replies.
func TestRepliesDecodedByHand(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		page := &pb.ReadResponse{Messages: randomMessages(rng), HasMore: true, AppliedIndex: 7, Timeline: &pb.Timeline{Timeline: "t"}}
		sync := &pb.SyncResponse{NextPageToken: "next", HasMore: true}
		tail := &pb.TailResponse{Position: []byte{1}, AppliedIndex: rng.Uint64()}
		for range rng.IntN(4) {
			sync.Timelines = append(sync.Timelines, &pb.SyncTimeline{AfterSeqId: rng.Uint64(), Messages: randomMessages(rng), Cursor: &pb.Cursor{ReadSeqId: 2}})
			event := &pb.TailEvent{Tag: rng.Uint64(), Event: &pb.TailEvent_Messages{Messages: &pb.TailMessages{Messages: randomMessages(rng), PreviousDigest: []byte("before")}}}
			if rng.IntN(3) == 0 {
				event.Event = &pb.TailEvent_Notice{Notice: &pb.TailNotice{LastSeqId: rng.Uint64()}}
			}
			tail.Events = append(tail.Events, event)
		}
		for _, reply := range []proto.Message{page, sync, tail} {
			wire, err := proto.Marshal(reply)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, reply, inPieces(wire, rng))
		}
	}
}

// inPieces are bytes as they come from the network.
func inPieces(wire []byte, rng *rand.Rand) (pieces mem.BufferSlice) {
	for len(wire) > 0 {
		n := 1 + rng.IntN(len(wire))
		pieces = append(pieces, mem.SliceBuffer(wire[:n]))
		wire = wire[n:]
	}
	return pieces
}

// compare decodes a reply of the kind of which like is in both ways.
func compare(t *testing.T, like proto.Message, wire mem.BufferSlice) {
	t.Helper()
	want := like.ProtoReflect().New().Interface()
	wantErr := proto.Unmarshal(wire.Materialize(), want)
	got := handDecodedLike(like)
	gotErr := (pageCodec{}).Unmarshal(wire, got)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("by hand: %v; by the generated code: %v", gotErr, wantErr)
	}
	if wantErr != nil {
		return
	}
	switch want := want.(type) {
	case *pb.ReadResponse:
		got := got.(*readReply)
		sameMessages(t, got.messages, want.Messages)
		want.Messages = nil
		sameRest(t, &got.ReadResponse, want)
	case *pb.SyncResponse:
		got := got.(*syncReply)
		if len(got.timelines) != len(want.Timelines) {
			t.Fatalf("got %d timelines; want %d", len(got.timelines), len(want.Timelines))
		}
		for i, timeline := range want.Timelines {
			sameMessages(t, got.timelines[i].messages, timeline.Messages)
			timeline.Messages = nil
			sameRest(t, &got.timelines[i].SyncTimeline, timeline)
		}
		want.Timelines = nil
		sameRest(t, &got.SyncResponse, want)
	case *pb.TailResponse:
		got := got.(*tailReply)
		if len(got.events) != len(want.Events) {
			t.Fatalf("got %d events; want %d", len(got.events), len(want.Events))
		}
		for i, event := range want.Events {
			if page := event.GetMessages(); page != nil {
				if !got.events[i].delivers {
					t.Fatal("messages were not delivered")
				}
				sameMessages(t, got.events[i].messages, page.Messages)
				event.Event = nil
			}
			sameRest(t, &got.events[i].TailEvent, event)
		}
		want.Events = nil
		sameRest(t, &got.TailResponse, want)
	}
}

func handDecodedLike(m proto.Message) handDecoded {
	switch m.(type) {
	case *pb.ReadResponse:
		return new(readReply)
	case *pb.SyncResponse:
		return new(syncReply)
	default:
		return new(tailReply)
	}
}

func sameRest(t *testing.T, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
}

func sameMessages(t *testing.T, got []Message, want []*pb.Message) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d messages; want %d", len(got), len(want))
	}
	for i := range got {
		a, b := got[i], messageOf(want[i])
		if !bytes.Equal(a.Payload, b.Payload) {
			t.Fatalf("payload is %q; want %q", a.Payload, b.Payload)
		}
		if len(a.Payload) < cap(a.Payload) {
			t.Fatal("who appends to a payload writes over its neighbour")
		}
		if len(a.Attributes)+len(b.Attributes) == 0 {
			// The generated code makes an empty map of a field that has the number, but is none.
			a.Attributes, b.Attributes = nil, nil
		}
		if a.Payload, b.Payload = nil, nil; !reflect.DeepEqual(a, b) {
			t.Fatalf("got %+v\nwant %+v", a, b)
		}
	}
}

func randomMessages(rng *rand.Rand) []*pb.Message {
	messages := make([]*pb.Message, rng.IntN(5))
	for i := range messages {
		messages[i] = randomMessage(rng)
	}
	return messages
}

// randomMessage leaves each field out now and then.
func randomMessage(rng *rand.Rand) *pb.Message {
	some := func() bool { return rng.IntN(3) > 0 }
	text := func() string {
		if !some() {
			return ""
		}
		return fmt.Sprintf("té%0*d", rng.IntN(200), rng.Uint32())
	}
	at := func() *timestamppb.Timestamp {
		return []*timestamppb.Timestamp{nil, {}, {Seconds: 5}, {Nanos: 6}, {Seconds: -rng.Int64N(1 << 40), Nanos: rng.Int32()}, {Seconds: 1, Nanos: -7}}[rng.IntN(6)]
	}
	m := &pb.Message{
		Timeline: text(), SeqId: rng.Uint64N(3) * rng.Uint64(), MessageId: text(), Sender: text(), Type: text(), Payload: []byte(text()),
		ClientTime: at(), ServerTime: at(), Digest: []byte(text()),
	}
	if rng.IntN(20) == 0 {
		m.Payload = bytes.Repeat([]byte{1}, 2*pieceBytes)
	}
	for i := range rng.IntN(4) {
		if m.Attributes == nil {
			m.Attributes = make(map[string]string)
		}
		m.Attributes[fmt.Sprint("key", i)] = text()
	}
	if rng.IntN(4) == 0 {
		m.Source = &pb.Source{Timeline: text(), SeqId: 7, Digest: []byte(text()), Gone: some()}
	}
	if rng.IntN(4) == 0 {
		m.Revision = &pb.Revision{Revision: 2, Time: at(), SeqId: 9, Redacted: some(), OriginalContentHash: make([]byte, 32)}
	}
	if rng.IntN(4) == 0 {
		m.Revises = &pb.Revises{SeqId: 3, Revision: 1, Superseded: some(), ContentHash: []byte(text())}
	}
	return m
}

// TestFieldsDecodedByHand: the numbers here are those of the API, and none is forgotten.
func TestFieldsDecodedByHand(t *testing.T) {
	fields := new(pb.Message).ProtoReflect().Descriptor().Fields()
	for name, key := range map[string]uint64{
		"timeline": keyTimeline, "seq_id": keySeqID, "message_id": keyMessageID, "sender": keySender, "type": keyType, "payload": keyPayload,
		"attributes": keyAttributes, "client_time": keyClientTime, "server_time": keyServerTime, "digest": keyDigest, "source": keySource,
		"revision": keyRevision, "revises": keyRevises,
	} {
		if field := fields.ByTextName(name); field == nil || uint64(field.Number()) != key>>3 {
			t.Errorf("%s is %v, not %d", name, field, key>>3)
		}
	}
	if n := fields.Len(); n != int(keyRevises>>3) {
		t.Errorf("a message has %d fields; %d are decoded", n, keyRevises>>3)
	}
}

// FuzzReplies: whatever comes, both ways to decode it find the same, or that it is malformed.
func FuzzReplies(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 30 {
		page := &pb.ReadResponse{Messages: randomMessages(rng), FloorSeqId: 3}
		wire, err := proto.Marshal(page)
		if err != nil {
			f.Fatal(err)
		}
		if len(wire) > 4<<10 {
			continue // what is large only makes fuzzing slow
		}
		f.Add(wire)
		if len(wire) > 0 {
			wire = slices.Clone(wire)
			wire[rng.IntN(len(wire))] ^= byte(1 + rng.IntN(255))
			f.Add(wire)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		pieces := mem.BufferSlice{mem.SliceBuffer(wire)}
		compare(t, new(pb.ReadResponse), pieces)
		compare(t, new(pb.SyncResponse), pieces)
		// Of several events in one, of which the API knows nothing, each way takes another: so
		// only that it does not panic counts.
		_ = (pageCodec{}).Unmarshal(pieces, new(tailReply))
	})
}

// BenchmarkDecodePage decodes a page of 100 messages of 256 bytes, by hand and, to compare with,
// by the generated code.
func BenchmarkDecodePage(b *testing.B) {
	wire, err := proto.Marshal(pageOf(100))
	if err != nil {
		b.Fatal(err)
	}
	for name, decode := range map[string]func([]byte) error{
		"hand": func(wire []byte) error { return new(readReply).decode(wire) },
		"generated": func(wire []byte) error {
			var reply pb.ReadResponse
			if err := proto.Unmarshal(wire, &reply); err != nil {
				return err
			}
			messages := make([]Message, len(reply.Messages))
			for i, m := range reply.Messages {
				messages[i] = messageOf(m)
			}
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(wire)))
			for b.Loop() {
				if err := decode(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func pageOf(n int) *pb.ReadResponse {
	page := &pb.ReadResponse{HasMore: true, PreviousDigest: make([]byte, 16), Timeline: &pb.Timeline{Timeline: "conv/42"}}
	for i := range n {
		page.Messages = append(page.Messages, &pb.Message{
			Timeline: "conv/42", SeqId: uint64(1000 + i), MessageId: "0198a5c2-7b1e-7000-8000-0123456789ab", Sender: "alice", Type: "text",
			Payload: make([]byte, 256), ServerTime: timestamppb.Now(), Digest: make([]byte, 16),
		})
	}
	return page
}

// TestDecodedPagesCost: what a page costs does not grow with allocations for each message.
func TestDecodedPagesCost(t *testing.T) {
	const n = 100
	wire, err := proto.Marshal(pageOf(n))
	if err != nil {
		t.Fatal(err)
	}
	allocations := testing.AllocsPerRun(20, func() {
		if err := new(readReply).decode(wire); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > n/5 {
		t.Errorf("a page of %d messages takes %v allocations", n, allocations)
	}
}
