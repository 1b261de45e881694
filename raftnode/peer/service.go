package peer

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"tidemark/raftnode/peer/peerpb"
)

// Service is what a node answers to its peers. Errors that wrap one of those in
// wireErrors arrive as the same on the other side.
type Service interface {
	// Term returns the current Raft term. It must not be served from a cache.
	Term(ctx context.Context) (uint64, error)
	// ReadIndex returns an index that covers every write acknowledged before the
	// call, and the leader's term. Only a leader answers it, others with
	// tidemark.ErrNotLeader: a call is never passed on, so it never loops.
	ReadIndex(ctx context.Context) (index, term uint64, err error)
	// Info describes the node.
	Info(ctx context.Context) (Info, error)
}

// Info describes a node at one moment.
type Info struct {
	NodeID, ClientAddress, HTTPAddress, Version string
	Term, AppliedIndex, CommitIndex, LastIndex  uint64
	// Role is leader, follower, candidate or stopped.
	Role string
	// LeaderID is empty if the node knows of no leader.
	LeaderID string
	// NotServingReason is empty if the node can serve.
	NotServingReason string
	// Level is the highest feature level that the node understands; 0 if it does not say.
	Level uint32
	// Members is the node's latest configuration. A node that was away while the
	// cluster changed learns from it whom to let in.
	Members []Member
}

// Member is one server of a configuration.
type Member struct {
	ID, RaftAddress string
	Voter           bool
}

const (
	// maxPeerMessageBytes bounds one message of the peer service: an Info with all
	// its members fits.
	maxPeerMessageBytes = 1 << 20
	// maxPeerCalls bounds what one peer asks at the same time.
	maxPeerCalls = 1024
	// windowBytes holds more than is ever on the way. It is set because gRPC measures what
	// it would choose itself with a ping for each message that comes alone: a question and
	// its answer would be six messages in place of two.
	windowBytes = maxPeerMessageBytes
	// clientPing is how often an idle client asks whether the other side is there
	// (gRPC allows no shorter), pingTimeout how long it waits.
	clientPing  = 10 * time.Second
	pingTimeout = 3 * time.Second
)

// NewServer starts a gRPC server for svc on m's peer connections. Stop it before
// closing m.
func NewServer(m *Mux, svc Service) *grpc.Server {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxPeerMessageBytes),
		grpc.MaxSendMsgSize(maxPeerMessageBytes),
		grpc.MaxConcurrentStreams(maxPeerCalls),
		grpc.StaticStreamWindowSize(windowBytes),
		grpc.StaticConnWindowSize(windowBytes),
		grpc.ConnectionTimeout(m.cfg.HandshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: clientPing, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPing / 2, PermitWithoutStream: true}),
	)
	peerpb.RegisterPeerServiceServer(s, server{svc: svc})
	m.wg.Go(func() {
		err := s.Serve(m.GRPCListener())
		if err != nil && !errors.Is(err, grpc.ErrServerStopped) && m.ctx.Err() == nil {
			m.cfg.Logger.Error("the service for other nodes has ended", "error", err)
		}
	})
	return s
}

// server puts a Service into protobuf.
type server struct {
	peerpb.UnimplementedPeerServiceServer
	svc Service
}

func (s server) Term(ctx context.Context, _ *peerpb.TermRequest) (*peerpb.TermResponse, error) {
	term, err := s.svc.Term(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &peerpb.TermResponse{Term: term}, nil
}

func (s server) ReadIndex(ctx context.Context, _ *peerpb.ReadIndexRequest) (*peerpb.ReadIndexResponse, error) {
	index, term, err := s.svc.ReadIndex(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &peerpb.ReadIndexResponse{Index: index, Term: term}, nil
}

func (s server) Info(ctx context.Context, _ *peerpb.InfoRequest) (*peerpb.InfoResponse, error) {
	i, err := s.svc.Info(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	r := &peerpb.InfoResponse{
		NodeId: i.NodeID, ClientAddress: i.ClientAddress, HttpAddress: i.HTTPAddress, Version: i.Version,
		Term: i.Term, AppliedIndex: i.AppliedIndex, CommitIndex: i.CommitIndex, LastIndex: i.LastIndex,
		Role: i.Role, LeaderId: i.LeaderID, NotServingReason: i.NotServingReason, Level: i.Level,
	}
	for _, m := range i.Members {
		r.Members = append(r.Members, &peerpb.Member{NodeId: m.ID, RaftAddress: m.RaftAddress, Voter: m.Voter})
	}
	return r, nil
}
