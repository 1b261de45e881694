package rpc

import (
	"context"
	"net"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/raftnode"
	"tidemark/raftnode/peer"
	"tidemark/rpc/tidemarkv1"
)

// maxAddressBytes is enough for a host name and a port.
const maxAddressBytes = 255 + 1 + 5

// Status implements tidemarkv1.ClusterServiceServer. It answers even when the node
// cannot serve, and says why.
func (s *Server) Status(ctx context.Context, req *tidemarkv1.StatusRequest) (*tidemarkv1.StatusResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	status := s.Node.Status(ctx)
	reply := &tidemarkv1.StatusResponse{
		NodeId:              status.NodeID,
		Version:             status.Version,
		Role:                status.Role,
		LeaderId:            status.Leader.ID,
		LeaderClientAddress: status.Leader.ClientAddress,
		Term:                status.Term,
		CommitIndex:         status.CommitIndex,
		AppliedIndex:        status.AppliedIndex,
		FirstLogIndex:       status.FirstLogIndex,
		LastLogIndex:        status.LastLogIndex,
		SnapshotIndex:       status.SnapshotIndex,
		Members:             toMembers(status.Members),
		StartedAt:           timestamppb.New(status.StartedAt),
		LogStore:            status.LogStore,
		StoreFormatVersion:  s.StoreFormat,
	}
	if status.NotServing != nil {
		reply.NotServingReason = status.NotServing.Error()
	}
	if s.Disk != nil {
		var err error
		if reply.DiskUsedBytes, reply.DiskFreeBytes, err = s.Disk(); err != nil {
			s.Logger.Warn("cannot tell how much of the disk is used", "error", err)
		}
	}
	return reply, nil
}

func toMembers(members []raftnode.Member) []*tidemarkv1.Member {
	converted := make([]*tidemarkv1.Member, len(members))
	for i := range members {
		m := &members[i]
		converted[i] = &tidemarkv1.Member{
			NodeId: m.ID, RaftAddress: m.RaftAddress, ClientAddress: m.ClientAddress,
			Role: tidemarkv1.MemberRole_MEMBER_ROLE_NON_VOTER, Leader: m.Leader, Reachable: m.Reachable,
			AppliedIndex: m.AppliedIndex, Version: m.Version, Lag: m.Lag,
		}
		if m.Voter {
			converted[i].Role = tidemarkv1.MemberRole_MEMBER_ROLE_VOTER
		}
	}
	return converted
}

// AddMember implements tidemarkv1.ClusterServiceServer.
func (s *Server) AddMember(ctx context.Context, req *tidemarkv1.AddMemberRequest) (*tidemarkv1.AddMemberResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	if err := validateNodeID(req.GetNodeId()); err != nil {
		return nil, err
	}
	if err := validateAddress(req.GetRaftAddress()); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "AddMember", req,
		func(ctx context.Context, req *tidemarkv1.AddMemberRequest) (*tidemarkv1.AddMemberResponse, error) {
			members, err := s.changed(ctx, s.Node.AddMember(ctx, req.GetNodeId(), req.GetRaftAddress()))
			return &tidemarkv1.AddMemberResponse{Members: members}, err
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.AddMemberRequest, ...grpc.CallOption) (*tidemarkv1.AddMemberResponse, error) {
			return c.cluster.AddMember
		})
}

// RemoveMember implements tidemarkv1.ClusterServiceServer.
func (s *Server) RemoveMember(ctx context.Context, req *tidemarkv1.RemoveMemberRequest) (*tidemarkv1.RemoveMemberResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	if err := validateNodeID(req.GetNodeId()); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "RemoveMember", req,
		func(ctx context.Context, req *tidemarkv1.RemoveMemberRequest) (*tidemarkv1.RemoveMemberResponse, error) {
			members, err := s.changed(ctx, s.Node.RemoveMember(ctx, req.GetNodeId()))
			return &tidemarkv1.RemoveMemberResponse{Members: members}, err
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.RemoveMemberRequest, ...grpc.CallOption) (*tidemarkv1.RemoveMemberResponse, error) {
			return c.cluster.RemoveMember
		})
}

// PromoteMember implements tidemarkv1.ClusterServiceServer.
func (s *Server) PromoteMember(ctx context.Context, req *tidemarkv1.PromoteMemberRequest) (*tidemarkv1.PromoteMemberResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	if err := validateNodeID(req.GetNodeId()); err != nil {
		return nil, err
	}
	return onLeader(ctx, s, "PromoteMember", req,
		func(ctx context.Context, req *tidemarkv1.PromoteMemberRequest) (*tidemarkv1.PromoteMemberResponse, error) {
			members, err := s.changed(ctx, s.Node.PromoteMember(ctx, req.GetNodeId()))
			return &tidemarkv1.PromoteMemberResponse{Members: members}, err
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.PromoteMemberRequest, ...grpc.CallOption) (*tidemarkv1.PromoteMemberResponse, error) {
			return c.cluster.PromoteMember
		})
}

// TransferLeadership implements tidemarkv1.ClusterServiceServer.
func (s *Server) TransferLeadership(ctx context.Context, req *tidemarkv1.TransferLeadershipRequest) (*tidemarkv1.TransferLeadershipResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	if req.GetNodeId() != "" {
		if err := validateNodeID(req.GetNodeId()); err != nil {
			return nil, err
		}
	}
	return onLeader(ctx, s, "TransferLeadership", req,
		func(ctx context.Context, req *tidemarkv1.TransferLeadershipRequest) (*tidemarkv1.TransferLeadershipResponse, error) {
			id, err := s.Node.TransferLeadership(ctx, req.GetNodeId())
			return &tidemarkv1.TransferLeadershipResponse{LeaderId: id}, err
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.TransferLeadershipRequest, ...grpc.CallOption) (*tidemarkv1.TransferLeadershipResponse, error) {
			return c.cluster.TransferLeadership
		})
}

// changed is the members after a change that succeeded.
func (s *Server) changed(ctx context.Context, err error) ([]*tidemarkv1.Member, error) {
	if err != nil {
		return nil, err
	}
	return toMembers(s.Node.Status(ctx).Members), nil
}

// TakeSnapshot implements tidemarkv1.ClusterServiceServer.
func (s *Server) TakeSnapshot(ctx context.Context, req *tidemarkv1.TakeSnapshotRequest) (*tidemarkv1.TakeSnapshotResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	index, term, err := s.Node.TakeSnapshot(ctx)
	return &tidemarkv1.TakeSnapshotResponse{Index: index, Term: term}, err
}

func validateNodeID(id string) error {
	switch {
	case id == "":
		return tidemark.Invalid("node_id", "must not be empty; limit is 1 to %d bytes", peer.MaxNodeIDBytes)
	case len(id) > peer.MaxNodeIDBytes:
		return tidemark.Invalid("node_id", "has %d bytes; limit is %d bytes", len(id), peer.MaxNodeIDBytes)
	case strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r == 0x7f || r == utf8.RuneError }):
		return tidemark.Invalid("node_id", "must be UTF-8 without control characters")
	}
	return nil
}

func validateAddress(address string) error {
	if len(address) > maxAddressBytes {
		return tidemark.Invalid("raft_address", "has %d bytes; limit is %d bytes", len(address), maxAddressBytes)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return tidemark.Invalid("raft_address", "must be HOST:PORT")
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "0" {
		return tidemark.Invalid("raft_address", "must be HOST:PORT with a port of 1 to 65535")
	}
	return nil
}
