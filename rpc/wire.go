package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Pages of messages are most of what nodes send. So their messages are encoded by hand, in one
// pass, to the size that was computed before, and without a protobuf message, its timestamps and its
// reflection for each. The bytes become unknown fields of the reply, which are sent as they are: to whoever receives it
// they are the field like any other.

// Fields of the API's Message.
const (
	fieldTimeline protowire.Number = iota + 1
	fieldSeqID
	fieldMessageID
	fieldSender
	fieldType
	fieldPayload
	fieldAttributes
	fieldClientTime
	fieldServerTime
	fieldDigest
	fieldSource
	fieldRevision
	fieldRevises
)

// setMessages makes the messages what field messages of the reply holds once it was sent. The
// reply itself shows none. The bytes are put where room makes place for them.
func setMessages(reply proto.Message, messages []tidemark.Message, room func(size int) []byte) {
	if len(messages) == 0 {
		return
	}
	m := reply.ProtoReflect()
	field := m.Descriptor().Fields().ByName("messages").Number()
	m.SetUnknown(protoreflect.RawFields(appendMessages(room(messagesSize(field, messages)), field, messages)))
}

// ownRoom is for replies that are a part of another one.
func ownRoom(size int) []byte { return make([]byte, 0, size) }

// sentRoom is for what is sent as it is, by pooledCodec, which gives the room back.
func sentRoom(size int) []byte { return (*buffers.Get(size))[:0] }

// messagesSize is the exact number of bytes that appendMessages appends.
func messagesSize(field protowire.Number, messages []tidemark.Message) (size int) {
	for i := range messages {
		size += protowire.SizeTag(field) + protowire.SizeBytes(messageSize(&messages[i]))
	}
	return size
}

// appendMessages encodes messages as a repeated field.
func appendMessages(b []byte, field protowire.Number, messages []tidemark.Message) []byte {
	for i := range messages {
		b = protowire.AppendTag(b, field, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(messageSize(&messages[i])))
		b = appendMessage(b, &messages[i])
	}
	return b
}

// messageSize is the exact number of bytes that appendMessage appends.
func messageSize(m *tidemark.Message) int {
	size := textSize(len(m.Timeline)) + textSize(len(m.ID)) + textSize(len(m.Sender)) + textSize(len(m.Type)) + textSize(len(m.Payload)) +
		timeSize(m.ClientTime) + timeSize(m.ServerTime) + keySize + protowire.SizeBytes(len(m.Digest))
	if m.SeqID != 0 {
		size += keySize + protowire.SizeVarint(uint64(m.SeqID))
	}
	for i := range m.Attributes {
		size += keySize + protowire.SizeBytes(attributeSize(&m.Attributes[i]))
	}
	if rest := rareFields(m); rest != nil {
		size += proto.Size(rest)
	}
	return size
}

// keySize is that of the key of a field of Message, or of what is in one.
const keySize = 1

// textSize is the size of a text, or of bytes, that is left out if it is empty.
func textSize(n int) int {
	if n == 0 {
		return 0
	}
	return keySize + protowire.SizeBytes(n)
}

func attributeSize(a *tidemark.Attribute) int {
	return keySize + protowire.SizeBytes(len(a.Key)) + keySize + protowire.SizeBytes(len(a.Value))
}

// rareFields are those that most messages do not have, and not worth a second encoding; nil if
// there is none.
func rareFields(m *tidemark.Message) *tidemarkv1.Message {
	if m.Source == nil && m.Revision == nil && m.Revises == nil {
		return nil
	}
	return &tidemarkv1.Message{Source: toSource(m.Source), Revision: toRevision(m.Revision), Revises: toRevises(m.Revises)}
}

// appendMessage encodes what toMessage makes.
func appendMessage(b []byte, m *tidemark.Message) []byte {
	b = appendText(b, fieldTimeline, string(m.Timeline))
	if m.SeqID != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldSeqID, protowire.VarintType), uint64(m.SeqID))
	}
	b = appendText(b, fieldMessageID, string(m.ID))
	b = appendText(b, fieldSender, m.Sender)
	b = appendText(b, fieldType, m.Type)
	if len(m.Payload) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldPayload, protowire.BytesType), m.Payload)
	}
	for i := range m.Attributes {
		a := &m.Attributes[i]
		b = protowire.AppendTag(b, fieldAttributes, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(attributeSize(a)))
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), a.Key)
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), a.Value)
	}
	b = appendTime(b, fieldClientTime, m.ClientTime)
	b = appendTime(b, fieldServerTime, m.ServerTime)
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldDigest, protowire.BytesType), m.Digest[:])
	if rest := rareFields(m); rest != nil {
		b, _ = proto.MarshalOptions{}.MarshalAppend(b, rest) // it fails only for text that is not UTF-8, which no timeline has
	}
	return b
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

// instant is a google.protobuf.Timestamp.
type instant struct{ seconds, nanos uint64 }

func instantOf(t tidemark.Time) instant {
	seconds, nanos := t/1e9, t%1e9
	if nanos < 0 { // a time before 1970 is so many nanoseconds behind the second before it
		seconds, nanos = seconds-1, nanos+1e9
	}
	return instant{uint64(seconds), uint64(nanos)}
}

func (i instant) size() (size int) {
	if i.seconds != 0 {
		size += keySize + protowire.SizeVarint(i.seconds)
	}
	if i.nanos != 0 {
		size += keySize + protowire.SizeVarint(i.nanos)
	}
	return size
}

func timeSize(t tidemark.Time) int {
	if t == tidemark.NoTime {
		return 0
	}
	return keySize + protowire.SizeBytes(instantOf(t).size())
}

func appendTime(b []byte, field protowire.Number, t tidemark.Time) []byte {
	if t == tidemark.NoTime {
		return b
	}
	at := instantOf(t)
	b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(at.size()))
	if at.seconds != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), at.seconds)
	}
	if at.nanos != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), at.nanos)
	}
	return b
}
