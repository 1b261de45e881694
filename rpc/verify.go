package rpc

import (
	"context"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// Verify implements tidemarkv1.TimelineServiceServer. A digest stands for all messages
// up to its own, so if two are equal everything before is, and the first that differs
// bounds where the difference lies.
func (s *Server) Verify(ctx context.Context, req *tidemarkv1.VerifyRequest) (*tidemarkv1.VerifyResponse, error) {
	query, err := parseVerify(req)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, query.level); err != nil {
		return nil, err
	}
	digests, head, applied, err := s.Store.Digests(query.timeline, query.seqs)
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.VerifyResponse{
		Equal: true, Timeline: toTimeline(&head), Position: query.level.seen(applied), AppliedIndex: applied,
	}
	var equalTo tidemark.SeqID
	for i, seq := range query.seqs {
		if i < len(digests) && digests[i] == query.digests[i] {
			equalTo = seq
			continue
		}
		reply.Equal, reply.DiffersAtSeqId = false, uint64(seq)
		if i < len(digests) {
			reply.Digest = digests[i][:]
		}
		break
	}
	reply.EqualToSeqId = uint64(equalTo)
	return reply, nil
}
