package rpc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/fsm/fsmpb"
	pb "tidemark/rpc/tidemarkv1"
)

// writes is one request of each method that a follower forwards.
var writes = []proto.Message{
	anAppend(nil), aBatch(2, nil), atomically(aBatch(2, nil)), anAck(2, nil),
	&pb.ReadRequest{Timeline: "t", Reader: "a", Ack: &pb.ReadAck{DeliveredSeqId: 1}},
	&pb.AddMemberRequest{NodeId: "n4", RaftAddress: "host:1"}, &pb.RemoveMemberRequest{NodeId: "n4"},
	&pb.PromoteMemberRequest{NodeId: "n4"}, &pb.TransferLeadershipRequest{NodeId: "n2"},
}

// A follower passes every write to the leader, once.
func TestFollowerForwardsWrites(t *testing.T) {
	w := newNetwork()
	leader, follower := leadingNode(), followingNode("n1")
	open(t, w, leader, nil)
	d := open(t, w, follower, func(o *Options) { o.NodeID = "n2" })
	for _, request := range writes {
		if err := call(testContext(t), d, request); err != nil {
			t.Errorf("%T: %v", request, err)
		}
	}
	if n := leader.count(); n != 6 {
		t.Errorf("the leader got %d proposals, want 6", n)
	}
	if want := []string{"add n4 host:1", "remove n4", "promote n4", "transfer n2"}; !slices.Equal(leader.members, want) {
		t.Errorf("the leader was asked to %q", leader.members)
	}
	if follower.count() != 0 || len(follower.members) != 0 {
		t.Error("the follower acted by itself")
	}
	stream := openStream(t, testContext(t), d)
	send(t, stream, tagged(1, nil), tagged(2, nil))
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if replies, err := drain(t, stream); err != nil || len(replies) != 2 || replies[1].Tag != 2 {
		t.Errorf("the stream got %v, %v", replies, err)
	}
}

// A forwarded call never goes on: it learns who leads instead. So two nodes that each
// take the other for the leader do not loop.
func TestForwardingNeverLoops(t *testing.T) {
	w := newNetwork()
	a, b := followingNode("n2"), followingNode("n1")
	n1 := open(t, w, a, nil)
	open(t, w, b, func(o *Options) { o.NodeID = "n2" })
	for _, request := range writes {
		info, _ := wantReason(t, call(testContext(t), n1, request), codes.Unavailable, "NOT_LEADER")
		if info.Metadata["leader_id"] != "n1" || info.Metadata["leader_address"] != "n1:1" {
			t.Errorf("%T: metadata is %v", request, info.Metadata)
		}
	}
	_, err := drain(t, openStream(t, testContext(t), n1))
	wantReason(t, err, codes.Unavailable, "NOT_LEADER")
	if a.count()+b.count() != 0 {
		t.Error("something was proposed")
	}
	marked := metadata.AppendToOutgoingContext(testContext(t), forwardedKey, "n3")
	_, err = n1.timelines.Append(marked, anAppend(nil))
	info, _ := wantReason(t, err, codes.Unavailable, "NOT_LEADER")
	if info.Metadata["leader_id"] != "n2" {
		t.Errorf("metadata is %v", info.Metadata)
	}
}

// What nobody got was not done: no leader, one without an address, one that cannot be reached.
func TestNoLeader(t *testing.T) {
	for name, change := range map[string]func(*fakeNode){
		"unknown":     func(n *fakeNode) { n.known = false },
		"itself":      func(n *fakeNode) { n.leader.ID = "n2" },
		"no address":  func(n *fakeNode) { n.leader.ClientAddress = "" },
		"unreachable": func(n *fakeNode) {},
	} {
		t.Run(name, func(t *testing.T) {
			node := followingNode("n1")
			change(node)
			d := open(t, newNetwork(), node, func(o *Options) { o.NodeID = "n2" })
			for _, request := range writes {
				wantReason(t, call(testContext(t), d, request), codes.Unavailable, "NO_LEADER")
			}
			_, err := drain(t, openStream(t, testContext(t), d))
			wantReason(t, err, codes.Unavailable, "NO_LEADER")
		})
	}
}

// When the connection breaks after the leader was asked, nobody knows.
func TestLostConnectionIsUnknown(t *testing.T) {
	w := newNetwork()
	leader := leadingNode()
	leader.hold = make(chan struct{})
	n1 := open(t, w, leader, func(o *Options) { o.Limits.StreamPatience = time.Second })
	d := open(t, w, followingNode("n1"), func(o *Options) { o.NodeID = "n2" })
	failed := make(chan error, 2)
	go func() { failed <- call(testContext(t), d, anAppend(nil)) }()
	stream := openStream(t, testContext(t), d)
	send(t, stream, tagged(1, nil))
	go func() {
		_, err := stream.Recv()
		failed <- err
	}()
	eventually(t, "the leader was asked twice", func() bool { return leader.count() == 2 })
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n1.grpcShutdown(cut, leader); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	for range 2 {
		wantReason(t, <-failed, codes.Unavailable, "OUTCOME_UNKNOWN")
	}
	wantReason(t, call(testContext(t), d, anAppend(nil)), codes.Unavailable, "NO_LEADER")
}

// grpcShutdown cuts everything off. Its handlers end when the node lets go.
func (d *door) grpcShutdown(ctx context.Context, node *fakeNode) error {
	go func() {
		<-d.draining
		for d.admission.calls.Load() > 0 || d.admission.streams.Load() > 0 {
			time.Sleep(time.Millisecond)
		}
		close(node.hold)
	}()
	err := d.Shutdown(ctx)
	d.stopped = nil // the cleanup's Shutdown has nothing to complain of
	return err
}

// A new leader gets a new connection; the old one lives until its calls have ended.
func TestLeaderChanges(t *testing.T) {
	w := newNetwork()
	old, next, follower := leadingNode(), leadingNode(), followingNode("n1")
	old.hold = make(chan struct{})
	open(t, w, old, nil)
	open(t, w, next, func(o *Options) { o.NodeID = "n3" })
	d := open(t, w, follower, func(o *Options) { o.NodeID = "n2" })
	slow := make(chan error, 1)
	go func() { slow <- call(testContext(t), d, anAppend(nil)) }()
	eventually(t, "the old leader was asked", func() bool { return old.count() == 1 })
	follower.follow("n3")
	for range 3 {
		if err := call(testContext(t), d, anAppend(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if next.count() != 3 {
		t.Errorf("the new leader got %d", next.count())
	}
	close(old.hold)
	if err := <-slow; err != nil {
		t.Errorf("the call to the old leader: %v", err)
	}
}

// A node that loses its leadership before it proposes forwards the call instead.
func TestLostLeadershipIsForwarded(t *testing.T) {
	w := newNetwork()
	old, next := leadingNode(), leadingNode()
	old.outcome = func(int, *fsmpb.Command) (any, error) {
		go old.follow("n3")
		return nil, tidemark.ErrNotLeader
	}
	old.leader.ID, old.leader.ClientAddress = "n3", "n3:1"
	d := open(t, w, old, nil)
	open(t, w, next, func(o *Options) { o.NodeID = "n3" })
	if err := call(testContext(t), d, anAppend(nil)); err != nil {
		t.Fatal(err)
	}
	if next.count() != 1 {
		t.Errorf("the new leader got %d", next.count())
	}
}

// The caller's deadline reaches the leader.
func TestDeadlineIsForwarded(t *testing.T) {
	w := newNetwork()
	leader := leadingNode()
	leader.hold = make(chan struct{})
	defer close(leader.hold)
	deadline := make(chan time.Duration, 1)
	open(t, w, leader, func(o *Options) {
		o.ServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(
			func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				end, _ := ctx.Deadline()
				deadline <- time.Until(end)
				return handler(ctx, req)
			})}
	})
	d := open(t, w, followingNode("n1"), func(o *Options) { o.NodeID = "n2" })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := call(ctx, d, anAppend(nil)); err == nil {
		t.Error("it succeeded")
	}
	if left := <-deadline; left <= 0 || left > 200*time.Millisecond {
		t.Errorf("the leader had %v left", left)
	}
}

// The seam for TLS and authorisation: an interceptor's own status reaches the client.
func TestServerOptionsAreASeam(t *testing.T) {
	denied := tidemark.Invalid("token", "is missing")
	d := open(t, newNetwork(), leadingNode(), func(o *Options) {
		o.ServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(
			func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, denied })}
	})
	wantInvalid(t, call(testContext(t), d, anAppend(nil)), "token", "missing")
}
