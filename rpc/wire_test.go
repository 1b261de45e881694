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
		reply := &tidemarkv1.ReadResponse{HasMore: true}
		setMessages(reply, messages, ownRoom)
		wire, err := proto.Marshal(reply)
		if err != nil {
			t.Fatal(err)
		}
		got := new(tidemarkv1.ReadResponse)
		if err := proto.Unmarshal(wire, got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) || len(got.ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("got %v\nwant %v", got, want)
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
