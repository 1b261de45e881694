package rpc

import (
	"context"

	"tidemark"
)

// propose has the cluster apply a command, and returns its result and the position from
// which on that can be read. That the cluster understands the command was asked before.
func propose[T any](ctx context.Context, s *Server, command []byte) (result T, position []byte, err error) {
	if err := beforeProposing(ctx); err != nil {
		return result, nil, err
	}
	proposal, err := s.Node.Propose(ctx, command)
	if err != nil {
		return result, nil, err
	}
	result, err = resultOf[T](proposal)
	return result, proposal.Position.Token(), err
}

// resultOf is the result of a command that has one of type T.
func resultOf[T any](proposal tidemark.Proposal) (T, error) {
	result, ok := proposal.Result.(T)
	if !ok {
		return result, unexpected(proposal.Result)
	}
	return result, nil
}
