package client_test

import (
	"context"

	pb "tidemark/rpc/tidemarkv1"
)

// Sync gives at most three messages of each timeline, and at most two timelines.
func (n *node) Sync(_ context.Context, request *pb.SyncRequest) (*pb.SyncResponse, error) {
	n.note(request.GetConsistency())
	if len(request.GetAcks()) > 0 {
		if _, err := n.Ack(context.Background(), &pb.AckRequest{Reader: request.GetReader(), Items: request.GetAcks()}); err != nil {
			return nil, err
		}
	}
	reply := &pb.SyncResponse{Position: n.cluster.position(), AppliedIndex: 7, StalenessMillis: 12}
	for _, have := range request.GetHave() {
		all, err := n.cluster.find(have.GetTimeline())
		if err != nil {
			continue
		}
		n.cluster.mu.Lock()
		cursor := n.cluster.cursors[[2]string{have.GetTimeline(), request.GetReader()}]
		n.cluster.mu.Unlock()
		after := have.GetAfterSeqId()
		if have.GetFromCursor() {
			after = cursor.GetDeliveredSeqId()
		}
		news := all[min(int(after), len(all)):]
		if len(news) == 0 {
			continue
		}
		if len(reply.Timelines) == 2 {
			reply.HasMore = true
			break
		}
		timeline := &pb.SyncTimeline{
			Timeline: head(have.GetTimeline(), all), AfterSeqId: after, Messages: news[:min(3, len(news))], HasMore: len(news) > 3, Cursor: cursor,
		}
		reply.HasMore = reply.HasMore || timeline.HasMore
		reply.Timelines = append(reply.Timelines, timeline)
	}
	return reply, nil
}
