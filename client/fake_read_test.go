package client_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "tidemark/rpc/tidemarkv1"
)

var errNoTimeline = reasoned(codes.NotFound, "TIMELINE_NOT_FOUND", 0)

func (c *cluster) find(name string) ([]*pb.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.timelines[name]
	if t == nil {
		return nil, errNoTimeline
	}
	return slices.Clone(t.messages), nil
}

func (n *node) note(level *pb.Consistency) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.levels = append(n.levels, level)
}

func (n *node) Read(_ context.Context, request *pb.ReadRequest) (*pb.ReadResponse, error) {
	n.note(request.GetConsistency())
	all, err := n.cluster.find(request.GetTimeline())
	if err != nil {
		return nil, err
	}
	limit := int(request.GetLimit())
	if limit == 0 {
		limit = 100
	}
	from, to := 0, len(all)
	backward := request.GetDirection() == pb.Direction_DIRECTION_BACKWARD
	switch start := request.GetStart().(type) {
	case *pb.ReadRequest_FromSeqId:
		if backward {
			to = min(int(start.FromSeqId), len(all))
		} else {
			from = min(int(start.FromSeqId)-1, len(all))
		}
	case *pb.ReadRequest_BeforeSeqId:
		to = min(int(start.BeforeSeqId)-1, len(all))
	case *pb.ReadRequest_FromTime:
		at := slices.IndexFunc(all, func(m *pb.Message) bool { return !m.GetServerTime().AsTime().Before(start.FromTime.AsTime()) })
		if at < 0 {
			at = len(all)
		}
		from = at
	}
	more := to-from > limit
	if more && backward {
		from = to - limit
	} else if more {
		to = from + limit
	}
	page := all[from:to]
	reply := &pb.ReadResponse{
		Messages: page, HasMore: more, Position: n.cluster.position(), Timeline: head(request.GetTimeline(), all),
		AppliedIndex: 7, StalenessMillis: 12, PreviousDigest: []byte(fmt.Sprintf("%016d", from)),
	}
	if len(page) > 0 {
		reply.FirstSeqId, reply.LastSeqId = page[0].GetSeqId(), page[len(page)-1].GetSeqId()
	}
	return reply, nil
}

func head(name string, all []*pb.Message) *pb.Timeline {
	return &pb.Timeline{
		Timeline: name, FirstSeqId: 1, LastSeqId: uint64(len(all)), Count: uint64(len(all)), Bytes: 5 * uint64(len(all)),
		CreatedAt: all[0].GetServerTime(), LastServerTime: all[len(all)-1].GetServerTime(), Digest: all[len(all)-1].GetDigest(),
	}
}

func (n *node) Get(_ context.Context, request *pb.GetRequest) (*pb.GetResponse, error) {
	n.note(request.GetConsistency())
	all, err := n.cluster.find(request.GetTimeline())
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.GetSeqId() == request.GetSeqId() || m.GetMessageId() == request.GetMessageId() {
			return &pb.GetResponse{Message: m, Position: n.cluster.position()}, nil
		}
	}
	return nil, reasoned(codes.NotFound, "MESSAGE_NOT_FOUND", 0)
}

func (n *node) Ack(_ context.Context, request *pb.AckRequest) (*pb.AckResponse, error) {
	reply := &pb.AckResponse{}
	for _, item := range request.GetItems() {
		all, err := n.cluster.find(item.GetTimeline())
		if err != nil {
			return nil, err
		}
		n.cluster.mu.Lock()
		key := [2]string{item.GetTimeline(), request.GetReader()}
		cursor := n.cluster.cursors[key]
		if cursor == nil {
			cursor = &pb.Cursor{Timeline: key[0], Reader: key[1]}
			n.cluster.cursors[key] = cursor
		}
		cursor.LastSeqId = uint64(len(all))
		cursor.UpdatedAt = timestamppb.New(time.Unix(1700000000, 0))
		cursor.ReadSeqId = max(cursor.GetReadSeqId(), item.GetReadSeqId())
		cursor.DeliveredSeqId = max(cursor.GetDeliveredSeqId(), item.GetDeliveredSeqId(), cursor.GetReadSeqId())
		n.cluster.index++
		n.cluster.mu.Unlock()
		reply.Cursors = append(reply.Cursors, cursor)
	}
	reply.Position = n.cluster.position()
	return reply, nil
}

// ListCursors pages by two, whatever is asked for, with the offset as the token.
func (n *node) ListCursors(_ context.Context, request *pb.ListCursorsRequest) (*pb.ListCursorsResponse, error) {
	n.note(request.GetConsistency())
	n.cluster.mu.Lock()
	var all []*pb.Cursor
	for _, cursor := range n.cluster.cursors {
		if cursor.GetTimeline() == request.GetTimeline() && cursor.GetReadSeqId() >= request.GetReadAtLeast() || cursor.GetReader() == request.GetReader() {
			all = append(all, cursor)
		}
	}
	n.cluster.mu.Unlock()
	slices.SortFunc(all, func(a, b *pb.Cursor) int {
		return strings.Compare(a.GetTimeline()+a.GetReader(), b.GetTimeline()+b.GetReader())
	})
	reply := &pb.ListCursorsResponse{Position: n.cluster.position()}
	if request.GetCountOnly() {
		reply.Count = uint64(len(all))
		return reply, nil
	}
	reply.Cursors, reply.NextPageToken = pageOfTwo(all, request.GetPageToken())
	return reply, nil
}

func pageOfTwo[T any](all []T, token string) ([]T, string) {
	from, _ := strconv.Atoi(token)
	to := min(from+2, len(all))
	if to == len(all) {
		return all[from:to], ""
	}
	return all[from:to], strconv.Itoa(to)
}

func (n *node) GetTimeline(_ context.Context, request *pb.GetTimelineRequest) (*pb.GetTimelineResponse, error) {
	n.note(request.GetConsistency())
	all, err := n.cluster.find(request.GetTimeline())
	if err != nil {
		return nil, err
	}
	return &pb.GetTimelineResponse{Timeline: head(request.GetTimeline(), all), Position: n.cluster.position()}, nil
}

func (n *node) ListTimelines(_ context.Context, request *pb.ListTimelinesRequest) (*pb.ListTimelinesResponse, error) {
	n.note(request.GetConsistency())
	n.cluster.mu.Lock()
	var all []*pb.Timeline
	for _, name := range sortedKeys(n.cluster.timelines) {
		if strings.HasPrefix(name, request.GetPrefix()) {
			all = append(all, head(name, n.cluster.timelines[name].messages))
		}
	}
	n.cluster.mu.Unlock()
	reply := &pb.ListTimelinesResponse{Position: n.cluster.position()}
	reply.Timelines, reply.NextPageToken = pageOfTwo(all, request.GetPageToken())
	return reply, nil
}

func (n *node) AddMember(context.Context, *pb.AddMemberRequest) (*pb.AddMemberResponse, error) {
	return &pb.AddMemberResponse{Members: []*pb.Member{{NodeId: "n1"}, {NodeId: "n4"}}}, nil
}

func (n *node) RemoveMember(context.Context, *pb.RemoveMemberRequest) (*pb.RemoveMemberResponse, error) {
	return &pb.RemoveMemberResponse{Members: []*pb.Member{{NodeId: "n1"}}}, nil
}

func (n *node) PromoteMember(context.Context, *pb.PromoteMemberRequest) (*pb.PromoteMemberResponse, error) {
	return &pb.PromoteMemberResponse{Members: []*pb.Member{{NodeId: "n1"}}}, nil
}

func (n *node) TransferLeadership(_ context.Context, request *pb.TransferLeadershipRequest) (*pb.TransferLeadershipResponse, error) {
	return &pb.TransferLeadershipResponse{LeaderId: request.GetNodeId()}, nil
}

func (n *node) TakeSnapshot(context.Context, *pb.TakeSnapshotRequest) (*pb.TakeSnapshotResponse, error) {
	return &pb.TakeSnapshotResponse{Index: 12, Term: uint64(n.id)}, nil
}

func (n *node) Backup(_ *pb.BackupRequest, stream pb.ClusterService_BackupServer) error {
	for range 3 {
		if err := stream.Send(&pb.BackupResponse{Chunk: []byte("chunk")}); err != nil {
			return err
		}
	}
	if f := n.next("Backup"); f != nil {
		return f.err
	}
	return nil
}
