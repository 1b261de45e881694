package client

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec for everything but frames
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// frame is an AppendStreamRequest whose AppendRequest is encoded already. The same
// bytes are sent on every stream; only the tag differs.
type frame struct {
	tag     uint64
	request []byte
}

// Fields of AppendStreamRequest.
const (
	frameTagField    protowire.Number = 1
	frameAppendField protowire.Number = 2
)

// encode puts the tag and the head of the request's field before the request,
// which is not copied.
func (f *frame) encode() mem.BufferSlice {
	// Two field keys of one byte each, and two varints of at most ten.
	head := make([]byte, 0, 22)
	head = protowire.AppendTag(head, frameTagField, protowire.VarintType)
	head = protowire.AppendVarint(head, f.tag)
	head = protowire.AppendTag(head, frameAppendField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(f.request)))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(f.request)}
}

// frameCodec is the codec of the append stream: frames out, protobuf in.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() frameCodec { return frameCodec{encoding.GetCodecV2("proto")} }

// Marshal takes frames alone.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("append stream sends frames, not %T", v)
	}
	return f.encode(), nil
}
