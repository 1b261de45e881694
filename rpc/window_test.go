package rpc_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tidemark/rpc/rpctest"
	pb "tidemark/rpc/tidemarkv1"
)

// listening keeps all that was read from a connection.
type listening struct {
	net.Conn
	mu    sync.Mutex
	heard []byte
}

func (l *listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, b[:n]...)
	return n, err
}

// A node sends no pings to measure how large a window should be: each would wake both sides up.
func TestNoPingsForTheWindow(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	var line *listening
	conn, err := grpc.NewClient("passthrough:///"+c.Leader().Address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			line = &listening{Conn: conn}
			return line, err
		}),
		// Or this side would send such pings, and the node answer them.
		grpc.WithStaticStreamWindowSize(1<<20), grpc.WithStaticConnWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, api := within(t), pb.NewTimelineServiceClient(conn)
	for n := 1; n <= 5; n++ {
		must(api.Append(ctx, message("conv/1", n)))(t)
	}
	// What gRPC puts into these pings, and into no others.
	ping := []byte{2, 4, 16, 16, 9, 14, 7, 7}
	line.mu.Lock()
	defer line.mu.Unlock()
	if n := bytes.Count(line.heard, ping); n > 0 {
		t.Errorf("%d pings came with five replies", n)
	}
}
