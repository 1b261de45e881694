package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
	"tidemark/client"
	pb "tidemark/rpc/tidemarkv1"
)

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAppendsGoToTheLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(2)
	// One endpoint is enough: the leader is another member.
	cl := dial(t, c.endpoints()[:1])
	for i := range 20 {
		mustAppend(t, cl, draft(fmt.Sprint("m", i)))
	}
	if direct := c.nodes[2].count("AppendStream"); direct != 20 {
		t.Errorf("leader got %d of 20 appends", direct)
	}
}

func TestWithoutDiscoveryStaysAtTheEndpoints(t *testing.T) {
	c := newCluster(t, 3)
	c.lead(2)
	cl := dial(t, c.endpoints()[:1], client.WithoutDiscovery(), client.WithLeaderRefresh(10*time.Millisecond))
	// A redirection is not followed either.
	c.nodes[0].script("AppendStream", fault{skip: true, err: reasoned(codes.Unavailable, "NOT_LEADER", 0, "leader_address", c.nodes[2].address)})
	for i := range 20 {
		mustAppend(t, cl, draft(fmt.Sprint("m", i)))
	}
	if direct := c.nodes[0].count("AppendStream"); direct != 21 {
		t.Errorf("endpoint got %d of 21 appends", direct)
	}
}

// TestFollowsARedirection: NOT_LEADER says where to go.
func TestFollowsARedirection(t *testing.T) {
	c := newCluster(t, 2)
	cl := dial(t, c.endpoints()[:1])
	mustAppend(t, cl, draft("m0"))
	c.lead(1)
	c.nodes[0].setDeny(reasoned(codes.Unavailable, "NOT_LEADER", 0, "leader_address", c.nodes[1].address))
	c.nodes[0].script("Status", fault{skip: true, err: errors.New("no status")})
	mustAppend(t, cl, draft("m1"))
	if c.nodes[1].count("AppendStream") != 1 || c.nodes[0].count("Status")+c.nodes[1].count("Status") > 2 {
		t.Errorf("leader got %d appends", c.nodes[1].count("AppendStream"))
	}
}

// TestMovesToANewLeader: the old one goes on forwarding, so nothing fails; and what
// is under way to it is answered before anything is sent to the new one.
func TestMovesToANewLeader(t *testing.T) {
	c := newCluster(t, 2)
	c.nodes[0].setRandom(func() *fault { return &fault{delay: time.Millisecond} })
	cl := dial(t, c.endpoints(), client.WithLeaderRefresh(time.Millisecond), client.WithMaxInFlight(20, 1<<20))
	mustAppend(t, cl, draft("m"))
	c.lead(1)
	sent := 1
	eventually(t, "appends reach the new leader", func() bool {
		for range 10 {
			if _, err := cl.AppendAsync(testContext(t), draft(fmt.Sprint("m", sent))); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		return c.nodes[1].count("AppendStream") > 0
	})
	if err := cl.Close(); err != nil {
		t.Fatal(err)
	}
	if carried := c.nodes[0].count("AppendStream") + c.nodes[1].count("AppendStream"); carried != sent || len(c.ids("conv/1")) != sent {
		t.Errorf("%d appends were sent as %d, and %d are there", sent, carried, len(c.ids("conv/1")))
	}
}

// TestLeaderDies: the next leader gets everything, in order.
func TestLeaderDies(t *testing.T) {
	c := newCluster(t, 3)
	cl := dial(t, c.endpoints())
	mustAppend(t, cl, draft("first"))
	c.nodes[0].script("AppendStream", fault{mute: true}, fault{mute: true, skip: true})
	var pending []*client.Pending
	for i := range 10 {
		p, err := cl.AppendAsync(testContext(t), draft(fmt.Sprint("m", i)))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	eventually(t, "appends have reached the leader", func() bool { return c.nodes[0].count("AppendStream") >= 3 })
	c.lead(1)
	c.nodes[0].server.Stop()
	for i, p := range pending {
		if result, err := p.Wait(testContext(t)); err != nil || result.SeqID != tidemark.SeqID(i+2) {
			t.Errorf("append %d: %+v, %v", i, result, err)
		}
	}
}

// TestFrozenNode: a node whose connections live but that answers nothing is left
// after a bounded time, by appends and by reads, before and after connecting.
func TestFrozenNode(t *testing.T) {
	for _, connected := range []bool{true, false} {
		t.Run(fmt.Sprint("connected=", connected), func(t *testing.T) {
			c := newCluster(t, 3)
			// Below the time after which a single answer counts as lost.
			cl := dial(t, c.endpoints(), client.WithStallTimeout(time.Second))
			if connected {
				mustAppend(t, cl, draft("first"))
				for range c.nodes {
					if _, err := cl.Read(testContext(t), "conv/1"); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.nodes[0].gate.freeze()
			begin := time.Now()
			var callers sync.WaitGroup
			callers.Go(func() { mustAppend(t, cl, draft("second")) })
			callers.Go(func() {
				for range c.nodes {
					if _, err := cl.Timeline(testContext(t), "conv/1"); err != nil && !errors.Is(err, tidemark.ErrTimelineNotFound) {
						t.Error(err)
					}
				}
			})
			eventually(t, "the append is applied elsewhere", func() bool {
				c.lead(1)
				ids := c.ids("conv/1")
				return len(ids) > 0 && ids[len(ids)-1] == "second"
			})
			callers.Wait()
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestDeadEndpointsCostLittle: nothing listens at two of three endpoints.
func TestDeadEndpointsCostLittle(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, []string{unused(t), unused(t), c.endpoints()[0]}, client.WithoutDiscovery())
	begin := time.Now()
	for i := range 20 {
		mustAppend(t, cl, draft(fmt.Sprint("m", i)))
		if _, err := cl.Read(testContext(t), "conv/1"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

func unused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// TestNodeComesBack: the client notices within the longest pause between connection attempts.
func TestNodeComesBack(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	mustAppend(t, cl, draft("m1"))
	c.nodes[0].server.Stop()
	done := make(chan error, 1)
	go func() {
		_, err := cl.Append(testContext(t), draft("m2"))
		done <- err
	}()
	time.Sleep(300 * time.Millisecond)
	back := c.newNode(t, 0, c.nodes[0].address)
	begin := time.Now()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 3*time.Second || back.count("AppendStream") != 1 {
		t.Errorf("took %v, %d appends", took, back.count("AppendStream"))
	}
}

// TestUnreachableSaysWhy: the error names the endpoint and what is wrong with it.
func TestUnreachableSaysWhy(t *testing.T) {
	address := unused(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := dial(t, []string{address}).Read(ctx, "conv/1")
	for _, part := range []string{address, "refused", "Read", "deadline"} {
		if err == nil || !contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

// TestRetryInfoIsHonoured: a node that asks for time gets it.
func TestRetryInfoIsHonoured(t *testing.T) {
	c := newCluster(t, 1)
	overloaded := fault{skip: true, err: reasoned(codes.ResourceExhausted, "OVERLOADED", 300*time.Millisecond)}
	c.nodes[0].script("AppendStream", overloaded)
	c.nodes[0].script("Ack", overloaded)
	cl := dial(t, c.endpoints())
	begin := time.Now()
	mustAppend(t, cl, draft("m1"))
	middle := time.Now()
	if _, err := cl.Ack(testContext(t), "bob", client.AckItem{Timeline: "conv/1", Read: 1}); err != nil {
		t.Fatal(err)
	}
	if a, b := middle.Sub(begin), time.Since(middle); a < 300*time.Millisecond || b < 300*time.Millisecond {
		t.Errorf("came back after %v and %v", a, b)
	}
}

// TestOverloadSlowsDown: after a refusal less is sent at a time.
func TestOverloadSlowsDown(t *testing.T) {
	c := newCluster(t, 1)
	n := c.nodes[0]
	n.script("AppendStream", fault{delay: 50 * time.Millisecond, skip: true, err: reasoned(codes.ResourceExhausted, "OVERLOADED", time.Millisecond)})
	n.script("AppendStream", fault{mute: true})
	cl := dial(t, c.endpoints())
	var pending []*client.Pending
	for i := range 100 {
		p, err := cl.AppendAsync(testContext(t), draft(fmt.Sprint("m", i)))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	// The second stream's first append is never answered; what else was sent
	// on it is what the client allowed itself. The third answers all.
	for _, p := range pending {
		if _, err := p.Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.carried) < 3 {
		t.Errorf("streams carried %v", n.carried)
	}
}

// TestFrozenNodeCostsOnce: after one read has found out, others do not have to, and
// a short deadline is enough to turn to another node.
func TestFrozenNodeCostsOnce(t *testing.T) {
	c := newCluster(t, 3)
	cl := dial(t, c.endpoints(), client.WithStallTimeout(2*time.Second))
	mustAppend(t, cl, draft("m1"))
	read := func() time.Duration {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 800*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if _, err := cl.Read(ctx, "conv/1"); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	for range c.nodes {
		read()
	}
	c.nodes[1].gate.freeze()
	slow := 0
	for range 30 {
		if read() > 300*time.Millisecond {
			slow++
		}
	}
	if slow != 1 {
		t.Errorf("%d reads had to wait for the frozen node", slow)
	}
	c.nodes[1].gate.thaw()
	before := c.nodes[1].count("Read")
	eventually(t, "the node is used again", func() bool { read(); return c.nodes[1].count("Read") > before+1 })
}

// TestOldLeaderIsNotBelieved: a node that still thinks that it leads names an older term.
func TestOldLeaderIsNotBelieved(t *testing.T) {
	c := newCluster(t, 2)
	cl := dial(t, c.endpoints(), client.WithLeaderRefresh(time.Millisecond), client.WithStallTimeout(40*time.Millisecond))
	c.lead(1)
	mustAppend(t, cl, draft("m"))
	c.nodes[0].setBelief(0, 0)
	for i := range 50 {
		mustAppend(t, cl, draft(fmt.Sprint("m", i)))
		time.Sleep(5 * time.Millisecond)
	}
	if n := c.nodes[0].count("AppendStream"); n > 0 {
		t.Errorf("%d appends went to the old leader", n)
	}
}

// TestEndpointIsKnownByItsID: the leader is reached at the endpoint that was given,
// whatever address it tells.
func TestEndpointIsKnownByItsID(t *testing.T) {
	c := newCluster(t, 2)
	c.lead(1)
	c.nodes[0].advertise(unused(t))
	c.nodes[1].advertise(unused(t))
	cl := dial(t, c.endpoints())
	mustAppend(t, cl, draft("m1"))
	if n := c.nodes[1].count("AppendStream"); n != 1 {
		t.Errorf("leader got %d appends", n)
	}
}

// A client that only reads learns of members that came while it ran, and needs none
// of those that it was given in the end.
func TestReaderOutlivesItsEndpoints(t *testing.T) {
	c := newCluster(t, 3)
	writer := dial(t, c.endpoints())
	mustAppend(t, writer, draft("m"))
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	cl := dial(t, c.endpoints()[:2])
	read := func() error {
		_, err := cl.Read(testContext(t), "conv/1", client.Local(time.Minute))
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	asked := c.nodes[1].count("Status")
	c.nodes[0].server.Stop()
	eventually(t, "the client asks who the members are", func() bool { return read() == nil && c.nodes[1].count("Status") > asked })
	c.nodes[1].server.GracefulStop() // what it was asked is answered
	if err := read(); err != nil {
		t.Errorf("with the third node alone: %v", err)
	}
	if c.nodes[2].count("Read") == 0 {
		t.Error("nobody read from the third node")
	}
}

// An operator's client knows the members that it was told of.
func TestStatusTeachesMembers(t *testing.T) {
	c := newCluster(t, 2)
	cl := dial(t, c.endpoints()[:1])
	if _, err := cl.Cluster().Status(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].server.Stop()
	if _, err := cl.Cluster().Status(testContext(t)); err != nil {
		t.Errorf("without the only endpoint that was given: %v", err)
	}
}

// A client lives longer than the members that it was given and than any that it learnt
// of: those that have gone make room for those that come.
func TestMembersComeAndGo(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	told := func(members ...*pb.Member) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.absent = members
	}
	for i := range 200 {
		told(&pb.Member{NodeId: fmt.Sprint("gone", i), ClientAddress: fmt.Sprintf("127.0.0.1:%d", 1+i)})
		if _, err := cl.Cluster().Status(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	last := c.newNode(t, 1, "127.0.0.1:0")
	told(&pb.Member{NodeId: nodeID(1), ClientAddress: last.address})
	if _, err := cl.Cluster().Status(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].server.Stop()
	if _, err := cl.Cluster().Status(testContext(t)); err != nil {
		t.Errorf("of 202 members the last is left: %v", err)
	}
}

// TestLostReply: one append is never answered, others behind it are.
func TestLostReply(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendStream", fault{mute: true})
	cl := dial(t, c.endpoints(), client.WithStallTimeout(100*time.Millisecond))
	pending, err := cl.AppendAsync(testContext(t), draft("lost"))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		select {
		case <-pending.Done():
			if result, err := pending.Wait(testContext(t)); err != nil || result.SeqID != 1 || !result.Duplicate {
				t.Errorf("got %+v, %v", result, err)
			}
			return
		case <-time.After(5 * time.Millisecond):
			mustAppend(t, cl, draft(fmt.Sprint("m", n)))
		}
		if n > 1000 {
			t.Fatal("the lost reply was not noticed")
		}
	}
}
