package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// ErrMemberUnreachable is returned by Audit when a member does not answer.
var ErrMemberUnreachable = errors.New("a member of the cluster does not answer")

// Audited is what a comparison of all replicas came to.
type Audited struct {
	// Index is the place of the log at which all were compared.
	Index uint64
	// Nodes are the ids of the members, in the order of the configuration.
	Nodes []string
	// Records and Bytes (of keys and values) are what each of them holds, as far as was compared.
	Records, Bytes uint64
	// Difference is the first one, or nil.
	Difference *ReplicaDifference
}

// ReplicaDifference is the first record in which replicas differ.
type ReplicaDifference struct {
	// After is the record before it, in words, the last one that all hold alike; empty if
	// there is none.
	After string
	// Records has what each node holds there, in words, with the first bytes of a digest of
	// it; it is in parallel with Audited.Nodes.
	Records []string
}

const (
	// auditGap is how far ahead of the nodes the first place is that they are compared at, and
	// auditGapMost the farthest that is tried if they have gone beyond it meanwhile.
	auditGap, auditGapMost = 16, 16 << 10
	// auditEndPatience bounds the time for telling the members that it is over.
	auditEndPatience = 5 * time.Second
	// auditRecords is how many records are compared at a time.
	auditRecords = 64 << 10
)

// Audit compares everything that the members hold, record by record, at one place of the
// log, while they run and are written to. Every member must answer. It adds some entries
// to the log that change nothing. progress is told of what was compared; it may be nil.
func (s *Cluster) Audit(ctx context.Context, progress func(Audited)) (Audited, error) {
	if progress == nil {
		progress = func(Audited) {}
	}
	id, err := newMessageID()
	if err != nil {
		return Audited{}, err
	}
	a := audit{cluster: s, id: string(id), progress: progress}
	if err := a.findMembers(ctx); err != nil {
		return a.audited, err
	}
	defer a.end(ctx)
	for gap := uint64(auditGap); ; gap *= 4 {
		err := a.pin(ctx, gap)
		if err == nil {
			err = a.compare(ctx)
		}
		if !errors.Is(err, tidemark.ErrPlacePassed) || gap >= auditGapMost {
			return a.audited, err
		}
		// A node was beyond the place before it was asked to pin there.
		a.audited.Records, a.audited.Bytes = 0, 0
	}
}

type audit struct {
	cluster   *Cluster
	id        string
	addresses []string // in parallel with audited.Nodes
	audited   Audited
	progress  func(Audited)
}

func (a *audit) findMembers(ctx context.Context) error {
	status, err := a.cluster.Status(ctx)
	if err != nil {
		return err
	}
	for _, m := range status.GetMembers() {
		if !m.GetReachable() || m.GetClientAddress() == "" {
			return fmt.Errorf("%w: member %s does not answer, so that it cannot be compared", ErrMemberUnreachable, m.GetNodeId())
		}
		a.audited.Nodes = append(a.audited.Nodes, m.GetNodeId())
		a.addresses = append(a.addresses, m.GetClientAddress())
	}
	return nil
}

// ask has one member do a step.
func (a *audit) ask(ctx context.Context, address string, request *pb.AuditRequest) (*pb.AuditResponse, error) {
	request.AuditId = a.id
	return operate(ctx, a.cluster.c.Cluster().At(address), call{name: "Audit", repeatable: true}, func(ctx context.Context, node *endpoint) (*pb.AuditResponse, error) {
		return node.cluster.Audit(ctx, request)
	})
}

// pin has all members pin their states gap entries ahead, and the log go on beyond that.
func (a *audit) pin(ctx context.Context, gap uint64) error {
	latest := uint64(0)
	for _, address := range a.addresses {
		reply, err := a.ask(ctx, address, &pb.AuditRequest{Step: &pb.AuditRequest_End{End: true}})
		if err != nil {
			return err
		}
		latest = max(latest, reply.GetAppliedIndex())
	}
	at := latest + gap
	for _, address := range a.addresses {
		if _, err := a.ask(ctx, address, &pb.AuditRequest{Step: &pb.AuditRequest_Arm{Arm: at}}); err != nil {
			return err
		}
	}
	a.audited.Index = at
	_, err := a.ask(ctx, a.addresses[0], &pb.AuditRequest{Step: &pb.AuditRequest_Advance{Advance: at}})
	return err
}

// end has the members give up what they pinned. Those that are not reached do so by themselves.
func (a *audit) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditEndPatience)
	defer cancel()
	for _, address := range a.addresses {
		_, _ = a.ask(ctx, address, &pb.AuditRequest{Step: &pb.AuditRequest_End{End: true}})
	}
}

// compare reads all states side by side until one differs.
func (a *audit) compare(ctx context.Context) error {
	var after []byte
	last := ""
	for {
		parts, err := a.parts(ctx, after, auditRecords)
		if err != nil {
			return err
		}
		if !equalParts(parts) {
			return a.narrow(ctx, after, last, auditRecords)
		}
		a.audited.Records += parts[0].GetRecords()
		a.audited.Bytes += parts[0].GetBytes()
		a.progress(a.audited)
		if !parts[0].GetMore() {
			return nil
		}
		after, last = parts[0].GetLastKey(), parts[0].GetLastIs()
	}
}

// parts reads the same part of every state.
func (a *audit) parts(ctx context.Context, after []byte, records uint32) ([]*pb.AuditResponse, error) {
	parts := make([]*pb.AuditResponse, len(a.addresses))
	for i, address := range a.addresses {
		var err error
		parts[i], err = a.ask(ctx, address, &pb.AuditRequest{Step: &pb.AuditRequest_Part{Part: &pb.AuditPart{AfterKey: after, MaxRecords: records}}})
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", a.audited.Nodes[i], err)
		}
	}
	return parts, nil
}

func equalParts(parts []*pb.AuditResponse) bool {
	for _, part := range parts[1:] {
		if part.GetRecords() != parts[0].GetRecords() || part.GetMore() != parts[0].GetMore() || !bytes.Equal(part.GetDigest(), parts[0].GetDigest()) {
			return false
		}
	}
	return true
}

// narrow finds the first record that differs, which is among those behind a key.
func (a *audit) narrow(ctx context.Context, after []byte, last string, records uint32) error {
	for {
		parts, err := a.parts(ctx, after, records)
		if err != nil {
			return err
		}
		switch {
		case equalParts(parts):
			a.audited.Records += parts[0].GetRecords()
			a.audited.Bytes += parts[0].GetBytes()
			after, last = parts[0].GetLastKey(), parts[0].GetLastIs()
		case records == 1:
			difference := &ReplicaDifference{After: last}
			for _, part := range parts {
				what := "nothing"
				if part.GetRecords() > 0 {
					what = fmt.Sprintf("%s (%x)", part.GetLastIs(), part.GetDigest()[:6])
				}
				difference.Records = append(difference.Records, what)
			}
			a.audited.Difference = difference
			return nil
		}
		records = max(records/2, 1)
	}
}
