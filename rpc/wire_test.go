package rpc

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// TestMessagesOnTheWire: what is encoded by hand is what the generated code makes of the same messages.
func TestMessagesOnTheWire(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		messages := make([]tidemark.Message, rng.IntN(5))
		want := &tidemarkv1.ReadResponse{HasMore: true}
		for i := range messages {
			messages[i] = randomMessage(rng)
			want.Messages = append(want.Messages, toMessage(&messages[i]))
		}
		for _, room := range []func(int) []byte{ownRoom, sentRoom} {
			reply := &tidemarkv1.ReadResponse{HasMore: true}
			setMessages(reply, messages, room)
			raw := reply.ProtoReflect().GetUnknown()
			if size := messagesSize(1, messages); len(raw) != size {
				t.Fatalf("%d bytes for messages of %d", size, len(raw))
			}
			checkSent(t, reply, want)
		}
	}
}

// TestMessageFields: the numbers here are those of the API.
func TestMessageFields(t *testing.T) {
	fields := new(tidemarkv1.Message).ProtoReflect().Descriptor().Fields()
	for name, number := range map[string]int{
		"timeline": int(fieldTimeline), "seq_id": int(fieldSeqID), "message_id": int(fieldMessageID), "sender": int(fieldSender), "type": int(fieldType),
		"payload": int(fieldPayload), "attributes": int(fieldAttributes), "client_time": int(fieldClientTime), "server_time": int(fieldServerTime),
		"digest": int(fieldDigest), "source": int(fieldSource), "revision": int(fieldRevision), "revises": int(fieldRevises),
	} {
		if field := fields.ByTextName(name); field == nil || int(field.Number()) != number {
			t.Errorf("%s is %v, not %d", name, field, number)
		}
	}
	if n := fields.Len(); n != int(fieldRevises) {
		t.Errorf("a message has %d fields; %d are encoded", n, fieldRevises)
	}
}

// randomMessage leaves each field out now and then.
func randomMessage(rng *rand.Rand) tidemark.Message {
	some := func() bool { return rng.IntN(3) > 0 }
	text := func() string {
		if !some() {
			return ""
		}
		return fmt.Sprintf("té%0*d", rng.IntN(200), rng.Uint32())
	}
	at := func() tidemark.Time {
		return []tidemark.Time{tidemark.NoTime, 0, 1_000_000_000, tidemark.Time(rng.Int64()), -tidemark.Time(rng.Int64())}[rng.IntN(5)]
	}
	m := tidemark.Message{
		Draft: tidemark.Draft{
			Timeline: tidemark.TimelineID(text()), ID: tidemark.MessageID(text()), Sender: text(), Type: text(), Payload: []byte(text()), ClientTime: at(),
		},
		SeqID: tidemark.SeqID(rng.Uint64N(3) * rng.Uint64()), ServerTime: at(),
	}
	for i := range m.Digest {
		m.Digest[i] = byte(rng.Uint32())
	}
	for i := range rng.IntN(4) {
		m.Attributes = append(m.Attributes, tidemark.Attribute{Key: fmt.Sprint("key", i), Value: text()})
	}
	if rng.IntN(4) == 0 {
		m.Source = &tidemark.Source{Timeline: tidemark.TimelineID(text()), SeqID: 7, Gone: some()}
	}
	if rng.IntN(4) == 0 {
		m.Revision = &tidemark.Revision{Number: 2, Time: 5, SeqID: 9, Redacted: some()}
	}
	if rng.IntN(4) == 0 {
		m.Revises = &tidemark.Revises{SeqID: 3, Number: 1, Superseded: some()}
	}
	return m
}

// TestTailOnTheWire: the pages and the other events of a response come in the order in which they were added.
func TestTailOnTheWire(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		batch, want := &tailBatch{}, &tidemarkv1.TailResponse{AppliedIndex: 9}
		batch.AppliedIndex = 9
		for tag := range rng.Uint64N(6) {
			event := &tidemarkv1.TailEvent{Tag: tag, Event: &tidemarkv1.TailEvent_CaughtUp{CaughtUp: &tidemarkv1.TailCaughtUp{LastSeqId: 3}}}
			if rng.IntN(2) == 0 {
				batch.add(event)
				want.Events = append(want.Events, event)
				continue
			}
			page := tidemark.Page{Messages: make([]tidemark.Message, 1+rng.IntN(50)), PreviousDigest: tidemark.Digest{1}}
			messages := &tidemarkv1.TailMessages{PreviousDigest: page.PreviousDigest[:]}
			for i := range page.Messages {
				page.Messages[i] = randomMessage(rng)
				messages.Messages = append(messages.Messages, toMessage(&page.Messages[i]))
			}
			if err := batch.addPage(tag, &page); err != nil {
				t.Fatal(err)
			}
			want.Events = append(want.Events, &tidemarkv1.TailEvent{Tag: tag, Event: &tidemarkv1.TailEvent_Messages{Messages: messages}})
		}
		if batch.count != len(want.Events) {
			t.Fatalf("%d events are counted of %d", batch.count, len(want.Events))
		}
		checkSent(t, batch, want)
	}
}

// checkSent sends a reply through the codec, and receives it with the generated code.
func checkSent(t *testing.T, reply any, want proto.Message) {
	t.Helper()
	wire, err := newPooledCodec().Marshal(reply)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Free()
	got := want.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(wire.Materialize(), got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) || len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("got %v\nwant %v", got, want)
	}
}

// BenchmarkEncodePage encodes a page of 100 messages of 256 bytes as it is sent.
func BenchmarkEncodePage(b *testing.B) {
	messages := make([]tidemark.Message, 100)
	for i := range messages {
		messages[i] = tidemark.Message{
			Draft: tidemark.Draft{
				Timeline: "conv/42", ID: "0198a5c2-7b1e-7000-8000-0123456789ab", Sender: "alice", Type: "text", Payload: make([]byte, 256), ClientTime: tidemark.NoTime,
			},
			SeqID: tidemark.SeqID(1000 + i), ServerTime: 1_700_000_000_123_456_789,
		}
	}
	codec := newPooledCodec()
	b.ReportAllocs()
	for b.Loop() {
		reply := &tidemarkv1.ReadResponse{HasMore: true}
		setMessages(reply, messages, sentRoom)
		wire, err := codec.Marshal(reply)
		if err != nil {
			b.Fatal(err)
		}
		wire.Free()
	}
}
