package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"tidemark"
	"tidemark/fsm"
	"tidemark/fsm/fsmpb"
	pb "tidemark/rpc/tidemarkv1"
)

func tagged(tag uint64, change func(*pb.AppendRequest)) *pb.AppendStreamRequest {
	return &pb.AppendStreamRequest{Tag: tag, Append: anAppend(func(r *pb.AppendRequest) {
		r.MessageId = fmt.Sprint("m", tag)
		if change != nil {
			change(r)
		}
	})}
}

func openStream(t *testing.T, ctx context.Context, d *door) pb.TimelineService_AppendStreamClient {
	t.Helper()
	stream, err := d.timelines.AppendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func send(t *testing.T, stream pb.TimelineService_AppendStreamClient, requests ...*pb.AppendStreamRequest) {
	t.Helper()
	for _, request := range requests {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
	}
}

// Appends are proposed in the order sent, final errors are answered in their place,
// and after a half-close all answers come and then OK.
func TestStreamAnswersAll(t *testing.T) {
	node := leadingNode()
	node.outcome = func(n int, command *fsmpb.Command) (any, error) {
		if string(command.GetAppend().GetMessageId()) == "m50" {
			return fsm.AppendResult{Err: tidemark.ErrMessageIDConflict}, nil
		}
		return succeed(n, command)
	}
	d := open(t, newNetwork(), node, nil)
	stream := openStream(t, testContext(t), d)
	for tag := range uint64(100) {
		send(t, stream, tagged(tag, func(r *pb.AppendRequest) {
			if tag == 70 {
				r.Timeline = ""
			}
		}))
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	replies, err := drain(t, stream)
	if err != nil || len(replies) != 100 {
		t.Fatalf("%d replies, then %v", len(replies), err)
	}
	for i, reply := range replies {
		want := map[int]string{50: "MESSAGE_ID_CONFLICT", 70: "INVALID_ARGUMENT"}[i]
		if reply.Tag != uint64(i) || reply.GetError().GetReason() != want || (want == "") != (reply.GetResponse() != nil) {
			t.Errorf("reply %d is %v", i, reply)
		}
	}
	if field := replies[70].GetError().GetMetadata()["field"]; field != "append.timeline" {
		t.Errorf("the invalid field is %q", field)
	}
	for i, command := range node.proposed {
		want := i
		if i >= 70 {
			want++
		}
		if got := string(command.GetAppend().GetMessageId()); got != fmt.Sprint("m", want) {
			t.Fatalf("proposal %d is of %s", i, got)
		}
	}
}

// At the first append that may be retried the stream ends with that status; what was
// answered before it stands, and nothing after it is proposed.
func TestStreamEndsAtRetryable(t *testing.T) {
	for _, test := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{tidemark.ErrOverloaded, codes.ResourceExhausted, "OVERLOADED"},
		{tidemark.ErrNotLeader, codes.Unavailable, "NOT_LEADER"},
		{tidemark.ErrOutcomeUnknown, codes.Unavailable, "OUTCOME_UNKNOWN"},
	} {
		node := leadingNode()
		node.outcome = func(n int, command *fsmpb.Command) (any, error) {
			if n == 3 {
				return nil, test.err
			}
			return succeed(n, command)
		}
		d := open(t, newNetwork(), node, nil)
		stream := openStream(t, testContext(t), d)
		for tag := range uint64(10) {
			if stream.Send(tagged(tag, nil)) != nil {
				break
			}
		}
		replies, err := drain(t, stream)
		wantReason(t, err, test.code, test.reason)
		if len(replies) != 2 {
			t.Errorf("%s: %d replies before the end", test.reason, len(replies))
		}
		if n := node.count(); n != 3 {
			t.Errorf("%s: %d were proposed", test.reason, n)
		}
	}
}

// A stream holds no more than its bounds: the client is not read further.
func TestStreamIsBounded(t *testing.T) {
	for name, limits := range map[string]Limits{
		"items": {StreamItems: 3},
		"bytes": {StreamBytes: 4 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			node := leadingNode()
			node.hold = make(chan struct{})
			d := open(t, newNetwork(), node, func(o *Options) { o.Limits = limits })
			stream := openStream(t, testContext(t), d)
			const count = 40
			for tag := range uint64(count) {
				send(t, stream, tagged(tag, func(r *pb.AppendRequest) { r.Payload = make([]byte, 1100) }))
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			// The queue, one at either end of it, and no more.
			want, waitsIn := 5, "appendStream).enqueue"
			if name == "bytes" {
				want, waitsIn = 3, "appendStream).acquire"
			}
			eventually(t, "the bound is reached", func() bool { return node.count() >= want && runsIn(waitsIn) })
			if n := node.count(); n != want {
				t.Errorf("%d are in flight, want %d", n, want)
			}
			close(node.hold)
			if replies, err := drain(t, stream); err != nil || len(replies) != count {
				t.Errorf("%d replies, then %v", len(replies), err)
			}
		})
	}
}

// A stream waits for room among all streams, and is refused when there is none for long.
func TestStreamWaitsForRoom(t *testing.T) {
	node := leadingNode()
	node.hold = make(chan struct{})
	d := open(t, newNetwork(), node, func(o *Options) {
		o.Limits = Limits{MaxBytes: 1500, StreamPatience: 50 * time.Millisecond}
	})
	big := func(r *pb.AppendRequest) { r.Payload = make([]byte, 1000) }
	first := openStream(t, testContext(t), d)
	send(t, first, tagged(1, big))
	eventually(t, "the room is taken", func() bool { return node.count() == 1 })
	second := openStream(t, testContext(t), d)
	send(t, second, tagged(1, big))
	_, err := drain(t, second)
	info, details := wantReason(t, err, codes.ResourceExhausted, "OVERLOADED")
	if len(details) != 2 {
		t.Errorf("no RetryInfo beside %v", info)
	}
	third := openStream(t, testContext(t), d)
	d.Server.admission.limits.StreamPatience = time.Minute
	send(t, third, tagged(1, big))
	close(node.hold)
	for _, stream := range []pb.TimelineService_AppendStreamClient{first, third} {
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if replies, err := drain(t, stream); err != nil || len(replies) != 1 {
			t.Errorf("%d replies, then %v", len(replies), err)
		}
	}
}

// A client that vanishes in the middle leaves nothing behind: no goroutine, no bytes in flight.
func TestStreamClientVanishes(t *testing.T) {
	w := newNetwork()
	leader, follower := leadingNode(), followingNode("n1")
	leader.hold = make(chan struct{})
	n1 := open(t, w, leader, nil)
	n2 := open(t, w, follower, func(o *Options) { o.NodeID = "n2" })
	for name, d := range map[string]*door{"on the leader": n1, "through a follower": n2} {
		before := leader.count()
		ctx, cancel := context.WithCancel(testContext(t))
		stream := openStream(t, ctx, d)
		for tag := range uint64(20) {
			send(t, stream, tagged(tag, nil))
		}
		eventually(t, "all are proposed "+name, func() bool { return leader.count() == before+20 })
		cancel()
		eventually(t, "nothing is in flight "+name, func() bool {
			return n1.admission.held.Load() == 0 && n1.admission.streams.Load() == 0 && n2.admission.streams.Load() == 0
		})
		eventually(t, "no goroutine is left "+name, func() bool { return !runsIn("appendStream", "relay)") })
	}
	close(leader.hold)
}

// runsIn says that a goroutine is in one of the functions.
func runsIn(names ...string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, name := range names {
		if strings.Contains(string(stacks), "rpc.(*"+name) {
			return true
		}
	}
	return false
}

// An append that gets no outcome in time ends the stream as unknown.
func TestStreamItemTimesOut(t *testing.T) {
	node := leadingNode()
	node.hold = make(chan struct{})
	defer close(node.hold)
	d := open(t, newNetwork(), node, func(o *Options) { o.Limits.CallTimeout = 20 * time.Millisecond })
	stream := openStream(t, testContext(t), d)
	send(t, stream, tagged(1, nil))
	_, err := drain(t, stream)
	wantReason(t, err, codes.Unavailable, "OUTCOME_UNKNOWN")
}

// A request that cannot be decoded ends the stream, because nobody knows its tag.
func TestStreamUndecodable(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	stream, err := d.conn.NewStream(testContext(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		pb.TimelineService_AppendStream_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte{0xff}
	if err := stream.SendMsg(&raw); err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(&raw)
	wantInvalid(t, err, "request", "cannot be decoded")
}

// Shutdown ends idle and busy streams: what was proposed is answered first.
func TestStreamEndsAtShutdown(t *testing.T) {
	w := newNetwork()
	leader := leadingNode()
	leader.hold = make(chan struct{})
	n1 := open(t, w, leader, nil)
	n2 := open(t, w, followingNode("n1"), func(o *Options) { o.NodeID = "n2" })
	idle := openStream(t, testContext(t), n1)
	busy, relayed := openStream(t, testContext(t), n1), openStream(t, testContext(t), n2)
	for tag := range uint64(10) {
		send(t, busy, tagged(tag, nil))
		send(t, relayed, tagged(tag, nil))
	}
	eventually(t, "all are proposed and queued", func() bool {
		return leader.count() == 20 && !runsIn("appendStream).take", "appendStream).enqueue")
	})
	eventually(t, "all are open", func() bool { return n1.admission.streams.Load() == 3 })
	ended := make(chan error, 2)
	for _, d := range []*door{n2, n1} {
		go func() { ended <- d.Shutdown(testContext(t)) }()
		eventually(t, "it is stopping", d.isStopping)
	}
	close(leader.hold)
	for stream, want := range map[pb.TimelineService_AppendStreamClient]int{idle: 0, busy: 10, relayed: 10} {
		replies, err := drain(t, stream)
		wantReason(t, err, codes.Unavailable, "STOPPING")
		if len(replies) != want {
			t.Errorf("%d replies before the end, want %d", len(replies), want)
		}
	}
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
}

// No more than MaxStreams are open.
func TestStreamsAreLimited(t *testing.T) {
	d := open(t, newNetwork(), leadingNode(), func(o *Options) { o.Limits.MaxStreams = 1 })
	first := openStream(t, testContext(t), d)
	eventually(t, "the first is open", func() bool { return d.admission.streams.Load() == 1 })
	_, err := drain(t, openStream(t, testContext(t), d))
	wantReason(t, err, codes.ResourceExhausted, "OVERLOADED")
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := drain(t, first); err != nil {
		t.Fatal(err)
	}
}
