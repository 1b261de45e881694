package rpc

import (
	"bytes"
	"context"
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/fsm"
	"tidemark/fsm/fsmpb"
	pb "tidemark/rpc/tidemarkv1"
)

// Sync hands the store what it was asked, and renders what it answers.
func TestSync(t *testing.T) {
	store := &fakeStore{}
	d := open(t, newNetwork(), leadingNode(), func(o *Options) { o.Store = store })
	reply, err := d.timelines.Sync(testContext(t), &pb.SyncRequest{
		Reader: "alice", MaxBytes: 1234, Limit: 5,
		Have: []*pb.SyncPosition{
			{Timeline: "a", Start: &pb.SyncPosition_AfterSeqId{AfterSeqId: 2}, Priority: pb.SyncPriority_SYNC_PRIORITY_LOW},
			{Timeline: "b", Start: &pb.SyncPosition_FromCursor{FromCursor: true}, Priority: pb.SyncPriority_SYNC_PRIORITY_HIGH},
			{Timeline: "c", Start: &pb.SyncPosition_AfterSeqId{AfterSeqId: 3}},
			{Timeline: "d", Start: &pb.SyncPosition_AfterSeqId{AfterSeqId: math.MaxUint64}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := tidemark.Pull{Reader: "alice", MaxBytes: 1234, MaxMessages: 5, Positions: []tidemark.PullPosition{
		{Timeline: "a", After: 2, Class: 2}, {Timeline: "b", FromCursor: true, Class: 0}, {Timeline: "c", After: 3, Class: 1}, {Timeline: "d", After: math.MaxUint64, Class: 1},
	}}
	asked := *store.pulls.Load()
	if want.Turn = asked.Turn; !slices.Equal(asked.Positions, want.Positions) || asked.MaxBytes != 1234 || asked.MaxMessages != 5 || asked.Reader != "alice" {
		t.Errorf("the store was asked for %+v, want %+v", asked, want)
	}
	a, c := reply.GetTimelines()[0], reply.GetTimelines()[2]
	if ahead := reply.GetTimelines()[3]; ahead.GetTrimmedToSeqId() != 0 {
		t.Errorf("to a client that is ahead trimmed is %d", ahead.GetTrimmedToSeqId())
	}
	if a.GetTrimmedToSeqId() != 4 || c.GetTrimmedToSeqId() != 0 {
		t.Errorf("messages from 4 on: after 2 trimmed is %d, after 3 it is %d", a.GetTrimmedToSeqId(), c.GetTrimmedToSeqId())
	}
	if !a.GetHasMore() || a.GetAfterSeqId() != 2 || a.GetTimeline().GetLastSeqId() != 9 || len(a.GetMessages()) != 1 ||
		a.GetCursor().GetDeliveredSeqId() != 3 || a.GetCursor().GetLastSeqId() != 9 {
		t.Errorf("got %v", a)
	}
	if !reply.GetHasMore() || reply.GetAppliedIndex() != 20 || !bytes.Equal(reply.GetPosition(), tidemark.Position(20).Token()) {
		t.Errorf("got %v", reply)
	}
}

// Without positions those of the reader's cursors are taken, page by page.
func TestSyncOfReader(t *testing.T) {
	store := &fakeStore{}
	d := open(t, newNetwork(), leadingNode(), func(o *Options) { o.Store = store })
	if _, err := d.timelines.Sync(testContext(t), &pb.SyncRequest{Reader: "alice"}); err != nil {
		t.Fatal(err)
	}
	asked := store.pulls.Load().Positions
	if len(asked) != 3 || !asked[0].FromCursor || asked[0].Timeline != "t" {
		t.Errorf("the store was asked for %+v", asked)
	}
	token := pageToken("sync of reader bob", make([]byte, 8))
	if _, err := d.timelines.Sync(testContext(t), &pb.SyncRequest{Reader: "alice", PageToken: token}); err == nil {
		t.Error("a page of another reader was served")
	}
}

// The acknowledgement comes before the reading, which sees it; and once it is applied, no
// error says that nothing was done.
func TestSyncAcknowledges(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	request := aSync(1, func(r *pb.SyncRequest) { r.Acks, r.Consistency = anAck(3, nil).Items, at(nil) })
	if _, err := d.timelines.Sync(testContext(t), proto.CloneOf(request)); err != nil {
		t.Fatal(err)
	}
	if node.count() != 1 || len(node.proposed[0].GetAck().GetItems()) != 3 || node.proposed[0].GetAck().GetReader() == nil {
		t.Errorf("proposed were %v", node.proposed)
	}
	if !slices.Equal(node.waited, []uint64{1}) {
		t.Errorf("the read waited for %v, not for the acknowledgement", node.waited)
	}
	node.outcome = func(int, *fsmpb.Command) (any, error) { return fsm.AckResult{Err: tidemark.ErrTimelineNotFound}, nil }
	_, err := d.timelines.Sync(testContext(t), proto.CloneOf(request))
	wantReason(t, err, codes.NotFound, "TIMELINE_NOT_FOUND")

	node = leadingNode()
	node.readIndex = func(context.Context) (uint64, error) { return 0, tidemark.ErrNoLeader }
	d = open(t, newNetwork(), node, nil)
	request.Consistency = nil
	_, err = d.timelines.Sync(testContext(t), request)
	wantReason(t, err, codes.Unavailable, "OUTCOME_UNKNOWN")
}

// Verify says up to where all is equal, and where the difference lies.
func TestVerify(t *testing.T) {
	d := open(t, newNetwork(), leadingNode(), nil)
	point := func(seq uint64, first byte) *pb.VerifyPoint {
		digest := make([]byte, 16)
		digest[0] = first
		return &pb.VerifyPoint{SeqId: seq, Digest: digest}
	}
	for _, test := range []struct {
		name              string
		points            []*pb.VerifyPoint
		equal             bool
		equalTo, differAt uint64
		digest            bool
	}{
		{"equal", []*pb.VerifyPoint{point(3, 3), point(10, 10)}, true, 10, 0, false},
		{"second differs", []*pb.VerifyPoint{point(3, 3), point(7, 6), point(10, 10)}, false, 3, 7, true},
		{"first differs", []*pb.VerifyPoint{point(1, 9)}, false, 0, 1, true},
		{"beyond the end", []*pb.VerifyPoint{point(10, 10), point(11, 11)}, false, 10, 11, false},
	} {
		reply, err := d.timelines.Verify(testContext(t), &pb.VerifyRequest{Timeline: "t", Points: test.points})
		if err != nil {
			t.Fatal(err)
		}
		if reply.GetEqual() != test.equal || reply.GetEqualToSeqId() != test.equalTo || reply.GetDiffersAtSeqId() != test.differAt ||
			len(reply.GetDigest()) > 0 != test.digest || reply.GetTimeline().GetLastSeqId() != 10 || reply.GetAppliedIndex() != 20 {
			t.Errorf("%s: %v", test.name, reply)
		}
	}
	_, err := d.timelines.Verify(testContext(t), aVerify(1, func(r *pb.VerifyRequest) { r.Timeline = "u" }))
	wantReason(t, err, codes.NotFound, "TIMELINE_NOT_FOUND")
}
