package rpc

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/fsm"
	"tidemark/fsm/fsmpb"
	pb "tidemark/rpc/tidemarkv1"
)

func locally(millis *uint64) *pb.Consistency {
	return &pb.Consistency{Level: &pb.Consistency_Local_{Local: &pb.Consistency_Local{MaxStalenessMillis: millis}}}
}

// Each level waits for what it promises, and for nothing more.
func TestReadLevels(t *testing.T) {
	node := leadingNode()
	node.staleness = 1500*time.Microsecond + 1
	d := open(t, newNetwork(), node, nil)
	for _, test := range []struct {
		name   string
		level  *pb.Consistency
		waited []uint64
		millis uint64
	}{
		{"default", nil, []uint64{7}, 0},
		{"empty", &pb.Consistency{}, []uint64{7}, 0},
		{"linearizable", &pb.Consistency{Level: &pb.Consistency_Linearizable_{}}, []uint64{7}, 0},
		{"session", at(tidemark.Position(13).Token()), []uint64{13}, 2},
		{"session from nothing", at(nil), []uint64{0}, 2},
		{"local", locally(nil), nil, 2},
		{"local bounded", locally(proto.Uint64(2)), nil, 2},
		{"local bounded for ever", locally(proto.Uint64(1 << 63)), nil, 2},
	} {
		node.waited = nil
		reply, err := d.timelines.Read(testContext(t), &pb.ReadRequest{Timeline: "t", Consistency: test.level})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if !slices.Equal(node.waited, test.waited) || reply.GetStalenessMillis() != test.millis {
			t.Errorf("%s: waited for %v, staleness %d ms; want %v and %d", test.name, node.waited, reply.GetStalenessMillis(), test.waited, test.millis)
		}
		if reply.GetAppliedIndex() != 20 || string(reply.GetPosition()) != string(tidemark.Position(20).Token()) {
			t.Errorf("%s: applied %d, position %x", test.name, reply.GetAppliedIndex(), reply.GetPosition())
		}
	}
	// Every other read takes the same levels.
	for _, request := range []proto.Message{
		&pb.GetRequest{Timeline: "t", By: &pb.GetRequest_SeqId{SeqId: 1}, Consistency: at(tidemark.Position(13).Token())},
		&pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, CountOnly: true, Consistency: at(tidemark.Position(13).Token())},
		&pb.GetTimelineRequest{Timeline: "t", Consistency: at(tidemark.Position(13).Token())},
		aSync(1, func(r *pb.SyncRequest) { r.Consistency = at(tidemark.Position(13).Token()) }),
		aVerify(1, func(r *pb.VerifyRequest) { r.Consistency = at(tidemark.Position(13).Token()) }),
		&pb.ListTimelinesRequest{Consistency: at(tidemark.Position(13).Token())},
	} {
		node.waited = nil
		if err := call(testContext(t), d, request); err != nil || !slices.Equal(node.waited, []uint64{13}) {
			t.Errorf("%T: waited for %v, %v", request, node.waited, err)
		}
	}
}

// A position beyond what the store shows is not taken back by the reply.
func TestPositionNeverGoesBack(t *testing.T) {
	d := open(t, newNetwork(), leadingNode(), nil)
	reply, err := d.timelines.Read(testContext(t), &pb.ReadRequest{Timeline: "t", Consistency: at(tidemark.Position(99).Token())})
	if err != nil || string(reply.GetPosition()) != string(tidemark.Position(99).Token()) {
		t.Errorf("position is %x, %v", reply.GetPosition(), err)
	}
}

// A read that cannot keep its promise fails, and says why.
func TestReadsThatCannotBeServed(t *testing.T) {
	node := leadingNode()
	node.staleness = 10 * time.Millisecond
	d := open(t, newNetwork(), node, func(o *Options) { o.Limits.SessionWait = 20 * time.Millisecond })
	read := func(level *pb.Consistency) error {
		return call(testContext(t), d, &pb.ReadRequest{Timeline: "t", Consistency: level})
	}
	wantReason(t, read(locally(proto.Uint64(9))), codes.Unavailable, "STALE")
	wantReason(t, read(locally(proto.Uint64(0))), codes.Unavailable, "STALE")
	node.waitApplied = func(ctx context.Context, _ uint64) error {
		<-ctx.Done()
		return errors.Join(tidemark.ErrNotCaughtUp, ctx.Err())
	}
	wantReason(t, read(at(tidemark.Position(13).Token())), codes.Unavailable, "NOT_CAUGHT_UP")
	// The answer comes before the deadline has passed.
	soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	d.Limits.SessionWait = time.Hour
	waited := make(chan time.Duration, 1)
	node.waitApplied = func(ctx context.Context, _ uint64) error {
		end, _ := ctx.Deadline()
		waited <- time.Until(end)
		return nil
	}
	if err := call(soon, d, &pb.GetTimelineRequest{Timeline: "t", Consistency: at(nil)}); err != nil {
		t.Fatal(err)
	}
	if wait := <-waited; wait > 4600*time.Millisecond {
		t.Errorf("the wait is %v of 5 s", wait)
	}
	node.readIndex = func(context.Context) (uint64, error) { return 0, tidemark.ErrNoLeader }
	wantReason(t, read(nil), codes.Unavailable, "NO_LEADER")
	node.readIndex = nil
	node.waitApplied = nil
	wantReason(t, call(testContext(t), d, &pb.ReadRequest{Timeline: "other"}), codes.NotFound, "TIMELINE_NOT_FOUND")
	wantReason(t, call(testContext(t), d, &pb.GetTimelineRequest{Timeline: "other"}), codes.NotFound, "TIMELINE_NOT_FOUND")
	wantReason(t, call(testContext(t), d, &pb.GetRequest{Timeline: "t", By: &pb.GetRequest_SeqId{SeqId: 11}}), codes.NotFound, "MESSAGE_NOT_FOUND")
}

// Every way to say where a page starts reaches the store as it is meant.
func TestReadRanges(t *testing.T) {
	store := &fakeStore{}
	d := open(t, newNetwork(), leadingNode(), func(o *Options) { o.Store = store })
	const fwd, back = pb.Direction_DIRECTION_FORWARD, pb.Direction_DIRECTION_BACKWARD
	for _, test := range []struct {
		request *pb.ReadRequest
		want    tidemark.Range
	}{
		{&pb.ReadRequest{}, tidemark.Range{Seq: 1}},
		{&pb.ReadRequest{Start: &pb.ReadRequest_FromSeqId{FromSeqId: 5}}, tidemark.Range{Seq: 5}},
		{&pb.ReadRequest{Start: &pb.ReadRequest_FromSeqId{FromSeqId: 5}, Direction: back}, tidemark.Range{Seq: 5, Direction: tidemark.Backward}},
		{&pb.ReadRequest{Start: &pb.ReadRequest_BeforeSeqId{BeforeSeqId: 5}}, tidemark.Range{Start: tidemark.StartBefore, Seq: 5, Direction: tidemark.Backward}},
		{&pb.ReadRequest{Start: &pb.ReadRequest_Newest{Newest: true}, Direction: back}, tidemark.Range{Start: tidemark.StartNewest, Direction: tidemark.Backward}},
		{&pb.ReadRequest{Start: &pb.ReadRequest_FromTime{FromTime: &timestamppb.Timestamp{}}, Direction: fwd}, tidemark.Range{Start: tidemark.StartTime}},
		{&pb.ReadRequest{Start: &pb.ReadRequest_FromTime{FromTime: &timestamppb.Timestamp{Seconds: 1}}, Direction: back}, tidemark.Range{Start: tidemark.StartTime, Time: 1e9, Direction: tidemark.Backward}},
		{&pb.ReadRequest{Limit: 3, MaxBytes: 4}, tidemark.Range{Seq: 1, Limit: 3, MaxBytes: 4}},
	} {
		test.request.Timeline, test.want.Timeline = "t", "t"
		if test.want.Limit == 0 {
			test.want.Limit, test.want.MaxBytes = tidemark.DefaultPageMessages, defaultPageBytes
		}
		if err := call(testContext(t), d, test.request); err != nil {
			t.Fatal(err)
		}
		got := *store.ranges.Load()
		if got.Memory = nil; got != test.want {
			t.Errorf("%v became %+v, want %+v", test.request, got, test.want)
		}
	}
}

// A page is told with all that the store said of it.
func TestReadReply(t *testing.T) {
	message := tidemark.Message{
		Draft: tidemark.Draft{Timeline: "t", ID: "m", Sender: "s", Type: "text", Payload: []byte("p"),
			Attributes: tidemark.Attributes{{Key: "k", Value: "v"}}, ClientTime: tidemark.NoTime},
		SeqID: 4, ServerTime: 5, Digest: tidemark.Digest{1},
	}
	store := &fakeStore{read: func(tidemark.Range) (tidemark.Page, error) {
		return tidemark.Page{Messages: []tidemark.Message{message, {SeqID: 5}}, More: true, PreviousDigest: tidemark.Digest{9}, Head: fakeHead, Applied: 21}, nil
	}}
	d := open(t, newNetwork(), leadingNode(), func(o *Options) { o.Store = store })
	reply, err := d.timelines.Read(testContext(t), &pb.ReadRequest{Timeline: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if reply.FirstSeqId != 4 || reply.LastSeqId != 5 || !reply.HasMore || reply.PreviousDigest[0] != 9 || reply.AppliedIndex != 21 {
		t.Errorf("reply is %v", reply)
	}
	want := &pb.Message{Timeline: "t", SeqId: 4, MessageId: "m", Sender: "s", Type: "text", Payload: []byte("p"),
		Attributes: map[string]string{"k": "v"}, ServerTime: &timestamppb.Timestamp{Nanos: 5}, Digest: message.Digest[:]}
	if !proto.Equal(reply.Messages[0], want) {
		t.Errorf("message is %v", reply.Messages[0])
	}
	head := &pb.Timeline{Timeline: "t", FirstSeqId: 1, LastSeqId: 10, Count: 10, Bytes: 100, CreatedAt: &timestamppb.Timestamp{Nanos: 1},
		LastServerTime: &timestamppb.Timestamp{Nanos: 10}, Digest: make([]byte, 16)}
	if !proto.Equal(reply.Timeline, head) {
		t.Errorf("timeline is %v", reply.Timeline)
	}
}

// The acknowledgement of the page before comes first; if it fails nothing is read.
func TestReadAcknowledges(t *testing.T) {
	node, store := leadingNode(), &fakeStore{}
	d := open(t, newNetwork(), node, func(o *Options) { o.Store = store })
	request := &pb.ReadRequest{Timeline: "t", Reader: "alice", Ack: &pb.ReadAck{ReadSeqId: 4}}
	if err := call(testContext(t), d, request); err != nil {
		t.Fatal(err)
	}
	ack := node.proposed[0].GetAck()
	if string(ack.GetReader()) != "alice" || string(ack.Items[0].GetTimeline()) != "t" || ack.Items[0].GetReadSeqId() != 4 || ack.Items[0].DeliveredSeqId != nil {
		t.Errorf("proposed %v", ack)
	}
	store.ranges.Store(nil)
	node.outcome = func(int, *fsmpb.Command) (any, error) {
		return fsm.AckResult{Err: tidemark.Invalid("items[0].read_seq_id", "is beyond the last")}, nil
	}
	wantInvalid(t, call(testContext(t), d, request), "items[0].read_seq_id", "beyond")
	if store.ranges.Load() != nil {
		t.Error("the page was read although the acknowledgement failed")
	}
}

// After the acknowledgement was applied, no error says that nothing was changed.
func TestReadThatFailsAfterItsAcknowledgementIsUnknown(t *testing.T) {
	node := leadingNode()
	node.readIndex = func(context.Context) (uint64, error) { return 0, tidemark.ErrNoLeader }
	d := open(t, newNetwork(), node, func(o *Options) { o.Store = &fakeStore{} })
	err := call(testContext(t), d, &pb.ReadRequest{Timeline: "t", Reader: "alice", Ack: &pb.ReadAck{ReadSeqId: 4}})
	wantReason(t, err, codes.Unavailable, "OUTCOME_UNKNOWN")
	if node.count() != 1 {
		t.Errorf("%d commands were proposed, want 1", node.count())
	}
	wantReason(t, call(testContext(t), d, &pb.ReadRequest{Timeline: "t"}), codes.Unavailable, "NO_LEADER")
}
