package rpc_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/rpc"
	"tidemark/rpc/rpctest"
	pb "tidemark/rpc/tidemarkv1"
)

// tail is a Tail as a client sees it: what each subscription got, by tag.
type tail struct {
	t      *testing.T
	stream pb.TimelineService_TailClient
	// events are those that were received and not taken yet.
	events []*pb.TailEvent
	last   *pb.TailResponse
}

func openTail(t *testing.T, ctx context.Context, n *rpctest.Node, first *pb.TailRequest) *tail {
	t.Helper()
	stream, err := timelines(n).Tail(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tl := &tail{t: t, stream: stream}
	tl.send(first)
	return tl
}

func (tl *tail) send(request *pb.TailRequest) {
	tl.t.Helper()
	if err := tl.stream.Send(request); err != nil {
		tl.t.Fatal(err)
	}
}

// next is the next event of any subscription.
func (tl *tail) next() *pb.TailEvent {
	tl.t.Helper()
	for len(tl.events) == 0 {
		response, err := tl.stream.Recv()
		if err != nil {
			tl.t.Fatal(err)
		}
		tl.events, tl.last = response.GetEvents(), response
	}
	event := tl.events[0]
	tl.events = tl.events[1:]
	return event
}

// quiet waits for a heartbeat, and fails if an event comes before it.
func (tl *tail) quiet() {
	tl.t.Helper()
	response, err := tl.stream.Recv()
	if err != nil {
		tl.t.Fatal(err)
	}
	if len(tl.events) > 0 || len(response.GetEvents()) > 0 {
		tl.t.Fatalf("got %v and %v, want nothing", tl.events, response)
	}
	tl.last = response
}

// messages takes messages of one subscription until it has those up to SeqID to, each
// of which must be the next.
func (tl *tail) messages(tag uint64, from, to uint64) []*pb.Message {
	tl.t.Helper()
	var got []*pb.Message
	for next := from; next <= to; {
		event := tl.next()
		if event.GetCaughtUp() != nil && event.GetTag() == tag {
			continue
		}
		if event.GetTag() != tag || event.GetMessages() == nil {
			tl.t.Fatalf("got %v, want message %d under tag %d", event, next, tag)
		}
		for _, m := range event.GetMessages().GetMessages() {
			if m.GetSeqId() != next {
				tl.t.Fatalf("got message %d, want %d", m.GetSeqId(), next)
			}
			next++
			got = append(got, m)
		}
	}
	return got
}

func (tl *tail) caughtUp(tag, last uint64) {
	tl.t.Helper()
	if event := tl.next(); event.GetTag() != tag || event.GetCaughtUp() == nil || event.GetCaughtUp().GetLastSeqId() != last {
		tl.t.Fatalf("got %v, want that %d has caught up with %d", event, tag, last)
	}
}

func (tl *tail) refused(tag uint64, reason string) {
	tl.t.Helper()
	if event := tl.next(); event.GetTag() != tag || event.GetError().GetReason() != reason {
		tl.t.Fatalf("got %v, want %s for %d", event, reason, tag)
	}
}

func after(tag uint64, timeline string, seq uint64) *pb.TailSubscription {
	return &pb.TailSubscription{Tag: tag, Timeline: timeline, Start: &pb.TailSubscription_AfterSeqId{AfterSeqId: seq}}
}

func subscribe(items ...*pb.TailSubscription) *pb.TailRequest {
	return &pb.TailRequest{Subscribe: items}
}

// write appends messages first to last of a timeline, through the leader.
func write(t *testing.T, ctx context.Context, c *rpctest.Cluster, timeline string, first, last int) {
	t.Helper()
	api := timelines(c.Leader())
	for n := first; n <= last; n++ {
		must(api.Append(ctx, message(timeline, n)))(t)
	}
}

// A subscription on a follower gets what was there, and then what comes.
func TestTailCatchesUpAndGoesOn(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	write(t, ctx, c, "conv/1", 1, 250)
	c.WaitApplied()
	follower := c.Followers()[0]
	tl := openTail(t, ctx, follower, subscribe(after(7, "conv/1", 0)))
	got := tl.messages(7, 1, 250)
	tl.caughtUp(7, 250)
	write(t, ctx, c, "conv/1", 251, 260)
	got = append(got, tl.messages(7, 251, 260)...)
	if chain := chainOf(t, got); string(chain[:]) != string(got[len(got)-1].GetDigest()) {
		t.Errorf("the digests of what was delivered end with %x, not %x", got[len(got)-1].GetDigest(), chain)
	}
	read := must(timelines(c.Leader()).Read(ctx, &pb.ReadRequest{
		Timeline: "conv/1", Start: &pb.ReadRequest_Newest{Newest: true}, Limit: 1,
		Consistency: &pb.Consistency{Level: &pb.Consistency_Session_{Session: &pb.Consistency_Session{Position: tl.last.GetPosition()}}},
	}))(t)
	if read.GetLastSeqId() != 260 {
		t.Errorf("a session read at the position of the tail shows %d, want 260", read.GetLastSeqId())
	}
}

func TestTailStarts(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx := within(t)
	write(t, ctx, c, "conv/1", 1, 5)
	tl := openTail(t, ctx, c.Leader(), subscribe(after(1, "conv/1", 3)))
	tl.messages(1, 4, 5)
	tl.caughtUp(1, 5)

	tl.send(subscribe(&pb.TailSubscription{Tag: 2, Timeline: "conv/1", Start: &pb.TailSubscription_Newest{Newest: true}}))
	tl.caughtUp(2, 5)
	// A timeline that does not exist yet.
	tl.send(subscribe(&pb.TailSubscription{Tag: 3, Timeline: "conv/none"}))
	tl.caughtUp(3, 0)
	// A start that this node does not have yet: not caught up, and no error.
	tl.send(subscribe(after(4, "conv/none", 2)))
	write(t, ctx, c, "conv/none", 1, 3)
	got := map[uint64][]uint64{}
	for len(got[3]) < 3 || len(got[4]) < 1 {
		event := tl.next()
		for _, m := range event.GetMessages().GetMessages() {
			got[event.GetTag()] = append(got[event.GetTag()], m.GetSeqId())
		}
	}
	if fmt.Sprint(got) != "map[3:[1 2 3] 4:[3]]" {
		t.Errorf("got %v", got)
	}
}

func TestTailNotices(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx := within(t)
	write(t, ctx, c, "conv/1", 1, 300)
	item := after(1, "conv/1", 10)
	item.NotifyOnly = true
	tl := openTail(t, ctx, c.Leader(), subscribe(item))
	if event := tl.next(); event.GetNotice().GetLastSeqId() != 300 {
		t.Fatalf("got %v, want one notice of all 300", event)
	}
	tl.caughtUp(1, 300)
	write(t, ctx, c, "conv/1", 301, 301)
	if event := tl.next(); event.GetNotice().GetLastSeqId() != 301 {
		t.Fatalf("got %v, want a notice of 301", event)
	}
}

// Subscriptions come and go while others go on; a tag is free again when its end was told.
func TestTailChangesWhileItGoesOn(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx := within(t)
	write(t, ctx, c, "a", 1, 1)
	write(t, ctx, c, "b", 1, 1)
	tl := openTail(t, ctx, c.Leader(), subscribe(after(1, "a", 0), after(2, "b", 0), after(3, "a", 1)))
	seen := map[uint64]int{}
	for range 5 { // two messages, three times caught up
		seen[tl.next().GetTag()]++
	}
	if seen[1] != 2 || seen[2] != 2 || seen[3] != 1 {
		t.Fatalf("events by tag: %v", seen)
	}
	tl.send(&pb.TailRequest{Unsubscribe: []uint64{1, 9}})
	if event := tl.next(); event.GetTag() != 1 || event.GetUnsubscribed() == nil {
		t.Fatalf("got %v", event)
	}
	tl.refused(9, "INVALID_ARGUMENT")
	write(t, ctx, c, "a", 2, 2)
	tl.messages(3, 2, 2)
	tl.send(subscribe(after(1, "b", 0)))
	tl.messages(1, 1, 1)
	tl.caughtUp(1, 1)
}

func TestTailRefusals(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{Server: func(_ string, o *rpc.Options) { o.Limits.MaxTailSubscriptions = 2 }})
	ctx := within(t)
	using, end := context.WithCancel(ctx)
	defer end()
	tl := openTail(t, using, c.Leader(), subscribe(after(1, "a", 0)))
	tl.caughtUp(1, 0)
	tl.send(subscribe(
		after(1, "b", 0), after(2, "", 0), after(3, "a\x00", 0), after(4, "a", 1<<64-1),
		&pb.TailSubscription{Tag: 5, Timeline: "a", Priority: 4},
		&pb.TailSubscription{Tag: 6, Timeline: "a", Start: &pb.TailSubscription_Newest{}},
		after(7, "a", 0), after(8, "a", 0),
	))
	for tag := uint64(1); tag <= 6; tag++ {
		tl.refused(tag, "INVALID_ARGUMENT")
	}
	// Of different subscriptions there is no order.
	both := []*pb.TailEvent{tl.next(), tl.next()}
	if both[0].GetTag() == 7 {
		slices.Reverse(both)
	}
	tl.events = append(both, tl.events...)
	tl.refused(8, "OVERLOADED")
	tl.caughtUp(7, 0)
	// What concerns the whole request ends the stream.
	for name, request := range map[string]*pb.TailRequest{
		"subscribe":   {Subscribe: make([]*pb.TailSubscription, tidemark.MaxTailRequestItems+1)},
		"unsubscribe": {Unsubscribe: make([]uint64, tidemark.MaxTailRequestItems+1)},
	} {
		for i := range request.Subscribe {
			request.Subscribe[i] = after(uint64(100+i), "a", 0)
		}
		if _, err := openTail(t, ctx, c.Leader(), request).stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("too many items in %s: %v", name, err)
		}
	}
	// The subscriptions of a stream that ended are free.
	full := openTail(t, ctx, c.Leader(), subscribe(after(1, "a", 0)))
	full.refused(1, "OVERLOADED")
	end()
	for event := (*pb.TailEvent)(nil); event.GetCaughtUp() == nil; event = full.next() {
		full.send(subscribe(after(1, "a", 0)))
	}
}

func fastHeartbeat(_ string, o *rpc.Options) { o.Limits.TailHeartbeat = 20 * time.Millisecond }

// Without credit nothing is delivered; with it, exactly as much.
func TestTailCredit(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{Server: fastHeartbeat})
	ctx := within(t)
	write(t, ctx, c, "conv/1", 1, 30)
	first := subscribe(after(1, "conv/1", 0))
	first.Credit = 5
	tl := openTail(t, ctx, c.Leader(), first)
	tl.messages(1, 1, 5)
	tl.quiet()
	// What needs no credit comes nevertheless.
	tl.send(subscribe(after(2, "conv/1", 30)))
	tl.caughtUp(2, 30)
	tl.send(&pb.TailRequest{Credit: 20})
	tl.messages(1, 6, 25)
	tl.quiet()
	tl.send(&pb.TailRequest{Credit: 1 << 63})
	tl.messages(1, 26, 30)
	tl.caughtUp(1, 30)
}

// A client that does not read holds up neither appends nor another client, and gets
// all of it when it reads again.
func TestTailOfASlowReader(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx := within(t)
	slow := openTail(t, ctx, c.Leader(), subscribe(after(1, "conv/1", 0)))
	quick := openTail(t, ctx, c.Leader(), subscribe(after(1, "conv/1", 0)))
	const messages = 200
	api := timelines(c.Leader())
	for n := 1; n <= messages; n++ {
		m := message("conv/1", n)
		m.Payload = make([]byte, 64<<10) // together more than all windows of the connection
		must(api.Append(ctx, m))(t)
	}
	quick.messages(1, 1, messages)
	slow.messages(1, 1, messages)
}

// Through crashes of the node that serves it, a client that resumes behind its last
// message on another node gets every message once.
func TestTailSurvivesCrashes(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	const total = 120
	// The writer's connections are its own: those of a node end with it.
	var writers []pb.TimelineServiceClient
	for _, address := range c.Addresses() {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		writers = append(writers, pb.NewTimelineServiceClient(conn))
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for n := 1; n <= total; n++ {
			for appended := false; !appended && ctx.Err() == nil; {
				for _, api := range writers {
					attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
					_, err := api.Append(attempt, message("conv/1", n))
					cancel()
					if appended = err == nil; appended {
						break
					}
				}
			}
		}
	})
	last := uint64(0)
	for crashes := 0; last < total; crashes++ {
		server := c.Leader()
		tl := openTail(t, ctx, server, subscribe(after(1, "conv/1", last)))
		target := min(total, last+40)
		for last < target {
			event := tl.next()
			for _, m := range event.GetMessages().GetMessages() {
				if m.GetSeqId() != last+1 {
					t.Fatalf("got message %d after %d", m.GetSeqId(), last)
				}
				last++
			}
		}
		if last < total {
			server.Crash()
			if _, err := drainTail(tl.stream); err == nil {
				t.Error("the stream of a node that crashed ended without an error")
			}
			c.Leader()
			server.Start()
		}
	}
}

func drainTail(stream pb.TimelineService_TailClient) (int, error) {
	for n := 0; ; n++ {
		if _, err := stream.Recv(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}
