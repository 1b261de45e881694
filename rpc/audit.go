package rpc

import (
	"context"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

const (
	// maxAuditAdvance bounds the entries that one call adds to the log.
	maxAuditAdvance = 65_536
	// maxAuditRecords bounds a part; what it reads is bounded by bytes beside.
	maxAuditRecords = 1 << 20
	maxAuditIDBytes = 64
)

// Audit implements tidemarkv1.ClusterServiceServer.
func (s *Server) Audit(ctx context.Context, req *tidemarkv1.AuditRequest) (*tidemarkv1.AuditResponse, error) {
	if err := validateAudit(req); err != nil {
		return nil, err
	}
	id := req.GetAuditId()
	switch step := req.GetStep().(type) {
	case *tidemarkv1.AuditRequest_Arm:
		if err := s.Store.ArmPin(id, step.Arm); err != nil {
			return nil, err
		}
	case *tidemarkv1.AuditRequest_Advance:
		return onLeader(ctx, s, "Audit", req,
			func(ctx context.Context, req *tidemarkv1.AuditRequest) (*tidemarkv1.AuditResponse, error) {
				return s.advance(ctx, req.GetAdvance())
			},
			func(c *leaderConnection) func(context.Context, *tidemarkv1.AuditRequest, ...grpc.CallOption) (*tidemarkv1.AuditResponse, error) {
				return c.cluster.Audit
			})
	case *tidemarkv1.AuditRequest_Part:
		return s.auditPart(ctx, id, step.Part)
	case *tidemarkv1.AuditRequest_End:
		s.Store.Unpin(id)
	}
	return &tidemarkv1.AuditResponse{AppliedIndex: s.Store.Applied().Index}, nil
}

// advance proposes what changes nothing until the leader has applied more than an index.
func (s *Server) advance(ctx context.Context, beyond uint64) (*tidemarkv1.AuditResponse, error) {
	applied := s.Store.Applied().Index
	if beyond > applied && beyond-applied > maxAuditAdvance {
		return nil, tidemark.Invalid("advance", "is %d entries ahead; limit is %d", beyond-applied, maxAuditAdvance)
	}
	for ; applied <= beyond; applied = s.Store.Applied().Index {
		if _, _, err := propose[fsm.NoopResult](ctx, s, fsm.Noop{}.Encode()); err != nil {
			return nil, err
		}
	}
	return &tidemarkv1.AuditResponse{AppliedIndex: applied}, nil
}

func (s *Server) auditPart(ctx context.Context, id string, asked *tidemarkv1.AuditPart) (*tidemarkv1.AuditResponse, error) {
	part, err := s.Store.PinnedPart(ctx, id, asked.GetAfterKey(), int(asked.GetMaxRecords()))
	if err != nil {
		return nil, err
	}
	return &tidemarkv1.AuditResponse{
		Records: part.Records, Bytes: part.Bytes, Digest: part.Digest[:], LastKey: part.Last, LastIs: part.LastIs, More: part.More,
		AppliedIndex: s.Store.Applied().Index,
	}, nil
}

func validateAudit(req *tidemarkv1.AuditRequest) error {
	if err := refuseUnknownFields(req); err != nil {
		return err
	}
	if n := len(req.GetAuditId()); n == 0 || n > maxAuditIDBytes {
		return tidemark.Invalid("audit_id", "has %d bytes; limit is 1 to %d bytes", n, maxAuditIDBytes)
	}
	switch step := req.GetStep().(type) {
	case nil:
		return tidemark.Invalid("step", "must be given: arm, advance, part or end")
	case *tidemarkv1.AuditRequest_Arm:
		if step.Arm == 0 {
			return tidemark.Invalid("arm", "must not be 0")
		}
	case *tidemarkv1.AuditRequest_Part:
		if n := step.Part.GetMaxRecords(); n == 0 || n > maxAuditRecords {
			return tidemark.Invalid("part.max_records", "is %d; limit is 1 to %d", n, maxAuditRecords)
		}
	case *tidemarkv1.AuditRequest_End:
		if !step.End {
			return tidemark.Invalid("end", "must be true if it is given")
		}
	}
	return nil
}
