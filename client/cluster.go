package client

import (
	"context"
	"fmt"
	"io"
	"time"

	pb "tidemark/rpc/tidemarkv1"
)

// Cluster is what operators do. It speaks in the messages of the generated API,
// which command lines print as they are.
//
// Changes of membership and leadership are repeated only after an attempt that
// certainly changed nothing. After any other they return tidemark.ErrOutcomeUnknown,
// and Status tells what came of it.
type Cluster struct {
	c *Client
	// endpoint is the node to ask; empty for any.
	endpoint string
}

// Cluster is for operations on the cluster, through any node.
func (c *Client) Cluster() *Cluster { return &Cluster{c: c} }

// At is for operations on the node that serves at endpoint, which need not be one
// that the client was given.
func (s *Cluster) At(endpoint string) *Cluster { return &Cluster{c: s.c, endpoint: endpoint} }

// Endpoints returns the endpoints that the client was given.
func (c *Client) Endpoints() []string {
	out := make([]string, len(c.nodes.given))
	for i, node := range c.nodes.given {
		out[i] = node.address
	}
	return out
}

// Status says how the answering node and, as it knows, the cluster are. The client
// learns from it who the members are.
func (s *Cluster) Status(ctx context.Context) (*pb.StatusResponse, error) {
	return operate(ctx, s, call{name: "Status"}, func(ctx context.Context, node *endpoint) (*pb.StatusResponse, error) {
		status, err := node.cluster.Status(ctx, &pb.StatusRequest{})
		if err == nil && s.endpoint == "" {
			s.c.nodes.believe(answer{node, status})
		}
		return status, err
	})
}

// AddMember adds a non-voting member, which then catches up, and returns all members.
func (s *Cluster) AddMember(ctx context.Context, nodeID, raftAddress string) ([]*pb.Member, error) {
	request := &pb.AddMemberRequest{NodeId: nodeID, RaftAddress: raftAddress}
	reply, err := operate(ctx, s, call{name: "AddMember", write: true}, func(ctx context.Context, node *endpoint) (*pb.AddMemberResponse, error) {
		return node.cluster.AddMember(ctx, request)
	})
	return reply.GetMembers(), err
}

// RemoveMember removes a member for good, and returns those that are left.
func (s *Cluster) RemoveMember(ctx context.Context, nodeID string) ([]*pb.Member, error) {
	request := &pb.RemoveMemberRequest{NodeId: nodeID}
	reply, err := operate(ctx, s, call{name: "RemoveMember", write: true}, func(ctx context.Context, node *endpoint) (*pb.RemoveMemberResponse, error) {
		return node.cluster.RemoveMember(ctx, request)
	})
	return reply.GetMembers(), err
}

// PromoteMember makes a member that has caught up a voter, and returns all members.
func (s *Cluster) PromoteMember(ctx context.Context, nodeID string) ([]*pb.Member, error) {
	request := &pb.PromoteMemberRequest{NodeId: nodeID}
	reply, err := operate(ctx, s, call{name: "PromoteMember", write: true}, func(ctx context.Context, node *endpoint) (*pb.PromoteMemberResponse, error) {
		return node.cluster.PromoteMember(ctx, request)
	})
	return reply.GetMembers(), err
}

// TransferLeadership hands leadership to a voter, the most caught-up one if nodeID
// is empty, and returns the new leader's id.
func (s *Cluster) TransferLeadership(ctx context.Context, nodeID string) (string, error) {
	request := &pb.TransferLeadershipRequest{NodeId: nodeID}
	reply, err := operate(ctx, s, call{name: "TransferLeadership", write: true}, func(ctx context.Context, node *endpoint) (*pb.TransferLeadershipResponse, error) {
		return node.cluster.TransferLeadership(ctx, request)
	})
	return reply.GetLeaderId(), err
}

// TakeSnapshot makes the answering node's state durable and shortens its log. It
// returns the index and term of the snapshot.
func (s *Cluster) TakeSnapshot(ctx context.Context) (index, term uint64, err error) {
	// A second snapshot does no harm.
	kind := call{name: "TakeSnapshot", write: true, repeatable: true}
	reply, err := operate(ctx, s, kind, func(ctx context.Context, node *endpoint) (*pb.TakeSnapshotResponse, error) {
		return node.cluster.TakeSnapshot(ctx, &pb.TakeSnapshotRequest{})
	})
	return reply.GetIndex(), reply.GetTerm(), err
}

// Backup writes a consistent copy of the answering node's state to w, and returns
// its size in bytes. It makes one attempt: after an error, what w holds is of no use.
func (s *Cluster) Backup(ctx context.Context, w io.Writer) (size int64, err error) {
	if err := s.c.begin(); err != nil {
		return 0, fmt.Errorf("Backup: %w", err)
	}
	defer s.c.calls.Done()
	node, done, err := s.node()
	if err != nil {
		return 0, err
	}
	defer done()
	if node == nil {
		node = s.c.nodes.any()
	}
	begin := time.Now()
	defer func() {
		if s.c.options.observer != nil {
			s.c.options.observer(Attempt{Operation: "Backup", Endpoint: node.address, Duration: time.Since(begin), Err: err})
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.c.ctx, cancel)()
	if err := s.c.connect(ctx, node); err != nil {
		return 0, fmt.Errorf("Backup: %w", unreachable(node.address, err).err)
	}
	stream, err := node.cluster.Backup(ctx, &pb.BackupRequest{})
	if err != nil {
		return 0, fmt.Errorf("Backup: %w", understand(node.address, err).err)
	}
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, fmt.Errorf("Backup: %w", understand(node.address, err).err)
		}
		n, err := w.Write(reply.GetChunk())
		size += int64(n)
		if err != nil {
			return size, fmt.Errorf("Backup: %w", err)
		}
	}
}

// operate is do with the node that s asks for.
func operate[T any](ctx context.Context, s *Cluster, call call, attempt func(context.Context, *endpoint) (T, error)) (result T, err error) {
	node, done, err := s.node()
	if err != nil {
		return result, err
	}
	defer done()
	call.node = node
	return do(ctx, s.c, call, attempt)
}

// node returns the node to ask, nil for any, and what to call when it was asked.
func (s *Cluster) node() (*endpoint, func(), error) {
	if s.endpoint == "" {
		return nil, func() {}, nil
	}
	s.c.nodes.mu.Lock()
	defer s.c.nodes.mu.Unlock()
	if node := s.c.nodes.find(s.endpoint); node != nil {
		return node, func() {}, nil
	}
	node, err := s.c.nodes.connect(s.endpoint)
	if err != nil {
		return nil, nil, fmt.Errorf("endpoint %q: %w", s.endpoint, err)
	}
	return node, func() { _ = node.conn.Close() }, nil
}
