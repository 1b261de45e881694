package client_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/client"
	pb "tidemark/rpc/tidemarkv1"
)

// echo answers every append at once, so that what is measured is the client.
type echo struct {
	pb.UnimplementedTimelineServiceServer
}

func (echo) AppendStream(stream pb.TimelineService_AppendStreamServer) error {
	response := &pb.AppendResponse{SeqId: 1, Digest: make([]byte, 16), Position: tidemark.Position(1).Token()}
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		if err := stream.Send(&pb.AppendStreamResponse{Tag: request.GetTag(), Outcome: &pb.AppendStreamResponse_Response{Response: response}}); err != nil {
			return err
		}
	}
}

func newEcho(b *testing.B) *client.Client {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterTimelineServiceServer(server, echo{})
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(server.Stop)
	c, err := client.New([]string{listener.Addr().String()}, client.WithoutDiscovery())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// BenchmarkAppend has concurrent callers that wait for each append, 256 bytes of
// payload, and the answering server in the same process.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			c := newEcho(b)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			payload := make([]byte, 256)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var group sync.WaitGroup
			for i := range callers {
				timeline := tidemark.TimelineID(fmt.Sprint("conv/", i))
				group.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if _, err := c.Append(ctx, client.Draft{Timeline: timeline, Sender: "alice", Payload: payload}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// BenchmarkAppendAsync has one caller that does not wait.
func BenchmarkAppendAsync(b *testing.B) {
	c := newEcho(b)
	payload := make([]byte, 256)
	b.ReportAllocs()
	b.ResetTimer()
	var last *client.Pending
	for range b.N {
		pending, err := c.AppendAsync(context.Background(), client.Draft{Timeline: "conv/1", Sender: "alice", Payload: payload})
		if err != nil {
			b.Fatal(err)
		}
		last = pending
	}
	if _, err := last.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}
