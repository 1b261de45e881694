package rpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/fsm/fsmpb"
	pb "tidemark/rpc/tidemarkv1"
)

// call sends any request to the method that it belongs to.
func call(ctx context.Context, d *door, request proto.Message) (err error) {
	switch req := request.(type) {
	case *pb.AppendRequest:
		_, err = d.timelines.Append(ctx, req)
	case *pb.AppendBatchRequest:
		_, err = d.timelines.AppendBatch(ctx, req)
	case *pb.ReadRequest:
		_, err = d.timelines.Read(ctx, req)
	case *pb.GetRequest:
		_, err = d.timelines.Get(ctx, req)
	case *pb.SyncRequest:
		_, err = d.timelines.Sync(ctx, req)
	case *pb.VerifyRequest:
		_, err = d.timelines.Verify(ctx, req)
	case *pb.AckRequest:
		_, err = d.timelines.Ack(ctx, req)
	case *pb.ListCursorsRequest:
		_, err = d.timelines.ListCursors(ctx, req)
	case *pb.SetRecipientsRequest:
		_, err = d.timelines.SetRecipients(ctx, req)
	case *pb.ExplainRequest:
		_, err = d.timelines.Explain(ctx, req)
	case *pb.ReviseRequest:
		_, err = d.timelines.Revise(ctx, req)
	case *pb.UpdateTimelineRequest:
		_, err = d.timelines.UpdateTimeline(ctx, req)
	case *pb.TrimRequest:
		_, err = d.timelines.Trim(ctx, req)
	case *pb.DeleteTimelineRequest:
		_, err = d.timelines.DeleteTimeline(ctx, req)
	case *pb.SetPolicyRequest:
		_, err = d.timelines.SetPolicy(ctx, req)
	case *pb.ImportRequest:
		_, err = d.timelines.Import(ctx, req)
	case *pb.ListPoliciesRequest:
		_, err = d.timelines.ListPolicies(ctx, req)
	case *pb.ListRecipientsRequest:
		_, err = d.timelines.ListRecipients(ctx, req)
	case *pb.GetTimelineRequest:
		_, err = d.timelines.GetTimeline(ctx, req)
	case *pb.ListTimelinesRequest:
		_, err = d.timelines.ListTimelines(ctx, req)
	case *pb.StatusRequest:
		_, err = d.cluster.Status(ctx, req)
	case *pb.AddMemberRequest:
		_, err = d.cluster.AddMember(ctx, req)
	case *pb.RemoveMemberRequest:
		_, err = d.cluster.RemoveMember(ctx, req)
	case *pb.PromoteMemberRequest:
		_, err = d.cluster.PromoteMember(ctx, req)
	case *pb.TransferLeadershipRequest:
		_, err = d.cluster.TransferLeadership(ctx, req)
	case *pb.AuditRequest:
		_, err = d.cluster.Audit(ctx, req)
	case *pb.TakeSnapshotRequest:
		_, err = d.cluster.TakeSnapshot(ctx, req)
	case *pb.BackupRequest:
		var stream grpc.ServerStreamingClient[pb.BackupResponse]
		if stream, err = d.cluster.Backup(ctx, req); err == nil {
			_, err = stream.Recv()
		}
	case *pb.ChangesRequest:
		var stream grpc.ServerStreamingClient[pb.ChangesResponse]
		if stream, err = d.timelines.Changes(ctx, req); err == nil {
			_, err = stream.Recv()
		}
	default:
		panic(fmt.Sprintf("no method takes %T", request))
	}
	return err
}

// Bad input is refused with the field and the limit, and nothing is proposed or changed.
func TestValidation(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			before, members := node.count(), len(node.members)
			err := call(testContext(t), d, test.request)
			if test.field == "" {
				if err != nil {
					t.Fatalf("refused at the limit: %v", err)
				}
				return
			}
			wantInvalid(t, err, test.field, test.rule)
			if node.count() != before || len(node.members) != members {
				t.Error("something was proposed")
			}
		})
	}
}

func wantInvalid(t *testing.T, err error, field, rule string) {
	t.Helper()
	info, details := wantReason(t, err, codes.InvalidArgument, "INVALID_ARGUMENT")
	if info.Metadata["field"] != field || !strings.Contains(info.Metadata["rule"], rule) {
		t.Errorf("field %q, rule %q; want field %q, and %q in the rule", info.Metadata["field"], info.Metadata["rule"], field, rule)
	}
	if len(details) != 2 {
		t.Errorf("details are %v; want ErrorInfo and BadRequest", details)
	}
}

// A batch that is not atomic answers for each item; what is invalid is not proposed.
func TestBatchItemsFailAlone(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	reply, err := d.timelines.AppendBatch(testContext(t), aBatch(3, func(i int, r *pb.AppendRequest) { r.Sender = text(127 + i) }))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Results[0].GetResponse() == nil || reply.Results[1].GetResponse() == nil {
		t.Errorf("valid items got %v", reply.Results)
	}
	if e := reply.Results[2].GetError(); e.GetReason() != "INVALID_ARGUMENT" || e.GetMetadata()["field"] != "items[2].sender" {
		t.Errorf("invalid item got %v", e)
	}
	if node.count() != 2 {
		t.Errorf("%d were proposed", node.count())
	}
}

// When an item is refused for now, those before it stand and those behind it are not
// proposed; when no item has a final result the call fails as a whole.
func TestBatchKeepsOrder(t *testing.T) {
	node := leadingNode()
	refuse := 2
	node.outcome = func(n int, command *fsmpb.Command) (any, error) {
		if n == refuse {
			return nil, tidemark.ErrOverloaded
		}
		return succeed(n, command)
	}
	d := open(t, newNetwork(), node, nil)
	reply, err := d.timelines.AppendBatch(testContext(t), aBatch(3, nil))
	if err != nil {
		t.Fatal(err)
	}
	if reply.Results[0].GetResponse().GetSeqId() != 1 {
		t.Errorf("the first item got %v", reply.Results[0])
	}
	for _, result := range reply.Results[1:] {
		if result.GetError().GetReason() != "OVERLOADED" {
			t.Errorf("an item behind it got %v", result)
		}
	}
	if node.count() != 2 {
		t.Errorf("%d were proposed", node.count())
	}
	refuse = 3
	_, err = d.timelines.AppendBatch(testContext(t), aBatch(3, nil))
	wantReason(t, err, codes.ResourceExhausted, "OVERLOADED")
}

// A field that this version does not know is refused at every depth of every request.
func TestUnknownFields(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
	with := func(m proto.Message) { m.ProtoReflect().SetUnknown(unknown) }
	nested := map[string]proto.Message{}
	add := func(place string, request, inner proto.Message) { with(inner); nested[place] = request }
	r1 := anAppend(func(r *pb.AppendRequest) { r.ClientTime = timestamppb.Now() })
	add("client_time.field 999", r1, r1.ClientTime)
	r2 := aBatch(3, nil)
	add("items[1].field 999", atomically(r2), r2.Items[1])
	r3 := anAck(2, nil)
	add("items[1].field 999", r3, r3.Items[1])
	r4 := &pb.ReadRequest{Timeline: "t", Consistency: at(nil)}
	add("consistency.session.field 999", r4, r4.GetConsistency().GetSession())
	r5 := &pb.ReadRequest{Timeline: "t", Reader: "a", Ack: &pb.ReadAck{ReadSeqId: 1}}
	add("ack.field 999", r5, r5.Ack)
	for place, request := range nested {
		wantInvalid(t, call(testContext(t), d, request), place, "not known")
	}
	for _, request := range []proto.Message{
		anAppend(nil), aBatch(1, nil), anAck(1, nil), aSync(1, nil), aVerify(1, nil), &pb.ReadRequest{Timeline: "t"}, &pb.GetRequest{}, &pb.ListCursorsRequest{},
		&pb.GetTimelineRequest{}, &pb.ListTimelinesRequest{}, &pb.StatusRequest{}, &pb.AddMemberRequest{}, &pb.RemoveMemberRequest{},
		&pb.PromoteMemberRequest{}, &pb.TransferLeadershipRequest{}, &pb.TakeSnapshotRequest{}, &pb.BackupRequest{},
	} {
		with(request)
		wantInvalid(t, call(testContext(t), d, request), "field 999", "not known")
	}
	if node.count() != 0 || len(node.members) != 0 {
		t.Error("something was proposed")
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (rawCodec) Name() string                         { return "proto" }

// What cannot be decoded, such as text that is not UTF-8, is bad input like any other.
// What is larger than any valid request is refused by gRPC, before anyone is asked.
func TestUndecodableRequests(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	timeline := func(text string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text)
	}
	for name, raw := range map[string][]byte{
		"cannot be decoded":   timeline("caf\xe9"),
		"UTF-8?":              {0xff, 0xff},
		"must not be empty; ": nil,
	} {
		field := "request"
		if raw == nil {
			field = "timeline"
		}
		var reply []byte
		err := d.conn.Invoke(testContext(t), pb.TimelineService_Append_FullMethodName, &raw, &reply, grpc.ForceCodecV2(rawCodec{}))
		wantInvalid(t, err, field, name)
	}
	err := call(testContext(t), d, anAppend(func(r *pb.AppendRequest) { r.Payload = make([]byte, maxRequestBytes) }))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("too large a request got %v", err)
	}
	if node.count() != 0 {
		t.Error("something was proposed")
	}
}

// The largest batch that the limits allow is not too large to be received.
func TestLargestBatchIsReceived(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	batch := aBatch(1024, func(i int, r *pb.AppendRequest) {
		r.Timeline, r.MessageId, r.Sender, r.Type = text(256), fmt.Sprintf("%064d", i), text(128), text(64)
		r.ClientTime, r.ExpectedLastSeqId = timestamppb.New(tidemark.MaxTime), proto.Uint64(math.MaxUint64)
		r.Attributes = map[string]string{}
		for k := range 100 {
			r.Attributes[fmt.Sprintf("%03d", k)] = "v"
		}
		sized(r, 4096-400)
	})
	if _, err := d.timelines.AppendBatch(testContext(t), batch); err != nil {
		t.Fatal(err)
	}
	if node.count() != 1024 {
		t.Errorf("%d were proposed", node.count())
	}
}

// A page token leads to the next page of its own listing, and nowhere else.
func TestPageTokens(t *testing.T) {
	d := open(t, newNetwork(), leadingNode(), nil)
	ctx := testContext(t)
	byTimeline := &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, PageSize: 2}
	page, err := d.timelines.ListCursors(ctx, byTimeline)
	if err != nil || len(page.Cursors) != 2 || page.NextPageToken == "" {
		t.Fatalf("first page is %v, %v", page, err)
	}
	byTimeline.PageToken = page.NextPageToken
	next, err := d.timelines.ListCursors(ctx, byTimeline)
	if err != nil || len(next.Cursors) != 1 || next.Cursors[0].Reader != "c" || next.NextPageToken != "" {
		t.Fatalf("last page is %v, %v", next, err)
	}
	timelines, err := d.timelines.ListTimelines(ctx, &pb.ListTimelinesRequest{PageSize: 1})
	if err != nil || timelines.NextPageToken == "" {
		t.Fatalf("page of timelines is %v, %v", timelines, err)
	}
	byReader, err := d.timelines.ListCursors(ctx, &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "a"}, PageSize: 2})
	if err != nil || byReader.NextPageToken == "" {
		t.Fatalf("page of a reader is %v, %v", byReader, err)
	}
	last, err := d.timelines.ListCursors(ctx, &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "a"}, PageSize: 2, PageToken: byReader.NextPageToken})
	if err != nil || len(last.Cursors) != 1 || last.NextPageToken != "" {
		t.Fatalf("last page of a reader is %v, %v", last, err)
	}
	for name, token := range map[string]string{
		"another query":         timelines.NextPageToken,
		"not a next_page_token": page.NextPageToken[:8],
		"belongs to":            byReader.NextPageToken,
		"is not a next":         strings.TrimRight(base64.URLEncoding.EncodeToString([]byte{2, 0, 0, 0, 0, 0, 0, 0, 0, 'a'}), "="),
	} {
		byTimeline.PageToken = token
		_, err := d.timelines.ListCursors(ctx, byTimeline)
		wantInvalid(t, err, "page_token", name)
	}
	byTimeline.PageToken, byTimeline.ReadAtLeast = page.NextPageToken, 1
	_, err = d.timelines.ListCursors(ctx, byTimeline)
	wantInvalid(t, err, "page_token", "another query")
}
