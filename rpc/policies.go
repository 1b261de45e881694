package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"tidemark"
	"tidemark/fsm"
	"tidemark/rpc/tidemarkv1"
)

// policyLevel is the feature level that has retention policies.
const policyLevel = 5

// SetPolicy implements tidemarkv1.TimelineServiceServer.
func (s *Server) SetPolicy(ctx context.Context, req *tidemarkv1.SetPolicyRequest) (*tidemarkv1.SetPolicyResponse, error) {
	policy, err := parsePolicy(req)
	if err != nil {
		return nil, err
	}
	if req.GetDryRun() {
		return s.tryPolicy(ctx, &policy)
	}
	if err := s.needLevel(ctx, policyLevel); err != nil {
		return nil, err
	}
	command := fsm.SetPolicy{Policy: policy}
	return onLeader(ctx, s, "SetPolicy", req,
		func(ctx context.Context, _ *tidemarkv1.SetPolicyRequest) (*tidemarkv1.SetPolicyResponse, error) {
			result, position, err := propose[fsm.SetPolicyResult](ctx, s, command.Encode())
			if err == nil {
				err = result.Err
			}
			if err != nil {
				return nil, err
			}
			return &tidemarkv1.SetPolicyResponse{Position: position}, nil
		},
		func(c *leaderConnection) func(context.Context, *tidemarkv1.SetPolicyRequest, ...grpc.CallOption) (*tidemarkv1.SetPolicyResponse, error) {
			return c.timelines.SetPolicy
		})
}

func parsePolicy(req *tidemarkv1.SetPolicyRequest) (p tidemark.Policy, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return p, err
	}
	given := req.GetPolicy()
	if given == nil {
		return p, tidemark.Invalid("policy", "must be given")
	}
	if age := given.GetMaxAge(); age != nil {
		if err := age.CheckValid(); err != nil {
			return p, tidemark.Invalid("policy.max_age", "is not a valid duration")
		}
		p.MaxAge = age.AsDuration()
	}
	p.Prefix, p.MaxMessages, p.MaxBytes, p.KeepAtLeast = given.GetPrefix(), given.GetMaxMessages(), given.GetMaxBytes(), given.GetKeepAtLeast()
	p.AckedByAll = given.GetAckedByAll()
	for _, reader := range given.GetAckedBy() {
		p.AckedBy = append(p.AckedBy, tidemark.ReaderID(reader))
	}
	return p, within("policy", p.Validate())
}

// maxTried bounds the timelines that a dry run looks at.
const maxTried = 10_000

// tryPolicy counts what a policy would trim, as of what this node has applied after a
// linearizable read would have begun.
func (s *Server) tryPolicy(ctx context.Context, p *tidemark.Policy) (*tidemarkv1.SetPolicyResponse, error) {
	if _, err := s.await(ctx, level{kind: linearizable}); err != nil {
		return nil, err
	}
	reply := &tidemarkv1.SetPolicyResponse{}
	err := s.eachTimeline(p.Prefix, func(id tidemark.TimelineID) error {
		if reply.TimelinesSeen == maxTried {
			return errEnough
		}
		reply.TimelinesSeen++
		first, head, err := s.Store.TrimPoint(id, p, timeOf(s.Clock()))
		if errors.Is(err, tidemark.ErrTimelineNotFound) {
			return nil
		}
		if err == nil && first > head.First {
			reply.TimelinesTrimmed++
			reply.MessagesTrimmed += uint64(first - head.First)
		}
		return errors.Join(err, ctx.Err())
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	reply.Position = tidemark.Position(s.Store.Applied().Index).Token()
	return reply, nil
}

// errEnough ends a walk over timelines.
var errEnough = errors.New("that is enough")

// eachTimeline visits the timelines with a prefix, in pages.
func (s *Server) eachTimeline(prefix string, visit func(tidemark.TimelineID) error) error {
	after := tidemark.TimelineID("")
	for {
		page, err := s.Store.Timelines(prefix, after, tidemark.MaxListItems)
		if err != nil {
			return err
		}
		for i := range page.Timelines {
			after = page.Timelines[i].Head.Timeline
			if err := visit(after); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
	}
}

func timeOf(t time.Time) tidemark.Time { return tidemark.Time(t.UnixNano()) }

// ListPolicies implements tidemarkv1.TimelineServiceServer.
func (s *Server) ListPolicies(ctx context.Context, req *tidemarkv1.ListPoliciesRequest) (*tidemarkv1.ListPoliciesResponse, error) {
	if err := refuseUnknownFields(req); err != nil {
		return nil, err
	}
	level, err := parseLevel(req.GetConsistency())
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, level); err != nil {
		return nil, err
	}
	policies, applied, err := s.Store.Policies()
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ListPoliciesResponse{Position: level.seen(applied), AppliedIndex: applied}
	for i := range policies {
		reply.Policies = append(reply.Policies, toPolicy(&policies[i]))
	}
	return reply, nil
}

func toPolicy(p *tidemark.Policy) *tidemarkv1.Policy {
	converted := &tidemarkv1.Policy{
		Prefix: p.Prefix, MaxMessages: p.MaxMessages, MaxBytes: p.MaxBytes, AckedByAll: p.AckedByAll, KeepAtLeast: p.KeepAtLeast,
	}
	if p.MaxAge > 0 {
		converted.MaxAge = durationpb.New(p.MaxAge)
	}
	for _, reader := range p.AckedBy {
		converted.AckedBy = append(converted.AckedBy, string(reader))
	}
	return converted
}
