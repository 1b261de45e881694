package rpc_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/rpc/rpctest"
	pb "tidemark/rpc/tidemarkv1"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func timelines(n *rpctest.Node) pb.TimelineServiceClient {
	return pb.NewTimelineServiceClient(n.Conn())
}

func cluster(n *rpctest.Node) pb.ClusterServiceClient { return pb.NewClusterServiceClient(n.Conn()) }

func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return status.Code(err).String()
}

// must takes the results of a call, and then the test, which fails if there is an error.
func must[T any](reply T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
}

func message(timeline string, n int) *pb.AppendRequest {
	return &pb.AppendRequest{
		Timeline: timeline, MessageId: fmt.Sprintf("m%05d", n), Sender: "alice", Type: "text",
		Payload: fmt.Appendf(nil, "message %d of %s", n, timeline), Attributes: map[string]string{"n": fmt.Sprint(n)},
	}
}

// chainOf recomputes the digests of a timeline's messages from the first one.
func chainOf(t *testing.T, messages []*pb.Message) tidemark.Digest {
	t.Helper()
	var digest tidemark.Digest
	for i, m := range messages {
		if i == 0 {
			digest = tidemark.InitialDigest(tidemark.TimelineID(m.Timeline))
		}
		if m.SeqId != uint64(i+1) {
			t.Fatalf("message %d has SeqId %d", i, m.SeqId)
		}
		draft := tidemark.Draft{
			Timeline: tidemark.TimelineID(m.Timeline), ID: tidemark.MessageID(m.MessageId), Sender: m.Sender, Type: m.Type,
			Payload: m.Payload, Attributes: tidemark.AttributesFromMap(m.Attributes), ClientTime: tidemark.NoTime,
		}
		content := draft.Hash(tidemark.HashPayload(m.Payload))
		digest = tidemark.NextDigest(digest, tidemark.SeqID(m.SeqId), tidemark.Time(m.ServerTime.AsTime().UnixNano()), draft.ID, content)
		if string(m.Digest) != string(digest[:]) {
			t.Fatalf("digest of message %d is %x, want %x", i+1, m.Digest, digest)
		}
	}
	return digest
}

// A follower does everything that the leader does.
func TestFollowerDoesEverything(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	api := timelines(c.Followers()[0])

	first := must(api.Append(ctx, message("conv/1", 1)))(t)
	if first.SeqId != 1 || first.Duplicate || len(first.Digest) != 16 || len(first.Position) == 0 {
		t.Errorf("Append got %v", first)
	}
	again := must(api.Append(ctx, message("conv/1", 1)))(t)
	if again.SeqId != 1 || !again.Duplicate || string(again.Digest) != string(first.Digest) || !proto.Equal(again.ServerTime, first.ServerTime) {
		t.Errorf("the retry got %v", again)
	}
	other := message("conv/1", 1)
	other.Payload = []byte("other content")
	if _, err := api.Append(ctx, other); reason(err) != "MESSAGE_ID_CONFLICT" {
		t.Errorf("other content got %v", err)
	}
	expecting := message("conv/1", 2)
	expecting.ExpectedLastSeqId = proto.Uint64(7)
	if _, err := api.Append(ctx, expecting); reason(err) != "SEQUENCE_CONFLICT" {
		t.Errorf("a wrong expectation got %v", err)
	}
	expecting.ExpectedLastSeqId = proto.Uint64(1)
	if reply := must(api.Append(ctx, expecting))(t); reply.SeqId != 2 {
		t.Errorf("a right expectation got %v", reply)
	}

	batch := &pb.AppendBatchRequest{Items: []*pb.AppendRequest{message("conv/1", 3), message("conv/2", 1), other, message("conv/1", 4)}}
	results := must(api.AppendBatch(ctx, batch))(t).Results
	if results[0].GetResponse().GetSeqId() != 3 || results[1].GetResponse().GetSeqId() != 1 ||
		results[2].GetError().GetReason() != "MESSAGE_ID_CONFLICT" || results[3].GetResponse().GetSeqId() != 4 {
		t.Errorf("AppendBatch got %v", results)
	}
	atomic := &pb.AppendBatchRequest{Atomic: true, Items: []*pb.AppendRequest{message("conv/1", 5), other}}
	results = must(api.AppendBatch(ctx, atomic))(t).Results
	if results[0].GetError().GetReason() != "BATCH_ABORTED" || results[1].GetError().GetReason() != "MESSAGE_ID_CONFLICT" {
		t.Errorf("the atomic batch that fails got %v", results)
	}
	atomic.Items[1] = message("conv/2", 2)
	reply := must(api.AppendBatch(ctx, atomic))(t)
	if reply.Results[0].GetResponse().GetSeqId() != 5 || reply.Results[1].GetResponse().GetSeqId() != 2 {
		t.Errorf("the atomic batch got %v", reply)
	}

	page := must(api.Read(ctx, &pb.ReadRequest{Timeline: "conv/1"}))(t)
	if len(page.Messages) != 5 || page.FirstSeqId != 1 || page.LastSeqId != 5 || page.HasMore {
		t.Fatalf("Read got %v", page)
	}
	if digest := chainOf(t, page.Messages); string(page.Timeline.Digest) != string(digest[:]) {
		t.Errorf("the head's digest is %x", page.Timeline.Digest)
	}
	if m := must(api.Get(ctx, &pb.GetRequest{Timeline: "conv/1", By: &pb.GetRequest_MessageId{MessageId: "m00003"}}))(t); m.Message.SeqId != 3 {
		t.Errorf("Get got %v", m)
	}
	followerCursors(t, ctx, api)
	followerSync(t, ctx, api)
	if head := must(api.GetTimeline(ctx, &pb.GetTimelineRequest{Timeline: "conv/2"}))(t); head.Timeline.LastSeqId != 2 || head.Timeline.Count != 2 {
		t.Errorf("GetTimeline got %v", head)
	}
	list := must(api.ListTimelines(ctx, &pb.ListTimelinesRequest{Prefix: "conv/", PageSize: 1}))(t)
	next := must(api.ListTimelines(ctx, &pb.ListTimelinesRequest{Prefix: "conv/", PageSize: 1, PageToken: list.NextPageToken}))(t)
	if len(list.Timelines) != 1 || len(next.Timelines) != 1 || next.Timelines[0].Timeline != "conv/2" || next.NextPageToken != "" {
		t.Errorf("ListTimelines got %v, %v", list, next)
	}
}

func followerCursors(t *testing.T, ctx context.Context, api pb.TimelineServiceClient) {
	t.Helper()
	ack := must(api.Ack(ctx, &pb.AckRequest{Reader: "bob", Items: []*pb.AckItem{
		{Timeline: "conv/1", ReadSeqId: proto.Uint64(2), DeliveredSeqId: proto.Uint64(4)}, {Timeline: "conv/2", DeliveredSeqId: proto.Uint64(1)},
	}}))(t)
	if c := ack.Cursors[0]; c.ReadSeqId != 2 || c.DeliveredSeqId != 4 || c.LastSeqId != 5 || c.Reader != "bob" {
		t.Errorf("Ack got %v", ack)
	}
	if _, err := api.Ack(ctx, &pb.AckRequest{Reader: "bob", Items: []*pb.AckItem{{Timeline: "conv/1", ReadSeqId: proto.Uint64(6)}}}); reason(err) != "INVALID_ARGUMENT" {
		t.Errorf("an ack past the end got %v", err)
	}
	if _, err := api.Ack(ctx, &pb.AckRequest{Reader: "bob", Items: []*pb.AckItem{{Timeline: "none", ReadSeqId: proto.Uint64(1)}}}); reason(err) != "TIMELINE_NOT_FOUND" {
		t.Errorf("an ack of nothing got %v", err)
	}
	page := must(api.Read(ctx, &pb.ReadRequest{Timeline: "conv/1", Reader: "bob", Ack: &pb.ReadAck{ReadSeqId: 5}, Start: &pb.ReadRequest_FromSeqId{FromSeqId: 6}}))(t)
	if len(page.Messages) != 0 || page.HasMore || page.FirstSeqId != 0 {
		t.Errorf("a read past the end got %v", page)
	}
	mine := must(api.ListCursors(ctx, &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "bob"}}))(t)
	if len(mine.Cursors) != 2 || mine.Cursors[0].ReadSeqId != 5 || mine.Cursors[1].LastSeqId != 2 {
		t.Errorf("the reader's cursors are %v", mine)
	}
	of := must(api.ListCursors(ctx, &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "conv/1"}, ReadAtLeast: 5, CountOnly: true}))(t)
	if of.Count != 1 || len(of.Cursors) != 0 {
		t.Errorf("the timeline's readers are %v", of)
	}
}

// Two devices of bob come back: one says what it has, the other leaves it to his cursors.
func followerSync(t *testing.T, ctx context.Context, api pb.TimelineServiceClient) {
	t.Helper()
	synced := must(api.Sync(ctx, &pb.SyncRequest{Have: []*pb.SyncPosition{
		{Timeline: "conv/1", Start: &pb.SyncPosition_AfterSeqId{AfterSeqId: 3}}, {Timeline: "conv/2", Start: &pb.SyncPosition_AfterSeqId{AfterSeqId: 2}}, {Timeline: "none"},
	}}))(t)
	if len(synced.Timelines) != 1 || synced.HasMore {
		t.Fatalf("Sync got %v", synced)
	}
	news := synced.Timelines[0]
	before := must(api.Get(ctx, &pb.GetRequest{Timeline: "conv/1", By: &pb.GetRequest_SeqId{SeqId: 3}}))(t)
	if len(news.Messages) != 2 || news.Messages[0].SeqId != 4 || string(news.PreviousDigest) != string(before.Message.Digest) || news.TrimmedToSeqId != 0 {
		t.Errorf("Sync got %v", news)
	}
	// bob has delivered all of conv/1, and 1 of 2 messages of conv/2.
	synced = must(api.Sync(ctx, &pb.SyncRequest{Reader: "bob"}))(t)
	if len(synced.Timelines) != 1 || synced.Timelines[0].AfterSeqId != 1 || synced.Timelines[0].Cursor.GetDeliveredSeqId() != 1 {
		t.Errorf("Sync of a reader got %v", synced)
	}
	synced = must(api.Sync(ctx, &pb.SyncRequest{Reader: "bob", Acks: []*pb.AckItem{{Timeline: "conv/2", DeliveredSeqId: proto.Uint64(2)}}}))(t)
	if len(synced.Timelines) != 0 || synced.HasMore {
		t.Errorf("Sync that acknowledges everything got %v", synced)
	}
	verified := must(api.Verify(ctx, &pb.VerifyRequest{Timeline: "conv/1", Points: []*pb.VerifyPoint{{SeqId: 3, Digest: before.Message.Digest}, {SeqId: 5, Digest: before.Message.Digest}}}))(t)
	if verified.Equal || verified.EqualToSeqId != 3 || verified.DiffersAtSeqId != 5 {
		t.Errorf("Verify got %v", verified)
	}
}

// Every edge of a timeline reads as documented.
func TestReadEdges(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx, api := within(t), timelines(c.Leader())
	for n := range 5 {
		must(api.Append(ctx, message("t", n)))(t)
	}
	const back = pb.Direction_DIRECTION_BACKWARD
	for name, test := range map[string]struct {
		request     *pb.ReadRequest
		first, last uint64
		more        bool
	}{
		"all":                 {&pb.ReadRequest{}, 1, 5, false},
		"limited":             {&pb.ReadRequest{Limit: 2}, 1, 2, true},
		"one byte":            {&pb.ReadRequest{MaxBytes: 1}, 1, 1, true},
		"from the last":       {&pb.ReadRequest{Start: &pb.ReadRequest_FromSeqId{FromSeqId: 5}}, 5, 5, false},
		"past the end":        {&pb.ReadRequest{Start: &pb.ReadRequest_FromSeqId{FromSeqId: 6}}, 0, 0, false},
		"far past the end":    {&pb.ReadRequest{Start: &pb.ReadRequest_FromSeqId{FromSeqId: 1<<64 - 1}}, 0, 0, false},
		"before the first":    {&pb.ReadRequest{Start: &pb.ReadRequest_BeforeSeqId{BeforeSeqId: 1}}, 0, 0, false},
		"before the third":    {&pb.ReadRequest{Start: &pb.ReadRequest_BeforeSeqId{BeforeSeqId: 3}, Limit: 1}, 2, 2, true},
		"newest":              {&pb.ReadRequest{Start: &pb.ReadRequest_Newest{Newest: true}, Limit: 2}, 4, 5, true},
		"backward from third": {&pb.ReadRequest{Start: &pb.ReadRequest_FromSeqId{FromSeqId: 3}, Direction: back}, 1, 3, false},
	} {
		test.request.Timeline = "t"
		page, err := api.Read(ctx, test.request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if page.FirstSeqId != test.first || page.LastSeqId != test.last || page.HasMore != test.more || page.Timeline.GetLastSeqId() != 5 {
			t.Errorf("%s: %d to %d, more %v; want %d to %d, %v", name, page.FirstSeqId, page.LastSeqId, page.HasMore, test.first, test.last, test.more)
		}
	}
}

// Through every node, and at every level, a client reads what it wrote.
func TestReadYourWrites(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	for i := range 30 {
		writer, reader := c.Nodes()[i%3], c.Nodes()[(i+1)%3]
		wrote := must(timelines(writer).Append(ctx, message("t", i)))(t)
		for name, level := range map[string]*pb.Consistency{
			"linearizable": nil,
			"session":      {Level: &pb.Consistency_Session_{Session: &pb.Consistency_Session{Position: wrote.Position}}},
		} {
			page, err := timelines(reader).Read(ctx, &pb.ReadRequest{Timeline: "t", Consistency: level, Start: &pb.ReadRequest_Newest{Newest: true}})
			if err != nil || page.LastSeqId != uint64(i+1) {
				t.Fatalf("%s: the last is %d after append %d: %v", name, page.GetLastSeqId(), i+1, err)
			}
		}
	}
	local := &pb.Consistency{Level: &pb.Consistency_Local_{Local: &pb.Consistency_Local{}}}
	c.WaitApplied()
	for _, node := range c.Nodes() {
		page := must(timelines(node).Read(ctx, &pb.ReadRequest{Timeline: "t", Consistency: local}))(t)
		if page.LastSeqId != 30 {
			t.Errorf("%s has %d locally", node.ID, page.LastSeqId)
		}
	}
}

// Streams through all nodes at once keep the order of each timeline, also on the way
// through a follower.
func TestStreamsKeepOrder(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	const count = 500
	var streams sync.WaitGroup
	for _, node := range c.Nodes() {
		streams.Go(func() {
			stream, err := timelines(node).AppendStream(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				for n := range count {
					if stream.Send(&pb.AppendStreamRequest{Tag: uint64(n), Append: message("conv/"+node.ID, n)}) != nil {
						return
					}
				}
				stream.CloseSend()
			}()
			for answered := 0; ; answered++ {
				reply, err := stream.Recv()
				if err == io.EOF && answered == count {
					return
				}
				if err != nil || reply.GetResponse().GetSeqId() != reply.GetTag()+1 {
					t.Errorf("%s: after %d: %v, %v", node.ID, answered, reply, err)
					return
				}
			}
		})
	}
	streams.Wait()
	for _, node := range c.Nodes() {
		page := must(timelines(c.Nodes()[0]).Read(ctx, &pb.ReadRequest{Timeline: "conv/" + node.ID, Limit: 1000}))(t)
		if len(page.Messages) != count {
			t.Errorf("%d messages", len(page.Messages))
		}
		chainOf(t, page.Messages)
	}
}

// A stream that meets a change of leadership ends; sending what was not answered again, in
// the same order, loses, doubles and reorders nothing.
func TestStreamSurvivesLeaderChange(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	const count = 2000
	node := c.Followers()[0]
	moved := make(chan struct{})
	next, breaks := 0, 0
	for next < count {
		stream, err := timelines(node).AppendStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		go func(from int) {
			for n := from; n < count; n++ {
				if n == count/2 {
					<-moved
				}
				if stream.Send(&pb.AppendStreamRequest{Tag: uint64(n), Append: message("t", n)}) != nil {
					return
				}
			}
			stream.CloseSend()
		}(next)
		for {
			reply, err := stream.Recv()
			if err != nil {
				if err != io.EOF {
					breaks++
				}
				break
			}
			if int(reply.Tag) != next || reply.GetResponse().GetSeqId() != uint64(next+1) {
				t.Fatalf("append %d got %v", next, reply)
			}
			if next++; next == count/4 {
				go func() {
					defer close(moved)
					cluster(c.Nodes()[0]).TransferLeadership(ctx, &pb.TransferLeadershipRequest{})
				}()
			}
		}
		if ctx.Err() != nil {
			t.Fatal("it takes too long")
		}
	}
	<-moved
	page := must(timelines(node).Read(ctx, &pb.ReadRequest{Timeline: "t", Limit: 1000}))(t)
	rest := must(timelines(node).Read(ctx, &pb.ReadRequest{Timeline: "t", Limit: 1000, Start: &pb.ReadRequest_FromSeqId{FromSeqId: 1001}}))(t)
	all := append(page.Messages, rest.Messages...)
	if len(all) != count {
		t.Fatalf("%d messages", len(all))
	}
	chainOf(t, all)
	for n, m := range all {
		if m.MessageId != fmt.Sprintf("m%05d", n) {
			t.Fatalf("message %d is %s", n, m.MessageId)
		}
	}
	if breaks == 0 {
		t.Error("the stream outlived the leadership that it began under")
	}
}
