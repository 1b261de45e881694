package rpc

import (
	"bytes"
	"strings"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"tidemark"
)

// codec is that of requests. It is gRPC's own for protobuf, but a request of this API that cannot be decoded,
// such as one whose text is not UTF-8, reaches its handler: empty and marked as
// undecodable. The validation then refuses it like any other bad input. Without
// this gRPC answers INTERNAL by itself, past all interceptors.
type codec struct{ pooledCodec }

func newCodec() codec { return codec{newPooledCodec()} }

// undecodable is the mark: an unknown field, because those are what a message can hold
// beside its own.
var undecodable = protowire.AppendString(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.BytesType), "undecodable")

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.pooledCodec.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	m, ok := v.(proto.Message)
	if !ok || !strings.HasPrefix(string(m.ProtoReflect().Descriptor().FullName()), "tidemark.") {
		return err
	}
	proto.Reset(m)
	m.ProtoReflect().SetUnknown(undecodable)
	return nil
}

// isUndecodable says that the request was marked by codec.
func isUndecodable(req proto.Message) bool {
	return bytes.Equal(req.ProtoReflect().GetUnknown(), undecodable)
}

var errUndecodable = tidemark.Invalid("request", "cannot be decoded; is it of this API, and all text UTF-8?")
