package rpc

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// TestBuffersFit holds the memory of a request to about what admission counts for it.
func TestBuffersFit(t *testing.T) {
	for size := 4097; size <= maxRequestBytes; size = size*3/2 + 1 {
		buffer := buffers.Get(size)
		if len(*buffer) != size || cap(*buffer) > 4*size || size > 16<<10 && cap(*buffer) > 2*size {
			t.Errorf("a buffer for %d bytes has %d and room for %d", size, len(*buffer), cap(*buffer))
		}
		buffers.Put(buffer)
	}
}

func TestPooledCodec(t *testing.T) {
	codec := newPooledCodec()
	for _, size := range []int{0, 1, 1 << 10, 33 << 10, tidemark.MaxPayloadBytes} {
		sent := &tidemarkv1.AppendRequest{Timeline: "t", MessageId: "m", Payload: bytes.Repeat([]byte{7}, size)}
		data, err := codec.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		// As it comes from the network: in pieces.
		raw := data.Materialize()
		var pieces mem.BufferSlice
		for len(raw) > 0 {
			n := min(len(raw), 16<<10)
			pieces = append(pieces, mem.SliceBuffer(raw[:n]))
			raw = raw[n:]
		}
		data.Free()
		var got tidemarkv1.AppendRequest
		if err := codec.Unmarshal(pieces, &got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(sent, &got) {
			t.Errorf("a request with %d bytes of payload came back changed", size)
		}
	}
}
