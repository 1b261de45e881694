package rpc

import (
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

func text(n int) string { return strings.Repeat("x", n) }

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("i", i))
	}
	return names
}

func anImport(change func([]*pb.Message)) *pb.ImportRequest {
	at := timestamppb.New(time.Unix(1_700_000_000, 0))
	messages := []*pb.Message{{SeqId: 5, MessageId: "a", ServerTime: at}, {SeqId: 6, MessageId: "b", Sender: "s", Payload: []byte("x"), ServerTime: at}}
	if change != nil {
		change(messages)
	}
	return &pb.ImportRequest{Timeline: "t", Items: messages}
}

func anAppend(change func(*pb.AppendRequest)) *pb.AppendRequest {
	req := &pb.AppendRequest{Timeline: "t", MessageId: "m", Sender: "s", Type: "text", Payload: []byte("hello")}
	if change != nil {
		change(req)
	}
	return req
}

func aBatch(n int, change func(int, *pb.AppendRequest)) *pb.AppendBatchRequest {
	batch := &pb.AppendBatchRequest{}
	for i := range n {
		item := anAppend(func(r *pb.AppendRequest) { r.MessageId = fmt.Sprint("m", i) })
		if change != nil {
			change(i, item)
		}
		batch.Items = append(batch.Items, item)
	}
	return batch
}

func anAck(n int, change func(*pb.AckRequest)) *pb.AckRequest {
	req := &pb.AckRequest{Reader: "alice"}
	for i := range n {
		req.Items = append(req.Items, &pb.AckItem{Timeline: fmt.Sprint("t", i), ReadSeqId: proto.Uint64(1)})
	}
	if change != nil {
		change(req)
	}
	return req
}

func aSync(n int, change func(*pb.SyncRequest)) *pb.SyncRequest {
	req := &pb.SyncRequest{Reader: "alice"}
	for i := range n {
		req.Have = append(req.Have, &pb.SyncPosition{Timeline: fmt.Sprint("t", i)})
	}
	if change != nil {
		change(req)
	}
	return req
}

func aVerify(n int, change func(*pb.VerifyRequest)) *pb.VerifyRequest {
	req := &pb.VerifyRequest{Timeline: "t"}
	for i := range n {
		req.Points = append(req.Points, &pb.VerifyPoint{SeqId: uint64(i + 1), Digest: make([]byte, 16)})
	}
	if change != nil {
		change(req)
	}
	return req
}

// refusals are requests at a limit (field is empty: accepted) and just past it
// (refused with the field, and with the words of rule in its rule).
var refusals = []struct {
	name    string
	request proto.Message
	field   string
	rule    string
}{
	{"append", anAppend(nil), "", ""},
	{"timeline empty", anAppend(func(r *pb.AppendRequest) { r.Timeline = "" }), "timeline", "1 to 256 bytes"},
	{"timeline 256", anAppend(func(r *pb.AppendRequest) { r.Timeline = text(256) }), "", ""},
	{"timeline 257", anAppend(func(r *pb.AppendRequest) { r.Timeline = text(257) }), "timeline", "257 bytes; limit is 256 bytes"},
	{"timeline control", anAppend(func(r *pb.AppendRequest) { r.Timeline = "a\nb" }), "timeline", "control characters"},
	{"message id empty", anAppend(func(r *pb.AppendRequest) { r.MessageId = "" }), "message_id", "1 to 64 bytes"},
	{"message id 64", anAppend(func(r *pb.AppendRequest) { r.MessageId = text(64) }), "", ""},
	{"message id 65", anAppend(func(r *pb.AppendRequest) { r.MessageId = text(65) }), "message_id", "limit is 64 bytes"},
	{"sender 128", anAppend(func(r *pb.AppendRequest) { r.Sender = text(128) }), "", ""},
	{"sender 129", anAppend(func(r *pb.AppendRequest) { r.Sender = text(129) }), "sender", "limit is 128 bytes"},
	{"type 64", anAppend(func(r *pb.AppendRequest) { r.Type = text(64) }), "", ""},
	{"type 65", anAppend(func(r *pb.AppendRequest) { r.Type = text(65) }), "type", "limit is 64 bytes"},
	{"payload empty", anAppend(func(r *pb.AppendRequest) { r.Payload = nil }), "", ""},
	{"payload 256 KiB", anAppend(func(r *pb.AppendRequest) { r.Payload = make([]byte, 256<<10) }), "", ""},
	{"payload 256 KiB + 1", anAppend(func(r *pb.AppendRequest) { r.Payload = make([]byte, 256<<10+1) }), "payload", "limit is 262144 bytes"},
	{"attributes 4 KiB", anAppend(func(r *pb.AppendRequest) { r.Attributes = map[string]string{"k": text(4095)} }), "", ""},
	{"attributes 4 KiB + 1", anAppend(func(r *pb.AppendRequest) { r.Attributes = map[string]string{"k": text(4096)} }), "attributes", "limit is 4096 bytes"},
	{"attributes empty key", anAppend(func(r *pb.AppendRequest) { r.Attributes = map[string]string{"": "v"} }), "attributes", "empty key"},
	{"client time min", anAppend(func(r *pb.AppendRequest) { r.ClientTime = timestamppb.New(tidemark.MinTime) }), "", ""},
	{"client time before min", anAppend(func(r *pb.AppendRequest) { r.ClientTime = timestamppb.New(tidemark.MinTime.Add(-1)) }), "client_time", "must be between"},
	{"client time after max", anAppend(func(r *pb.AppendRequest) { r.ClientTime = timestamppb.New(tidemark.MaxTime.Add(1)) }), "client_time", "must be between"},
	{"client time year 1", anAppend(func(r *pb.AppendRequest) { r.ClientTime = timestamppb.New(time.Time{}) }), "client_time", "must be between"},
	{"client time nanos", anAppend(func(r *pb.AppendRequest) { r.ClientTime = &timestamppb.Timestamp{Nanos: 1e9} }), "client_time", "nanos"},
	{"expected 0", anAppend(func(r *pb.AppendRequest) { r.ExpectedLastSeqId = proto.Uint64(0) }), "", ""},

	{"batch empty", aBatch(0, nil), "items", "1 to 1024 items"},
	{"batch 1024", aBatch(1024, nil), "", ""},
	{"batch 1025", aBatch(1025, nil), "items", "1025 items; limit is 1024 items"},
	{"batch 4 MiB", aBatch(1024, func(i int, r *pb.AppendRequest) { sized(r, 4096) }), "", ""},
	{"batch 4 MiB + 1", aBatch(1024, func(i int, r *pb.AppendRequest) { sized(r, 4096+min(i, 1)*max(0, i-1022)) }), "items", "4194305 bytes; limit is 4194304 bytes"},
	{"atomic 512 KiB", atomically(aBatch(2, func(i int, r *pb.AppendRequest) { r.Payload = make([]byte, 256<<10-100) })), "", ""},
	{"atomic beyond 512 KiB", atomically(aBatch(2, func(i int, r *pb.AppendRequest) { r.Payload = make([]byte, 256<<10) })), "items", "limit is 524224 bytes"},
	{"atomic item", atomically(aBatch(3, func(i int, r *pb.AppendRequest) { r.Sender = text(128 + i/2) })), "items[2].sender", "limit is 128 bytes"},

	{"ack empty", anAck(0, nil), "items", "1 to 1024 items"},
	{"ack 1024", anAck(1024, nil), "", ""},
	{"ack 1025", anAck(1025, nil), "items", "limit is 1024 items"},
	{"ack no reader", anAck(1, func(r *pb.AckRequest) { r.Reader = "" }), "reader", "1 to 128 bytes"},
	{"ack reader 128", anAck(1, func(r *pb.AckRequest) { r.Reader = text(128) }), "", ""},
	{"ack reader 129", anAck(1, func(r *pb.AckRequest) { r.Reader = text(129) }), "reader", "limit is 128 bytes"},
	{"ack twice", anAck(2, func(r *pb.AckRequest) { r.Items[1].Timeline = "t0" }), "items[1].timeline", "items[0] too"},
	{"ack nothing", anAck(1, func(r *pb.AckRequest) { r.Items[0].ReadSeqId = nil }), "items[0].delivered_seq_id", "must be given"},
	{"ack read 0", anAck(1, func(r *pb.AckRequest) { r.Items[0].ReadSeqId = proto.Uint64(0) }), "items[0].read_seq_id", "at least 1"},
	{"ack delivered 0", anAck(1, func(r *pb.AckRequest) { r.Items[0].DeliveredSeqId = proto.Uint64(0) }), "items[0].delivered_seq_id", "at least 1"},
	{"ack no timeline", anAck(1, func(r *pb.AckRequest) { r.Items[0].Timeline = "" }), "items[0].timeline", "empty"},

	{"read", &pb.ReadRequest{Timeline: "t"}, "", ""},
	{"read no timeline", &pb.ReadRequest{}, "timeline", "empty"},
	{"read from 0", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_FromSeqId{}}, "from_seq_id", "at least 1"},
	{"read from max", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_FromSeqId{FromSeqId: math.MaxUint64}}, "", ""},
	{"read before 0", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_BeforeSeqId{}}, "before_seq_id", "at least 1"},
	{"read before 1", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_BeforeSeqId{BeforeSeqId: 1}}, "", ""},
	{"read not newest", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_Newest{}}, "newest", "must be true"},
	{"read time", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_FromTime{FromTime: timestamppb.Now()}}, "", ""},
	{"read time range", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_FromTime{FromTime: timestamppb.New(time.Time{})}}, "from_time", "must be between"},
	{"read newest forward", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_Newest{Newest: true}, Direction: pb.Direction_DIRECTION_FORWARD}, "direction", "newest"},
	{"read before forward", &pb.ReadRequest{Timeline: "t", Start: &pb.ReadRequest_BeforeSeqId{BeforeSeqId: 2}, Direction: pb.Direction_DIRECTION_FORWARD}, "direction", "before_seq_id"},
	{"read direction 3", &pb.ReadRequest{Timeline: "t", Direction: 3}, "direction", "0 to 2"},
	{"read limit 1000", &pb.ReadRequest{Timeline: "t", Limit: 1000}, "", ""},
	{"read limit 1001", &pb.ReadRequest{Timeline: "t", Limit: 1001}, "limit", "at most 1000 messages"},
	{"read bytes 4 MiB", &pb.ReadRequest{Timeline: "t", MaxBytes: 4 << 20}, "", ""},
	{"read bytes 4 MiB + 1", &pb.ReadRequest{Timeline: "t", MaxBytes: 4<<20 + 1}, "max_bytes", "at most 4194304 bytes"},
	{"read ack without reader", &pb.ReadRequest{Timeline: "t", Ack: &pb.ReadAck{ReadSeqId: 1}}, "reader", "empty"},
	{"read ack of nothing", &pb.ReadRequest{Timeline: "t", Reader: "a", Ack: &pb.ReadAck{}}, "ack.delivered_seq_id", "must be given"},
	{"read reader 129", &pb.ReadRequest{Timeline: "t", Reader: text(129)}, "reader", "limit is 128 bytes"},
	{"sync of nothing", &pb.SyncRequest{}, "have", "or reader must be given"},
	{"sync of a reader", &pb.SyncRequest{Reader: "a"}, "", ""},
	{"sync reader 129", &pb.SyncRequest{Reader: text(129)}, "reader", "limit is 128 bytes"},
	{"sync 10000", aSync(10_000, nil), "", ""},
	{"sync 10001", aSync(10_001, nil), "have", "10001 items; limit is 10000 items"},
	{"sync timeline", aSync(2, func(r *pb.SyncRequest) { r.Have[1].Timeline = "" }), "have[1].timeline", "1 to 256 bytes"},
	{"sync twice", aSync(3, func(r *pb.SyncRequest) { r.Have[2].Timeline = "t0" }), "have[2].timeline", "that of have[0] too"},
	{"sync priority 3", aSync(1, func(r *pb.SyncRequest) { r.Have[0].Priority = 3 }), "", ""},
	{"sync priority 4", aSync(1, func(r *pb.SyncRequest) { r.Have[0].Priority = 4 }), "have[0].priority", "0 to 3"},
	{"sync cursor", aSync(1, func(r *pb.SyncRequest) { r.Have[0].Start = &pb.SyncPosition_FromCursor{FromCursor: true} }), "", ""},
	{"sync no cursor", aSync(1, func(r *pb.SyncRequest) { r.Have[0].Start = &pb.SyncPosition_FromCursor{} }), "have[0].from_cursor", "must be true"},
	{"sync cursor of nobody", aSync(1, func(r *pb.SyncRequest) {
		r.Reader, r.Have[0].Start = "", &pb.SyncPosition_FromCursor{FromCursor: true}
	}), "reader", "from_cursor"},
	{"sync ack of nobody", aSync(1, func(r *pb.SyncRequest) { r.Reader, r.Acks = "", anAck(1, nil).Items }), "reader", "acks"},
	{"sync acks 1024", aSync(1, func(r *pb.SyncRequest) { r.Acks = anAck(1024, nil).Items }), "", ""},
	{"sync acks 1025", aSync(1, func(r *pb.SyncRequest) { r.Acks = anAck(1025, nil).Items }), "acks", "limit is 1024 items"},
	{"sync ack of nothing", aSync(1, func(r *pb.SyncRequest) { r.Acks = []*pb.AckItem{{Timeline: "t"}} }), "acks[0].delivered_seq_id", "must be given"},
	{"sync limit 1001", aSync(1, func(r *pb.SyncRequest) { r.Limit = 1001 }), "limit", "at most 1000 messages"},
	{"sync bytes", aSync(1, func(r *pb.SyncRequest) { r.MaxBytes = 4<<20 + 1 }), "max_bytes", "at most 4194304 bytes"},
	{"sync token", aSync(1, func(r *pb.SyncRequest) { r.PageToken = "x" }), "page_token", "must be empty with have"},
	{"sync bad token", &pb.SyncRequest{Reader: "a", PageToken: "x"}, "page_token", "is not a next_page_token"},
	{"verify", aVerify(1, nil), "", ""},
	{"verify nothing", aVerify(0, nil), "points", "1 to 1024 items"},
	{"verify 1024", aVerify(1024, nil), "", ""},
	{"verify 1025", aVerify(1025, nil), "points", "1025 items"},
	{"verify no timeline", aVerify(1, func(r *pb.VerifyRequest) { r.Timeline = "" }), "timeline", "1 to 256 bytes"},
	{"verify 0", aVerify(1, func(r *pb.VerifyRequest) { r.Points[0].SeqId = 0 }), "points[0].seq_id", "at least 1"},
	{"verify order", aVerify(2, func(r *pb.VerifyRequest) { r.Points[1].SeqId = 1 }), "points[1].seq_id", "not more than"},
	{"verify digest", aVerify(1, func(r *pb.VerifyRequest) { r.Points[0].Digest = make([]byte, 15) }), "points[0].digest", "15 bytes; it must have 16"},
	{"read session", &pb.ReadRequest{Timeline: "t", Consistency: at([]byte("bad"))}, "consistency.session.position", "not a position"},

	{"get", &pb.GetRequest{Timeline: "t", By: &pb.GetRequest_SeqId{SeqId: 1}}, "", ""},
	{"get nothing", &pb.GetRequest{Timeline: "t"}, "by", "seq_id or message_id"},
	{"get 0", &pb.GetRequest{Timeline: "t", By: &pb.GetRequest_SeqId{}}, "seq_id", "at least 1"},
	{"get id empty", &pb.GetRequest{Timeline: "t", By: &pb.GetRequest_MessageId{}}, "message_id", "empty"},
	{"get id 65", &pb.GetRequest{Timeline: "t", By: &pb.GetRequest_MessageId{MessageId: text(65)}}, "message_id", "limit is 64 bytes"},
	{"get no timeline", &pb.GetRequest{By: &pb.GetRequest_SeqId{SeqId: 1}}, "timeline", "empty"},

	{"cursors of nothing", &pb.ListCursorsRequest{}, "by", "timeline or reader"},
	{"cursors of timeline", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, PageSize: 1000}, "", ""},
	{"cursors page 1001", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, PageSize: 1001}, "page_size", "at most 1000 cursors"},
	{"cursors timeline 257", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: text(257)}}, "timeline", "limit is 256"},
	{"cursors reader 129", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: text(129)}}, "reader", "limit is 128"},
	{"cursors reader read_at_least", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "a"}, ReadAtLeast: 1}, "read_at_least", "timeline only"},
	{"cursors reader count", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "a"}, CountOnly: true}, "count_only", "timeline only"},
	{"cursors count page", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, CountOnly: true, PageToken: "x"}, "page_token", "count_only"},
	{"cursors token", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, PageToken: "%%"}, "page_token", "not a next_page_token"},

	{"conversations", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "a"}, Order: pb.CursorOrder_CURSOR_ORDER_ACTIVITY}, "", ""},
	{"conversations of a timeline", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Timeline{Timeline: "t"}, Order: pb.CursorOrder_CURSOR_ORDER_ACTIVITY}, "order", "reader only"},
	{"cursors order 2", &pb.ListCursorsRequest{By: &pb.ListCursorsRequest_Reader{Reader: "a"}, Order: 2}, "order", "0 or 1"},

	{"fan-out", anAppend(func(r *pb.AppendRequest) { r.FanOut = &pb.FanOut{Recipients: true, Inboxes: []string{"i"}} }), "", ""},
	{"fan-out 1000", anAppend(func(r *pb.AppendRequest) { r.FanOut = &pb.FanOut{Inboxes: manyNames(1000)} }), "", ""},
	{"fan-out 1001", anAppend(func(r *pb.AppendRequest) { r.FanOut = &pb.FanOut{Inboxes: manyNames(1001)} }), "fan_out.inboxes", "fan-out on read"},
	{"fan-out twice", anAppend(func(r *pb.AppendRequest) { r.FanOut = &pb.FanOut{Inboxes: []string{"i", "i"}} }), "fan_out.inboxes", "twice"},
	{"fan-out to itself", anAppend(func(r *pb.AppendRequest) { r.FanOut = &pb.FanOut{Inboxes: []string{"t"}} }), "fan_out.inboxes", "itself"},
	{"fan-out inbox 257", anAppend(func(r *pb.AppendRequest) { r.FanOut = &pb.FanOut{Inboxes: []string{text(257)}} }), "fan_out.inboxes", "limit is 256"},
	{"advance nobody", anAppend(func(r *pb.AppendRequest) { r.Sender, r.AdvanceSenderCursor = "", true }), "sender", "empty"},
	{"advance", anAppend(func(r *pb.AppendRequest) { r.AdvanceSenderCursor = true }), "", ""},

	{"revise", &pb.ReviseRequest{Timeline: "t", MessageId: "r", SeqId: 1, Change: &pb.ReviseRequest_Content{Content: &pb.RevisedContent{Payload: []byte("x")}}}, "", ""},
	{"revise redact", &pb.ReviseRequest{Timeline: "t", MessageId: "r", SeqId: 1, Change: &pb.ReviseRequest_Redact{Redact: true}}, "", ""},
	{"audit arm", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_Arm{Arm: 100}}, "", ""},
	{"audit end", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_End{End: true}}, "", ""},
	{"audit part", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_Part{Part: &pb.AuditPart{MaxRecords: 1 << 20}}}, "", ""},
	{"audit no id", &pb.AuditRequest{Step: &pb.AuditRequest_End{End: true}}, "audit_id", "limit is 1 to 64 bytes"},
	{"audit nothing", &pb.AuditRequest{AuditId: "a"}, "step", "must be given"},
	{"audit arm at 0", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_Arm{}}, "arm", "must not be 0"},
	{"audit end false", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_End{}}, "end", "must be true"},
	{"audit no records", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_Part{Part: &pb.AuditPart{}}}, "part.max_records", "limit is 1 to 1048576"},
	{"audit too far", &pb.AuditRequest{AuditId: "a", Step: &pb.AuditRequest_Advance{Advance: 1 << 40}}, "advance", "limit is 65536"},
	{"explain", &pb.ExplainRequest{Timeline: "t", SeqId: 1, MaxItems: 10000}, "", ""},
	{"explain by id", &pb.ExplainRequest{Timeline: "t", MessageId: "m"}, "", ""},
	{"explain nothing", &pb.ExplainRequest{Timeline: "t"}, "seq_id", "or message_id must be given"},
	{"explain both", &pb.ExplainRequest{Timeline: "t", SeqId: 1, MessageId: "m"}, "message_id", "must not be given beside seq_id"},
	{"explain no timeline", &pb.ExplainRequest{SeqId: 1}, "timeline", "empty"},
	{"explain too many", &pb.ExplainRequest{Timeline: "t", SeqId: 1, MaxItems: 10001}, "max_items", "limit is 10000"},
	{"explain long id", &pb.ExplainRequest{Timeline: "t", MessageId: strings.Repeat("m", 65)}, "message_id", "limit is 64"},
	{"revise no change", &pb.ReviseRequest{Timeline: "t", MessageId: "r", SeqId: 1}, "change", "must be given"},
	{"revise redact false", &pb.ReviseRequest{Timeline: "t", MessageId: "r", SeqId: 1, Change: &pb.ReviseRequest_Redact{}}, "redact", "must be true"},
	{"revise no seq_id", &pb.ReviseRequest{Timeline: "t", MessageId: "r", Change: &pb.ReviseRequest_Redact{Redact: true}}, "seq_id", "must not be 0"},
	{"revise no message_id", &pb.ReviseRequest{Timeline: "t", SeqId: 1, Change: &pb.ReviseRequest_Redact{Redact: true}}, "message_id", "empty"},
	{"revise no timeline", &pb.ReviseRequest{MessageId: "r", SeqId: 1, Change: &pb.ReviseRequest_Redact{Redact: true}}, "timeline", "empty"},
	{"revise payload", &pb.ReviseRequest{Timeline: "t", MessageId: "r", SeqId: 1, Change: &pb.ReviseRequest_Content{Content: &pb.RevisedContent{Payload: make([]byte, 256<<10+1)}}}, "payload", "limit is"},
	{"import revision", &pb.ImportRequest{Timeline: "t", Items: []*pb.Message{{SeqId: 1, MessageId: "m", ServerTime: timestamppb.Now(), Revision: &pb.Revision{Revision: 1}}}}, "items[0].revision", "must not be given"},
	{"import revises", &pb.ImportRequest{Timeline: "t", Items: []*pb.Message{{SeqId: 1, MessageId: "m", ServerTime: timestamppb.Now(), Revises: &pb.Revises{SeqId: 1}}}}, "items[0].revises", "must not be given"},
	{"recipients", &pb.SetRecipientsRequest{Timeline: "t", Add: manyNames(1000)}, "", ""},
	{"recipients 1001", &pb.SetRecipientsRequest{Timeline: "t", Add: manyNames(600), Remove: manyNames(401)}, "add", "limit is 1000 inboxes in one call"},
	{"recipients in both", &pb.SetRecipientsRequest{Timeline: "t", Add: []string{"i"}, Remove: []string{"i"}}, "remove", "in add too"},
	{"recipients replace and remove", &pb.SetRecipientsRequest{Timeline: "t", Replace: true, Remove: []string{"i"}}, "remove", "does not go with replace"},
	{"recipients no timeline", &pb.SetRecipientsRequest{Add: []string{"i"}}, "timeline", "empty"},
	{"list recipients", &pb.ListRecipientsRequest{Timeline: "t", PageSize: 1000}, "", ""},
	{"list recipients page 1001", &pb.ListRecipientsRequest{Timeline: "t", PageSize: 1001}, "page_size", "at most 1000"},
	{"list recipients no timeline", &pb.ListRecipientsRequest{}, "timeline", "empty"},

	{"update", &pb.UpdateTimelineRequest{Timeline: "t", Set: map[string]string{"k": text(4095)}, Remove: []string{"l"}}, "", ""},
	{"update 4 KiB + 1", &pb.UpdateTimelineRequest{Timeline: "t", Set: map[string]string{"k": text(4096)}}, "set", "limit is 4096 bytes"},
	{"update empty key", &pb.UpdateTimelineRequest{Timeline: "t", Set: map[string]string{"": "v"}}, "set", "empty key"},
	{"update remove empty", &pb.UpdateTimelineRequest{Timeline: "t", Remove: []string{""}}, "remove", "empty key"},
	{"update remove twice", &pb.UpdateTimelineRequest{Timeline: "t", Remove: []string{"a", "a"}}, "remove", "twice"},
	{"update in both", &pb.UpdateTimelineRequest{Timeline: "t", Set: map[string]string{"a": ""}, Remove: []string{"a"}}, "remove", "in set too"},
	{"update no timeline", &pb.UpdateTimelineRequest{}, "timeline", "empty"},
	{"trim", &pb.TrimRequest{Timeline: "t", FirstSeqId: 1}, "", ""},
	{"trim 0", &pb.TrimRequest{Timeline: "t"}, "first_seq_id", "at least 1"},
	{"trim no timeline", &pb.TrimRequest{FirstSeqId: 1}, "timeline", "empty"},
	{"delete", &pb.DeleteTimelineRequest{Timeline: "t"}, "", ""},
	{"delete no timeline", &pb.DeleteTimelineRequest{}, "timeline", "empty"},
	{"count timelines", &pb.ListTimelinesRequest{Prefix: "t", CountOnly: true}, "", ""},
	{"count timelines page", &pb.ListTimelinesRequest{CountOnly: true, PageToken: "x"}, "page_token", "count_only"},

	{"policy", &pb.SetPolicyRequest{Policy: &pb.Policy{Prefix: text(256), MaxMessages: 1, AckedBy: manyNames(16)}}, "", ""},
	{"policy dry", &pb.SetPolicyRequest{Policy: &pb.Policy{Prefix: "t", MaxMessages: 1}, DryRun: true}, "", ""},
	{"changes", &pb.ChangesRequest{Prefix: text(256)}, "", ""},
	{"changes from", &pb.ChangesRequest{Start: &pb.ChangesRequest_Position{Position: tidemark.ChangePosition{Feed: 1, Index: 1}.Token()}}, "", ""},
	{"changes prefix 257", &pb.ChangesRequest{Prefix: text(257)}, "prefix", "limit is 256 bytes"},
	{"changes prefix control", &pb.ChangesRequest{Prefix: "a\n"}, "prefix", "control characters"},
	{"changes now false", &pb.ChangesRequest{Start: &pb.ChangesRequest_Now{}}, "now", "must be true"},
	{"changes session position", &pb.ChangesRequest{Start: &pb.ChangesRequest_Position{Position: tidemark.Position(7).Token()}}, "position", "not a position of the change feed"},
	{"changes position 0", &pb.ChangesRequest{Start: &pb.ChangesRequest_Position{Position: tidemark.ChangePosition{Feed: 1}.Token()}}, "position", "not a position of the change feed"},
	{"policy none", &pb.SetPolicyRequest{}, "policy", "must be given"},
	{"policy prefix 257", &pb.SetPolicyRequest{Policy: &pb.Policy{Prefix: text(257)}}, "policy.prefix", "limit is 256"},
	{"policy readers 17", &pb.SetPolicyRequest{Policy: &pb.Policy{AckedBy: manyNames(17)}}, "policy.acked_by", "limit is 16"},
	{"policy reader twice", &pb.SetPolicyRequest{Policy: &pb.Policy{AckedBy: []string{"a", "a"}}}, "policy.acked_by", "twice"},
	{"policy age", &pb.SetPolicyRequest{Policy: &pb.Policy{MaxAge: &durationpb.Duration{Nanos: 1}}}, "policy.max_age", "milliseconds"},
	{"policy negative age", &pb.SetPolicyRequest{Policy: &pb.Policy{MaxAge: &durationpb.Duration{Seconds: -1}}}, "policy.max_age", "not negative"},
	{"policies", &pb.ListPoliciesRequest{}, "", ""},
	{"import", anImport(nil), "", ""},
	{"import nothing", &pb.ImportRequest{Timeline: "t"}, "items", "1 to 1024"},
	{"import seq 0", anImport(func(m []*pb.Message) { m[0].SeqId = 0 }), "items[0].seq_id", "at least 1"},
	{"import gap", anImport(func(m []*pb.Message) { m[1].SeqId = 9 }), "items[1].seq_id", "not the next"},
	{"import no time", anImport(func(m []*pb.Message) { m[1].ServerTime = nil }), "items[1].server_time", "must be given"},
	{"import future", anImport(func(m []*pb.Message) { m[1].ServerTime = timestamppb.New(time.Now().Add(time.Hour)) }), "items[1].server_time", "future"},
	{"import other timeline", anImport(func(m []*pb.Message) { m[0].Timeline = "u" }), "items[0].timeline", "another one"},
	{"import source", anImport(func(m []*pb.Message) { m[0].Source = &pb.Source{} }), "items[0].source", "inboxes"},
	{"import digest", &pb.ImportRequest{Timeline: "t", Items: anImport(nil).Items, PreviousDigest: []byte{1}}, "previous_digest", "must have 16"},
	{"import highest seq", anImport(func(m []*pb.Message) { m[0].SeqId, m[1].SeqId = 1<<62-2, 1<<62-1 }), "", ""},
	{"import too high seq", anImport(func(m []*pb.Message) { m[0].SeqId, m[1].SeqId = 1<<62-1, 1<<62 }), "items[0].seq_id", "limit is"},
	{"import digest before the first", &pb.ImportRequest{Timeline: "t", Items: anImport(func(m []*pb.Message) { m[0].SeqId, m[1].SeqId = 1, 2 }).Items, PreviousDigest: []byte("0123456789abcdef")}, "previous_digest", "must not be given"},
	{"import message's digest", anImport(func(m []*pb.Message) { m[1].Digest = []byte{1} }), "items[1].digest", "must have 16"},

	{"head", &pb.GetTimelineRequest{Timeline: "t"}, "", ""},
	{"head no timeline", &pb.GetTimelineRequest{}, "timeline", "empty"},
	{"timelines", &pb.ListTimelinesRequest{Prefix: text(256)}, "", ""},
	{"timelines prefix 257", &pb.ListTimelinesRequest{Prefix: text(257)}, "prefix", "limit is 256 bytes"},
	{"timelines page 1001", &pb.ListTimelinesRequest{PageSize: 1001}, "page_size", "at most 1000 timelines"},
	{"timelines token", &pb.ListTimelinesRequest{PageToken: "AQ"}, "page_token", "not a next_page_token"},

	{"member", &pb.AddMemberRequest{NodeId: "n4", RaftAddress: "host:7401"}, "", ""},
	{"member id 128", &pb.AddMemberRequest{NodeId: text(128), RaftAddress: text(256) + ":7401"}, "", ""},
	{"member no id", &pb.AddMemberRequest{RaftAddress: "host:7401"}, "node_id", "1 to 128 bytes"},
	{"member id 129", &pb.AddMemberRequest{NodeId: text(129), RaftAddress: "host:7401"}, "node_id", "limit is 128 bytes"},
	{"member id control", &pb.AddMemberRequest{NodeId: "n\x00", RaftAddress: "host:7401"}, "node_id", "control"},
	{"member no address", &pb.AddMemberRequest{NodeId: "n4"}, "raft_address", "HOST:PORT"},
	{"member no port", &pb.AddMemberRequest{NodeId: "n4", RaftAddress: "host"}, "raft_address", "HOST:PORT"},
	{"member port 65536", &pb.AddMemberRequest{NodeId: "n4", RaftAddress: "host:65536"}, "raft_address", "1 to 65535"},
	{"member address 262", &pb.AddMemberRequest{NodeId: "n4", RaftAddress: text(260) + ":1"}, "raft_address", "limit is 261 bytes"},
	{"remove no id", &pb.RemoveMemberRequest{}, "node_id", "empty"},
	{"promote no id", &pb.PromoteMemberRequest{}, "node_id", "empty"},
	{"transfer to anyone", &pb.TransferLeadershipRequest{}, "", ""},
	{"transfer id 129", &pb.TransferLeadershipRequest{NodeId: text(129)}, "node_id", "limit is 128 bytes"},
}

// sized gives the append that Draft.Size.
func sized(r *pb.AppendRequest, size int) {
	r.Payload = make([]byte, size-len(r.MessageId)-len(r.Sender)-len(r.Type))
}

func atomically(b *pb.AppendBatchRequest) *pb.AppendBatchRequest { b.Atomic = true; return b }

func at(position []byte) *pb.Consistency {
	return &pb.Consistency{Level: &pb.Consistency_Session_{Session: &pb.Consistency_Session{Position: position}}}
}
