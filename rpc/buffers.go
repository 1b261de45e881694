package rpc

import (
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that pooledCodec stands on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"tidemark"
)

// buffers hold requests and replies as they are on the wire. gRPC's own pool has
// nothing between 32 KiB and 1 MiB: a message of 33 KiB would take a MiB at each
// step, thirty times what Limits.MaxBytes counts for it. Here a buffer is at most
// twice as large as what it holds.
var buffers = newBuffers(8, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)

func newBuffers(exponents ...uint8) mem.BufferPool {
	pool, err := mem.NewBinaryTieredBufferPool(exponents...)
	if err != nil {
		// Only sizes beyond the address space are refused.
		panic(err)
	}
	return pool
}

// pageMemories are for pages that are encoded as soon as they were read.
var pageMemories = sync.Pool{New: func() any { return new(tidemark.PageMemory) }}

func takePageMemory() *tidemark.PageMemory { return pageMemories.Get().(*tidemark.PageMemory) }

// givePageMemory ends the use of a page.
func givePageMemory(m *tidemark.PageMemory) {
	clear(m.Messages) // so that they hold nothing else
	pageMemories.Put(m)
}

// pooledCodec is gRPC's own for protobuf, on buffers.
type pooledCodec struct{ encoding.CodecV2 }

func newPooledCodec() pooledCodec { return pooledCodec{encoding.GetCodecV2("proto")} }

func (c pooledCodec) Marshal(v any) (mem.BufferSlice, error) {
	if batch, ok := v.(*tailBatch); ok {
		return batch.marshal(c)
	}
	m, ok := v.(proto.Message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	if raw := m.ProtoReflect().GetUnknown(); len(raw) > 0 {
		return c.marshalAround(m, raw)
	}
	size := proto.Size(m)
	if mem.IsBelowBufferPoolingThreshold(size) {
		return c.CodecV2.Marshal(v)
	}
	buffer := buffers.Get(size)
	// The size was computed just above, and nobody changes a message on its way out.
	if _, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend((*buffer)[:0], m); err != nil {
		buffers.Put(buffer)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buffer, buffers)}, nil
}

// marshalAround puts a message's encoded fields (setMessages) behind the others, as they are.
// Nobody looks at a message on its way out, so that they can be taken out of it.
func (c pooledCodec) marshalAround(m proto.Message, raw []byte) (mem.BufferSlice, error) {
	m.ProtoReflect().SetUnknown(nil)
	others, err := c.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(others, mem.NewBuffer(&raw, buffers)), nil
}

func (c pooledCodec) Unmarshal(data mem.BufferSlice, v any) error {
	// One buffer is decoded where it stands; gRPC would gather several in its own.
	buffer := data.MaterializeToBuffer(buffers)
	defer buffer.Free()
	return c.CodecV2.Unmarshal(mem.BufferSlice{buffer}, v)
}
