package client

import (
	"context"
	"fmt"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Digest is the digest of one message, which stands for all messages of the timeline up to it.
type Digest struct {
	SeqID  tidemark.SeqID
	Digest tidemark.Digest
}

// Verified says whether the cluster holds what a client has.
type Verified struct {
	// Equal says that all digests are those of the timeline, and so is everything before
	// the last of them.
	Equal bool
	// EqualTo is the last SeqID up to which all is equal; 0 for none. If not Equal, the
	// first difference lies after it and at or before DiffersAt.
	EqualTo, DiffersAt tidemark.SeqID
	// Digest is the timeline's own at DiffersAt; zero if the timeline ends before it.
	Digest tidemark.Digest
	// Timeline is as the same view shows it.
	Timeline Timeline
}

// VerifyDigests compares 1 to 1,024 digests, in rising order of SeqID, with those of the
// timeline. At most one level can be given.
func (c *Client) VerifyDigests(ctx context.Context, timeline tidemark.TimelineID, digests []Digest, level ...Consistency) (Verified, error) {
	request := &pb.VerifyRequest{Timeline: string(timeline), Consistency: c.levelOf(level), Points: make([]*pb.VerifyPoint, len(digests))}
	for i := range digests {
		request.Points[i] = &pb.VerifyPoint{SeqId: uint64(digests[i].SeqID), Digest: digests[i].Digest[:]}
	}
	return do(ctx, c, call{name: "Verify"}, func(ctx context.Context, node *endpoint) (Verified, error) {
		reply, err := node.timelines.Verify(ctx, request)
		if err != nil {
			return Verified{}, err
		}
		if _, err := c.observeToken(reply.GetPosition()); err != nil {
			return Verified{}, err
		}
		return Verified{
			Equal: reply.GetEqual(), EqualTo: tidemark.SeqID(reply.GetEqualToSeqId()), DiffersAt: tidemark.SeqID(reply.GetDiffersAtSeqId()),
			Digest: digestOf(reply.GetDigest()), Timeline: timelineOf(reply.GetTimeline()),
		}, nil
	})
}

// Verify proves that the cluster holds the messages, which are a contiguous run of one
// timeline, and everything before them as they were when they were read. It computes
// their digests from their contents, starting from previous (Page.PreviousDigest), so it
// trusts nothing that it was told; then it asks for at most 1,024 of them, evenly spread,
// so that a difference is narrowed down to a part of the run.
//
// A run whose contents do not give the digests that it carries is tidemark.ErrCorrupt:
// it was damaged on its way, or by whoever kept it.
func (c *Client) Verify(ctx context.Context, previous tidemark.Digest, messages []Message, level ...Consistency) (Verified, error) {
	if len(messages) == 0 {
		return Verified{}, tidemark.Invalid("messages", "must not be empty")
	}
	digest := previous
	if messages[0].SeqID == 1 {
		digest = tidemark.InitialDigest(messages[0].Timeline)
	}
	step := (len(messages) + tidemark.MaxVerifyPoints - 1) / tidemark.MaxVerifyPoints
	var points []Digest
	for i := range messages {
		m := &messages[i]
		if m.Timeline != messages[0].Timeline || m.SeqID != messages[0].SeqID+tidemark.SeqID(i) {
			return Verified{}, tidemark.Invalid(fmt.Sprintf("messages[%d]", i), "is %s %d, and not the next of %s", m.Timeline, m.SeqID, messages[0].Timeline)
		}
		var err error
		if digest, err = m.NextDigest(digest); err != nil {
			return Verified{}, err
		}
		if digest != m.Digest {
			return Verified{}, fmt.Errorf("%w: message %d of %s has the digest %s; its content and the digest before it make %s", tidemark.ErrCorrupt, m.SeqID, m.Timeline, m.Digest, digest)
		}
		if (i+1)%step == 0 || i == len(messages)-1 {
			points = append(points, Digest{m.SeqID, digest})
		}
	}
	return c.VerifyDigests(ctx, messages[0].Timeline, points, level...)
}

// NextDigest is the digest of the message, computed from its contents and the digest of
// the message before it (tidemark.InitialDigest before the first); see docs/format.md.
func (m *Message) NextDigest(previous tidemark.Digest) (tidemark.Digest, error) {
	draft, err := m.Tidemark()
	if err != nil {
		return tidemark.Digest{}, err
	}
	serverTime, err := tidemark.TimeOf("server_time", m.ServerTime)
	if err != nil {
		return tidemark.Digest{}, err
	}
	words := tidemark.Message{Draft: draft, SeqID: m.SeqID, ServerTime: serverTime, Source: m.Source, Revision: m.Revision, Revises: m.Revises}
	return words.ChainDigest(previous), nil
}
