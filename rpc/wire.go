package rpc

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Pages of messages are most of what nodes send. So their messages are encoded by hand, in one
// pass and without a protobuf message, its timestamps and its reflection for each. The
// bytes become unknown fields of the reply, which are sent as they are: to whoever receives it
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
// reply itself shows none.
func setMessages(reply proto.Message, messages []tidemark.Message) {
	if len(messages) == 0 {
		return
	}
	m := reply.ProtoReflect()
	m.SetUnknown(protoreflect.RawFields(appendMessages(nil, m.Descriptor().Fields().ByName("messages").Number(), messages)))
}

// appendMessages encodes messages as a repeated field.
func appendMessages(b []byte, field protowire.Number, messages []tidemark.Message) []byte {
	var scratch []byte
	for i := range messages {
		scratch = appendMessage(scratch[:0], &messages[i])
		if b == nil {
			b = make([]byte, 0, len(messages)*(len(scratch)+16)) // most are of about one size
		}
		b = protowire.AppendTag(b, field, protowire.BytesType)
		b = protowire.AppendBytes(b, scratch)
	}
	return b
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
		b = protowire.AppendVarint(b, uint64(2*protowire.SizeTag(1)+protowire.SizeBytes(len(a.Key))+protowire.SizeBytes(len(a.Value))))
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), a.Key)
		b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), a.Value)
	}
	b = appendTime(b, fieldClientTime, m.ClientTime)
	b = appendTime(b, fieldServerTime, m.ServerTime)
	b = protowire.AppendBytes(protowire.AppendTag(b, fieldDigest, protowire.BytesType), m.Digest[:])
	if m.Source != nil || m.Revision != nil || m.Revises != nil {
		// Rare enough, and not worth a second encoding.
		rest := &tidemarkv1.Message{Source: toSource(m.Source), Revision: toRevision(m.Revision), Revises: toRevises(m.Revises)}
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

// appendTime encodes a google.protobuf.Timestamp.
func appendTime(b []byte, field protowire.Number, t tidemark.Time) []byte {
	if t == tidemark.NoTime {
		return b
	}
	at := t.Go()
	seconds, nanos := uint64(at.Unix()), uint64(at.Nanosecond())
	size := 0
	if seconds != 0 {
		size += protowire.SizeTag(1) + protowire.SizeVarint(seconds)
	}
	if nanos != 0 {
		size += protowire.SizeTag(2) + protowire.SizeVarint(nanos)
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
	if seconds != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), seconds)
	}
	if nanos != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), nanos)
	}
	return b
}
