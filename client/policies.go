package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// SetPolicy says which messages of the timelines with a prefix the leader may trim. It
// takes the place of the policy of the same prefix; one without a condition takes that
// away. It can be repeated at will.
func (c *Client) SetPolicy(ctx context.Context, policy tidemark.Policy) error {
	_, err := c.setPolicy(ctx, policy, false)
	return err
}

// PolicyTrial is what a policy would trim.
type PolicyTrial struct {
	// Seen is how many timelines with the prefix were looked at, at most 10,000, and
	// Trimmed how many of them would lose messages.
	Seen, Trimmed uint64
	// Messages is how many would go. By bytes, at most 1,000 of each timeline are counted.
	Messages uint64
}

// TryPolicy says what a policy would trim now, and changes nothing.
func (c *Client) TryPolicy(ctx context.Context, policy tidemark.Policy) (PolicyTrial, error) {
	reply, err := c.setPolicy(ctx, policy, true)
	return PolicyTrial{Seen: reply.GetTimelinesSeen(), Trimmed: reply.GetTimelinesTrimmed(), Messages: reply.GetMessagesTrimmed()}, err
}

func (c *Client) setPolicy(ctx context.Context, p tidemark.Policy, dryRun bool) (*pb.SetPolicyResponse, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	policy := &pb.Policy{
		Prefix: p.Prefix, MaxMessages: p.MaxMessages, MaxBytes: p.MaxBytes, AckedByAll: p.AckedByAll, KeepAtLeast: p.KeepAtLeast,
	}
	if p.MaxAge > 0 {
		policy.MaxAge = durationpb.New(p.MaxAge)
	}
	for _, reader := range p.AckedBy {
		policy.AckedBy = append(policy.AckedBy, string(reader))
	}
	request := &pb.SetPolicyRequest{Policy: policy, DryRun: dryRun}
	return do(ctx, c, call{name: "SetPolicy", write: !dryRun, repeatable: true}, func(ctx context.Context, node *endpoint) (*pb.SetPolicyResponse, error) {
		reply, err := node.timelines.SetPolicy(ctx, request)
		if err != nil {
			return nil, err
		}
		_, err = c.observeToken(reply.GetPosition())
		return reply, err
	})
}

// Policies lists all retention policies, in byte order of their prefixes.
func (c *Client) Policies(ctx context.Context, level ...Consistency) ([]tidemark.Policy, error) {
	request := &pb.ListPoliciesRequest{Consistency: c.levelOf(level)}
	return do(ctx, c, call{name: "ListPolicies"}, func(ctx context.Context, node *endpoint) ([]tidemark.Policy, error) {
		reply, err := node.timelines.ListPolicies(ctx, request)
		if err != nil {
			return nil, err
		}
		var policies []tidemark.Policy
		for _, p := range reply.GetPolicies() {
			policies = append(policies, policyOf(p))
		}
		_, err = c.observeToken(reply.GetPosition())
		return policies, err
	})
}

func policyOf(p *pb.Policy) tidemark.Policy {
	policy := tidemark.Policy{
		Prefix: p.GetPrefix(), MaxAge: p.GetMaxAge().AsDuration().Truncate(time.Millisecond), MaxMessages: p.GetMaxMessages(),
		MaxBytes: p.GetMaxBytes(), AckedByAll: p.GetAckedByAll(), KeepAtLeast: p.GetKeepAtLeast(),
	}
	for _, reader := range p.GetAckedBy() {
		policy.AckedBy = append(policy.AckedBy, tidemark.ReaderID(reader))
	}
	return policy
}
