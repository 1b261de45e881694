package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"tidemark"
)

// forwardedKey marks a call that a node passed on, with that node's id. Such a call
// is never passed on again, so it cannot loop while nodes disagree on who leads.
const forwardedKey = "tidemark-forwarded"

// onLeader runs a write where the leader is: by local if this node leads, by remote
// on the leader if not. The caller's deadline and its going away reach the leader. A
// local refusal because leadership was lost changed nothing, so it is forwarded once.
func onLeader[Q, R any](
	ctx context.Context, s *Server, method string, req *Q,
	local func(context.Context, *Q) (*R, error),
	remote func(*leaderConnection) func(context.Context, *Q, ...grpc.CallOption) (*R, error),
) (*R, error) {
	if s.Node.IsLeader() {
		reply, err := local(ctx, req)
		if reasonOf(err).err != tidemark.ErrNotLeader {
			return reply, err
		}
	}
	connection, err := s.toLeader(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leader.release(connection)
	s.metrics.forwarded.WithLabelValues(method).Inc()
	var sentTo peer.Peer
	reply, err := remote(connection)(s.marked(ctx), req, grpc.Peer(&sentTo))
	if err != nil {
		return nil, relayError(ctx, err, sentTo.Addr != nil)
	}
	return reply, nil
}

// toLeader connects to the leader. A success must be followed by s.leader.release. Its errors
// mean that nothing was sent.
func (s *Server) toLeader(ctx context.Context) (*leaderConnection, error) {
	leader, known := s.Node.Leader()
	elsewhere := known && leader.ID != s.NodeID
	if len(metadata.ValueFromIncomingContext(ctx, forwardedKey)) > 0 {
		if !elsewhere {
			return nil, tidemark.ErrNotLeader
		}
		return nil, &notLeaderError{leader}
	}
	if !elsewhere {
		return nil, tidemark.ErrNoLeader
	}
	if leader.ClientAddress == "" {
		return nil, fmt.Errorf("%w: %s leads, but has not told its address yet", tidemark.ErrNoLeader, leader.ID)
	}
	return s.leader.acquire(leader.ClientAddress)
}

// marked is ctx for a call to the leader.
func (s *Server) marked(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, forwardedKey, s.NodeID)
}

// relayError is what a forwarded write's caller is told. What the leader itself said
// passes unchanged. Otherwise something between here and there failed: if nothing
// was sent the write was not done, and if it was, nobody here knows.
func relayError(ctx context.Context, err error, sent bool) error {
	switch {
	case hasReason(status.Convert(err)):
		return err
	case sent:
		return fmt.Errorf("%w: the leader was asked and did not answer: %w", tidemark.ErrOutcomeUnknown, err)
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return fmt.Errorf("%w that can be reached", tidemark.ErrNoLeader)
	}
}

// beforeProposing is the last moment at which a call can end and be sure that
// nothing was done.
func beforeProposing(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("nothing was proposed: %w", err)
	}
	return nil
}

// unexpected is for a result of another type than the command has. Something was
// applied, and nobody here can say what.
func unexpected(result any) error {
	return errors.Join(tidemark.ErrOutcomeUnknown, fmt.Errorf("the state machine answered with a %T", result))
}
