package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/rpc"
	"tidemark/rpc/rpctest"
	pb "tidemark/rpc/tidemarkv1"
)

// feed is a Changes as a client sees it.
type feed struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[pb.ChangesResponse]
	last   *pb.ChangesResponse
}

func openFeed(t *testing.T, ctx context.Context, n *rpctest.Node, request *pb.ChangesRequest) *feed {
	t.Helper()
	return &feed{t: t, stream: must(timelines(n).Changes(ctx, request))(t)}
}

func (f *feed) recv() *pb.ChangesResponse {
	f.t.Helper()
	f.last = must(f.stream.Recv())(f.t)
	return f.last
}

// take takes changes until there are n, and returns each as "timeline kind seq", with its position.
func (f *feed) take(n int) (got []string, positions [][]byte) {
	f.t.Helper()
	for len(got) < n {
		for _, c := range f.recv().GetChanges() {
			got, positions = append(got, renderChange(c)), append(positions, c.GetPosition())
		}
	}
	if len(got) > n {
		f.t.Fatalf("got %d changes, want %d: %q", len(got), n, got)
	}
	return got, positions
}

func renderChange(c *pb.Change) string {
	switch what := c.GetChange().(type) {
	case *pb.Change_Appended:
		return fmt.Sprintf("%s appended %d %s", c.GetTimeline(), what.Appended.GetSeqId(), what.Appended.GetMessageId())
	case *pb.Change_GoneSeqId:
		return fmt.Sprintf("%s gone %d", c.GetTimeline(), what.GoneSeqId)
	case *pb.Change_TrimmedFirstSeqId:
		return fmt.Sprintf("%s trimmed %d", c.GetTimeline(), what.TrimmedFirstSeqId)
	default:
		return fmt.Sprintf("%s deleted %d", c.GetTimeline(), c.GetDeletedLastSeqId())
	}
}

func fromPosition(position []byte) *pb.ChangesRequest {
	return &pb.ChangesRequest{Start: &pb.ChangesRequest_Position{Position: position}}
}

// Every node gives the same changes under the same positions, and each goes on from each
// of them, also amid an entry and when the leader is gone.
func TestChangesAreTheSameOnAllNodes(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	leader := c.Leader()
	api := timelines(leader)
	batch := &pb.AppendBatchRequest{Atomic: true}
	for n := range 5 {
		batch.Items = append(batch.Items, message("conv/1", n+1), message("conv/2", n+1))
	}
	must(api.AppendBatch(ctx, batch))(t)
	must(api.SetRecipients(ctx, &pb.SetRecipientsRequest{Timeline: "conv/1", Add: []string{"inbox/a"}}))(t)
	fanned := message("conv/1", 6)
	fanned.FanOut = &pb.FanOut{Recipients: true}
	must(api.Append(ctx, fanned))(t)
	must(api.Append(ctx, fanned))(t) // a retry changes nothing
	must(api.Trim(ctx, &pb.TrimRequest{Timeline: "conv/1", FirstSeqId: 3}))(t)
	must(api.DeleteTimeline(ctx, &pb.DeleteTimelineRequest{Timeline: "conv/2"}))(t)
	const changes = 13
	c.WaitApplied()
	want, positions := openFeed(t, ctx, leader, &pb.ChangesRequest{}).take(changes)
	first := message("conv/1", 3).MessageId
	for i, text := range map[int]string{
		0: "conv/1 gone 1", 1: "conv/2 gone 1", 4: "conv/1 appended 3 " + first, 10: "conv/1 appended 6 " + message("conv/1", 6).MessageId,
		11: "conv/1 trimmed 3", 12: "conv/2 deleted 5",
	} {
		if want[i] != text {
			t.Errorf("change %d is %q, want %q", i, want[i], text)
		}
	}
	leader.Stop()
	c.Leader()
	for _, node := range c.Nodes() {
		if node == leader {
			continue
		}
		for at, position := range positions[:changes-1] {
			got, _ := openFeed(t, ctx, node, fromPosition(position)).take(changes - 1 - at)
			if fmt.Sprint(got) != fmt.Sprint(want[at+1:]) {
				t.Errorf("%s from behind change %d: %q, want %q", node.ID, at, got, want[at+1:])
			}
		}
	}
	filtered := openFeed(t, ctx, c.Leader(), &pb.ChangesRequest{Prefix: "conv/2"})
	if got, _ := filtered.take(6); got[5] != "conv/2 deleted 5" {
		t.Errorf("with a prefix: %q", got)
	}
}

// A stream that has caught up goes on when something comes, from now on gets nothing of
// before, and its heartbeats move the position over what it does not ask for.
func TestChangesGoOn(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{Server: func(_ string, o *rpc.Options) { o.Limits.TailHeartbeat = 50 * time.Millisecond }})
	ctx := within(t)
	write(t, ctx, c, "conv/1", 1, 3)
	f := openFeed(t, ctx, c.Followers()[0], &pb.ChangesRequest{Start: &pb.ChangesRequest_Now{Now: true}, Prefix: "other/"})
	begun := f.recv()
	for !begun.GetCaughtUp() {
		begun = f.recv()
	}
	write(t, ctx, c, "conv/1", 4, 6)
	before := must(tidemark.ParseChangePosition("position", begun.GetPosition()))(t)
	for {
		response := f.recv()
		if len(response.GetChanges()) > 0 {
			t.Fatalf("got %v", response)
		}
		if at := must(tidemark.ParseChangePosition("position", response.GetPosition()))(t); at.Index >= before.Index+3 {
			break
		}
	}
	write(t, ctx, c, "other/1", 1, 1)
	if got, _ := f.take(1); got[0] != "other/1 appended 1 "+message("other/1", 1).MessageId {
		t.Errorf("got %q", got)
	}
	// A position that this node has not applied is waited for.
	ahead := must(tidemark.ParseChangePosition("position", f.last.GetPosition()))(t)
	ahead.Index += 2
	f = openFeed(t, ctx, c.Leader(), fromPosition(ahead.Token()))
	if response := f.recv(); response.GetCaughtUp() || len(response.GetChanges()) > 0 {
		t.Fatalf("ahead of the node: %v", response)
	}
	write(t, ctx, c, "other/1", 2, 4)
	if got, _ := f.take(1); got[0] != "other/1 appended 4 "+message("other/1", 4).MessageId {
		t.Errorf("got %q", got)
	}
}

// The leader trims the feed by its bounds, the same everywhere; who comes too late is told
// where it begins.
func TestChangesRetention(t *testing.T) {
	var ahead atomic.Int64
	c := rpctest.Start(t, 3, rpctest.Options{Server: func(_ string, o *rpc.Options) {
		o.RetentionInterval, o.ChangesMaxAge = 10*time.Millisecond, time.Hour
		o.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}})
	ctx := within(t)
	write(t, ctx, c, "conv/1", 1, 5)
	_, positions := openFeed(t, ctx, c.Leader(), &pb.ChangesRequest{}).take(5)
	ahead.Store(int64(2 * time.Hour))
	for _, node := range c.Nodes() {
		for {
			_, err := must(timelines(node).Changes(ctx, fromPosition(positions[0])))(t).Recv()
			if reason(err) == "CHANGES_TRIMMED" {
				break
			}
			if err != nil {
				t.Fatalf("the feed is not trimmed on %s: %v", node.ID, err)
			}
		}
	}
	_, err := must(timelines(c.Leader()).Changes(ctx, fromPosition(positions[0])))(t).Recv()
	text := errorInfo(err).GetMetadata()["first_position"]
	first := must(tidemark.ParseChangePositionText("first_position", text))(t)
	ahead.Store(0)
	write(t, ctx, c, "conv/1", 6, 6)
	if got, _ := openFeed(t, ctx, c.Leader(), fromPosition(first.Token())).take(1); got[0] != "conv/1 appended 6 "+message("conv/1", 6).MessageId {
		t.Errorf("from the first position: %q", got)
	}
	foreign := first
	foreign.Feed++
	_, err = must(timelines(c.Leader()).Changes(ctx, fromPosition(foreign.Token())))(t).Recv()
	if reason(err) != "INVALID_ARGUMENT" {
		t.Errorf("a position of another cluster: %v", err)
	}
}

func errorInfo(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// A client that does not read holds up neither appends nor the end of the node.
func TestChangesSlowClient(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx := within(t)
	f := openFeed(t, ctx, c.Leader(), &pb.ChangesRequest{})
	f.recv()
	api := timelines(c.Leader())
	const messages = 200
	for n := 1; n <= messages; n++ { // 40 MiB, more than any window
		m := message("conv/1", n)
		m.Payload = make([]byte, 200<<10)
		must(api.Append(ctx, m))(t)
	}
	next := uint64(1)
	for next <= messages {
		for _, change := range f.recv().GetChanges() {
			if seq := change.GetAppended().GetSeqId(); seq != next {
				t.Fatalf("got %d, want %d", seq, next)
			}
			next++
		}
	}
	stopped := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = f.stream.Recv()
		}
		stopped <- err
	}()
	c.Leader().Stop()
	if err := <-stopped; errors.Is(err, io.EOF) || reason(err) != "STOPPING" {
		t.Errorf("a node that stops ends the stream with %v", err)
	}
}
