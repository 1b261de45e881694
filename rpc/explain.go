package rpc

import (
	"context"

	"tidemark"
	"tidemark/raftnode"
	"tidemark/rpc/tidemarkv1"
)

// Explain implements tidemarkv1.TimelineServiceServer.
func (s *Server) Explain(ctx context.Context, req *tidemarkv1.ExplainRequest) (*tidemarkv1.ExplainResponse, error) {
	query, err := parseExplain(req)
	if err != nil {
		return nil, err
	}
	if _, err := s.await(ctx, level{}); err != nil {
		return nil, err
	}
	explained, err := s.Store.Explain(query.timeline, query.seq, query.id, query.limit)
	if err != nil {
		return nil, err
	}
	reply := &tidemarkv1.ExplainResponse{
		Message:        toMessage(&explained.Message),
		LogIndex:       explained.Index,
		InboxCount:     uint64(explained.InboxCount),
		CursorCount:    explained.CursorCount,
		DeliveredCount: explained.DeliveredCount,
		ReadCount:      explained.ReadCount,
		Position:       level{}.seen(explained.Applied),
		AppliedIndex:   explained.Applied,
	}
	for _, entry := range explained.Inboxes {
		reply.Inboxes = append(reply.Inboxes, &tidemarkv1.InboxEntry{Inbox: string(entry.Inbox), SeqId: uint64(entry.SeqID), Gone: entry.Gone})
	}
	for i := range explained.Cursors {
		reply.Cursors = append(reply.Cursors, toCursor(&explained.Cursors[i], &explained.Head))
	}
	reply.Replicas = toReplicas(s.Node.Status(ctx).Members, explained.Index, explained.Applied)
	return reply, nil
}

// toReplicas says which members have applied the log up to index, or, if that is 0, up to
// what the answering node has applied, which is enough.
func toReplicas(members []raftnode.Member, index, applied uint64) []*tidemarkv1.Replica {
	if index == 0 {
		index = applied
	}
	replicas := make([]*tidemarkv1.Replica, len(members))
	for i := range members {
		m := &members[i]
		replicas[i] = &tidemarkv1.Replica{
			NodeId: m.ID, ClientAddress: m.ClientAddress, Reachable: m.Reachable, AppliedIndex: m.AppliedIndex,
			HasMessage: m.Reachable && m.AppliedIndex >= index,
		}
	}
	return replicas
}

// explainQuery is a validated Explain. Either seq or id is set.
type explainQuery struct {
	timeline tidemark.TimelineID
	seq      tidemark.SeqID
	id       tidemark.MessageID
	limit    int
}

func parseExplain(req *tidemarkv1.ExplainRequest) (q explainQuery, err error) {
	if err := refuseUnknownFields(req); err != nil {
		return q, err
	}
	q = explainQuery{
		timeline: tidemark.TimelineID(req.GetTimeline()), seq: tidemark.SeqID(req.GetSeqId()), id: tidemark.MessageID(req.GetMessageId()),
		limit: int(req.GetMaxItems()),
	}
	if err := q.timeline.Validate("timeline"); err != nil {
		return q, err
	}
	switch {
	case q.seq == 0 && q.id == "":
		return q, tidemark.Invalid("seq_id", "or message_id must be given")
	case q.seq != 0 && q.id != "":
		return q, tidemark.Invalid("message_id", "must not be given beside seq_id")
	case q.id != "":
		if err := q.id.Validate("message_id"); err != nil {
			return q, err
		}
	}
	if q.limit == 0 {
		q.limit = tidemark.DefaultExplained
	}
	if q.limit > tidemark.MaxExplained {
		return q, tidemark.Invalid("max_items", "is %d; limit is %d", q.limit, tidemark.MaxExplained)
	}
	return q, nil
}
