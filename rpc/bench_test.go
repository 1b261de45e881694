package rpc_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"tidemark/rpc/rpctest"
	pb "tidemark/rpc/tidemarkv1"
)

// BenchmarkAppend appends 256-byte messages to 1,000 timelines of a cluster of three in
// this process, which also is the client: by 256 unary callers, and by four streams
// with 256 appends in flight each, on the leader and through a follower.
func BenchmarkAppend(b *testing.B) {
	for _, test := range []struct {
		name   string
		append func(*testing.B, *rpctest.Node)
		leader bool
	}{
		{"unary/leader", unaryAppends, true}, {"unary/follower", unaryAppends, false},
		{"stream/leader", streamAppends, true}, {"stream/follower", streamAppends, false},
	} {
		b.Run(test.name, func(b *testing.B) {
			c := rpctest.Start(b, 3, rpctest.Options{})
			node := c.Leader()
			if !test.leader {
				node = c.Followers()[0]
			}
			b.ReportAllocs()
			b.ResetTimer()
			test.append(b, node)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

func benchMessage(n int) *pb.AppendRequest {
	return &pb.AppendRequest{Timeline: fmt.Sprint("conv/", n%1000), MessageId: fmt.Sprintf("%036d", n), Sender: "alice", Type: "text", Payload: make([]byte, 256)}
}

func unaryAppends(b *testing.B, node *rpctest.Node) {
	api := timelines(node)
	var next atomic.Int64
	b.SetParallelism(128)
	b.RunParallel(func(each *testing.PB) {
		for each.Next() {
			if _, err := api.Append(context.Background(), benchMessage(int(next.Add(1)))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func streamAppends(b *testing.B, node *rpctest.Node) {
	api := timelines(node)
	const streams, window = 4, 256
	done := make(chan error, streams)
	for s := range streams {
		go func() {
			stream, err := api.AppendStream(context.Background())
			if err != nil {
				done <- err
				return
			}
			room := make(chan struct{}, window)
			go func() {
				for n := s; n < b.N; n += streams {
					room <- struct{}{}
					if stream.Send(&pb.AppendStreamRequest{Tag: uint64(n), Append: benchMessage(n)}) != nil {
						return
					}
				}
				stream.CloseSend()
			}()
			for {
				if _, err := stream.Recv(); err != nil {
					if err.Error() == "EOF" {
						err = nil
					}
					done <- err
					return
				}
				<-room
			}
		}()
	}
	for range streams {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}
