package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec for everything but frames
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// door is what Tidemark's SDK needs of a node to append by streams.
type door struct {
	tidemarkv1.UnimplementedTimelineServiceServer
	tidemarkv1.UnimplementedClusterServiceServer

	raft     *raft.Raft
	proposer *proposer
	self     member
	members  []member
}

// Status implements tidemarkv1.ClusterServiceServer.
func (d *door) Status(context.Context, *tidemarkv1.StatusRequest) (*tidemarkv1.StatusResponse, error) {
	_, leader := d.raft.LeaderWithID()
	reply := &tidemarkv1.StatusResponse{NodeId: d.self.id, LeaderId: string(leader), Term: d.raft.CurrentTerm()}
	for _, m := range d.members {
		if m.id == string(leader) {
			reply.LeaderClientAddress = m.client
		}
		reply.Members = append(reply.Members, &tidemarkv1.Member{NodeId: m.id, RaftAddress: m.raft, ClientAddress: m.client, Role: tidemarkv1.MemberRole_MEMBER_ROLE_VOTER})
	}
	return reply, nil
}

// maxUnanswered bounds the appends of a stream that wait for their answers, as rpc does.
const maxUnanswered = 4096

// unanswered is an append on its way to its answer.
type unanswered struct {
	tag  uint64
	item *pending
}

// AppendStream implements tidemarkv1.TimelineServiceServer: one goroutine receives and
// proposes, and the handler's own answers in the same order.
func (d *door) AppendStream(stream grpc.BidiStreamingServer[tidemarkv1.AppendStreamRequest, tidemarkv1.AppendStreamResponse]) error {
	if d.raft.State() != raft.Leader {
		return status.Error(codes.Unavailable, "not the leader")
	}
	queue := make(chan unanswered, maxUnanswered)
	received := make(chan error, 1)
	go func() {
		defer close(queue)
		for {
			var f frame
			if err := stream.RecvMsg(&f); err != nil {
				received <- err
				return
			}
			select {
			case queue <- unanswered{f.tag, d.proposer.propose(f.request)}:
			case <-stream.Context().Done():
				received <- stream.Context().Err()
				return
			}
		}
	}()
	// As large as Tidemark's.
	digest := make([]byte, len(tidemark.Digest{}))
	for next := range queue {
		<-next.item.done
		if next.item.err != nil {
			return status.Error(codes.Unavailable, next.item.err.Error())
		}
		if err := stream.Send(&tidemarkv1.AppendStreamResponse{Tag: next.tag, Outcome: &tidemarkv1.AppendStreamResponse_Response{
			Response: &tidemarkv1.AppendResponse{
				SeqId: next.item.index, ServerTime: timestamppb.New(time.Now()), Digest: digest, Position: tidemark.Position(next.item.index).Token(),
			},
		}}); err != nil {
			return err
		}
	}
	if err := <-received; err != io.EOF {
		return err
	}
	return nil
}

// frame is an AppendStreamRequest whose AppendRequest is not decoded: it goes into the
// log as it is.
type frame struct {
	tag     uint64
	request []byte
}

// Fields of AppendStreamRequest.
const (
	tagField    protowire.Number = 1
	appendField protowire.Number = 2
)

// codec is gRPC's own for protobuf, and takes frames.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	for rest := data.Materialize(); len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		rest = rest[n:]
		switch {
		case number == tagField && kind == protowire.VarintType:
			f.tag, n = protowire.ConsumeVarint(rest)
		case number == appendField && kind == protowire.BytesType:
			f.request, n = protowire.ConsumeBytes(rest)
		default:
			return fmt.Errorf("field %d of an append stream is not known", number)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		rest = rest[n:]
	}
	return nil
}
