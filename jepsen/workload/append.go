package workload

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
	pb "tidemark/rpc/tidemarkv1"
)

// draft makes a message of a timeline that nobody has sent before.
func (t *Thread) draft(timeline string) client.Draft {
	d := client.Draft{
		Timeline: tidemark.TimelineID(timeline),
		ID:       tidemark.MessageID(t.Board.nextID()),
		Sender:   t.door.Name,
		Payload:  t.payload(),
	}
	if t.chance(0.2) {
		d.Type = "text/plain"
		d.Attributes = map[string]string{"thread": t.door.Name, "reply": "no"}
	}
	return d
}

// payload is mostly as long as a line of chat, and now and then longer than a page.
func (t *Thread) payload() []byte {
	size := 1 + t.rand.IntN(200)
	if t.chance(0.02) {
		size = 1 + t.rand.IntN(16<<10)
	}
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(t.rand.Uint32())
	}
	return payload
}

// itemOf is what is recorded of a draft before it is sent.
func itemOf(draft client.Draft, expected *uint64) history.Item {
	words, err := draft.Tidemark()
	if err != nil {
		panic("workload: makes a draft that is not valid: " + err.Error())
	}
	return history.Item{
		Timeline:  string(draft.Timeline),
		MessageID: string(draft.ID),
		Content:   history.ContentOf(&words),
		Sender:    words.Sender,
		Expected:  expected,
	}
}

// fill records the answer to an item.
func fill(item *history.Item, result *client.AppendResult) {
	item.Outcome = history.OK
	item.SeqID = uint64(result.SeqID)
	item.Duplicate = result.Duplicate
	item.Digest = result.Digest.String()
	item.ServerTime = result.ServerTime.UnixNano()
	item.Position = uint64(result.Position)
}

// appendOne begins and ends one append. via is history.ViaStream or history.ViaUnary;
// for the latter the door needs a node. It returns how the append ended.
func (t *Thread) appendOne(ctx context.Context, via string, draft client.Draft, expected *uint64) (history.Outcome, string) {
	t.Board.sent(draft)
	ctx, cancel := context.WithTimeout(ctx, t.Patience)
	defer cancel()
	op := t.process.Begin(history.Operation{
		Node: t.door.Node, Kind: history.KindAppend, Via: via,
		Timeline: string(draft.Timeline), Items: []history.Item{itemOf(draft, expected)},
	})
	var result *client.AppendResult
	if via == history.ViaUnary {
		result, op.Outcome, op.Error = t.unary(ctx, draft, expected)
	} else {
		result, op.Outcome, op.Error = t.stream(ctx, draft, expected)
	}
	item := &op.Items[0]
	item.Outcome, item.Error = op.Outcome, op.Error
	if result != nil {
		fill(item, result)
		t.Board.reached(item.Timeline, item.SeqID)
	}
	t.end(op)
	return op.Outcome, op.Error
}

func (t *Thread) stream(ctx context.Context, draft client.Draft, expected *uint64) (*client.AppendResult, history.Outcome, string) {
	var options []client.AppendOption
	if expected != nil {
		options = append(options, client.ExpectLastSeqID(tidemark.SeqID(*expected)))
	}
	result, err := t.door.SDK.Append(ctx, draft, options...)
	outcome, reason := writeOutcome(err)
	return result, outcome, reason
}

// unary makes one attempt at one node, and draws its own conclusions.
func (t *Thread) unary(ctx context.Context, draft client.Draft, expected *uint64) (*client.AppendResult, history.Outcome, string) {
	request := &pb.AppendRequest{
		Timeline: string(draft.Timeline), MessageId: string(draft.ID), Sender: draft.Sender, Type: draft.Type,
		Payload: draft.Payload, Attributes: draft.Attributes, ExpectedLastSeqId: expected,
	}
	if !draft.ClientTime.IsZero() {
		request.ClientTime = timestamppb.New(draft.ClientTime)
	}
	reply, err := t.door.Unary.Append(ctx, request)
	outcome, reason := unaryOutcome(err)
	if err != nil {
		return nil, outcome, reason
	}
	position, err := tidemark.ParsePosition("position", reply.GetPosition())
	if err != nil {
		return nil, history.Unknown, err.Error()
	}
	// What one way into the cluster was told holds for the session as well.
	t.door.SDK.Observe(position)
	result := &client.AppendResult{
		SeqID:      tidemark.SeqID(reply.GetSeqId()),
		ServerTime: reply.GetServerTime().AsTime(),
		Duplicate:  reply.GetDuplicate(),
		Position:   position,
	}
	copy(result.Digest[:], reply.GetDigest())
	return result, history.OK, ""
}

// Mark appends one message to a timeline of its own, tries until ctx ends, and
// returns the position by which everything that was written before is there.
func Mark(ctx context.Context, recorder *history.Recorder, sdk *client.Client, timeline string) (tidemark.Position, error) {
	draft := client.Draft{Timeline: tidemark.TimelineID(timeline), ID: "end", Sender: "jepsen"}
	process := recorder.NewProcess("mark")
	op := process.Begin(history.Operation{
		Kind: history.KindAppend, Via: history.ViaStream, Timeline: timeline, Items: []history.Item{itemOf(draft, nil)},
	})
	result, err := sdk.Append(ctx, draft)
	item := &op.Items[0]
	op.Outcome, op.Error = writeOutcome(err)
	item.Outcome, item.Error = op.Outcome, op.Error
	if err == nil {
		fill(item, result)
	}
	process.End(op)
	if err != nil {
		return 0, err
	}
	return result.Position, nil
}
