package rpc

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Fields of the API's TailResponse, TailEvent and TailMessages.
const (
	fieldTailEvents   protowire.Number = 1
	fieldTailTag      protowire.Number = 1
	fieldTailMessages protowire.Number = 2
	fieldTailPage     protowire.Number = 1
	fieldTailDigest   protowire.Number = 2
)

// tailBatch is a TailResponse in the making. Its pages are encoded as they come, each into a
// buffer that gRPC sends as it is.
type tailBatch struct {
	// TailResponse has all but what is in encoded. Its events come behind those.
	tidemarkv1.TailResponse
	// count is that of all events.
	count   int
	encoded mem.BufferSlice
}

// add adds events that bring no messages.
func (b *tailBatch) add(events ...*tidemarkv1.TailEvent) {
	b.count += len(events)
	b.Events = append(b.Events, events...)
}

// addPage adds an event that brings messages.
func (b *tailBatch) addPage(tag uint64, page *tidemark.Page) error {
	if len(b.Events) > 0 {
		// Of responses one behind the other, the next one goes on with the events.
		before, err := proto.Marshal(&tidemarkv1.TailResponse{Events: b.Events})
		if err != nil {
			return err
		}
		b.Events, b.encoded = nil, append(b.encoded, mem.SliceBuffer(before))
	}
	pageSize := messagesSize(fieldTailPage, page.Messages) + protowire.SizeTag(fieldTailDigest) + protowire.SizeBytes(len(page.PreviousDigest))
	eventSize := protowire.SizeTag(fieldTailTag) + protowire.SizeVarint(tag) + protowire.SizeTag(fieldTailMessages) + protowire.SizeBytes(pageSize)
	out := sentRoom(protowire.SizeTag(fieldTailEvents) + protowire.SizeBytes(eventSize))
	out = protowire.AppendVarint(protowire.AppendTag(out, fieldTailEvents, protowire.BytesType), uint64(eventSize))
	out = protowire.AppendVarint(protowire.AppendTag(out, fieldTailTag, protowire.VarintType), tag)
	out = protowire.AppendVarint(protowire.AppendTag(out, fieldTailMessages, protowire.BytesType), uint64(pageSize))
	out = appendMessages(out, fieldTailPage, page.Messages)
	out = protowire.AppendBytes(protowire.AppendTag(out, fieldTailDigest, protowire.BytesType), page.PreviousDigest[:])
	b.count++
	b.encoded = append(b.encoded, mem.NewBuffer(&out, buffers))
	return nil
}

// marshal returns the whole response, which then belongs to who sends it.
func (b *tailBatch) marshal(codec pooledCodec) (mem.BufferSlice, error) {
	rest, err := codec.Marshal(&b.TailResponse)
	if err != nil {
		return nil, err
	}
	return append(b.encoded, rest...), nil
}
