package client_test

import (
	"fmt"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc"
	"tidemark/rpc/rpctest"
)

// The leader trims by the policies, whoever leads, the longest prefix holds, and a dry run
// says what would go.
func TestRealPolicies(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{Server: func(_ string, o *rpc.Options) { o.RetentionInterval = 50 * time.Millisecond }})
	ctx := testContext(t)
	c := dialReal(t, cluster.Addresses())
	timelines := []tidemark.TimelineID{"conv/1", "conv/kept/1", "other/1"}
	fill := func(from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			for _, id := range timelines {
				mustAppendWith(t, c, client.Draft{Timeline: id, ID: tidemark.MessageID(fmt.Sprint("m", i))})
			}
		}
	}
	fill(1, 30)
	policy := tidemark.Policy{Prefix: "conv/", MaxMessages: 10}
	if trial, err := c.TryPolicy(ctx, policy); err != nil || trial.Seen != 2 || trial.Trimmed != 2 || trial.Messages != 40 {
		t.Errorf("%+v, %v", trial, err)
	}
	if err := c.SetPolicy(ctx, tidemark.Policy{Prefix: "conv/kept/", MaxMessages: 1, AckedBy: []tidemark.ReaderID{"archive"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetPolicy(ctx, policy); err != nil {
		t.Fatal(err)
	}
	first := func(id tidemark.TimelineID) tidemark.SeqID {
		head, err := c.Timeline(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return head.First
	}
	eventually(t, "conv/1 is trimmed to its newest ten", func() bool { return first("conv/1") == 21 })
	leader := cluster.Leader()
	leader.Crash()
	cluster.Leader()
	leader.Start()
	cluster.WaitReady()
	fill(31, 40)
	eventually(t, "the next leader trims too", func() bool { return first("conv/1") == 31 })
	if first("conv/kept/1") != 1 || first("other/1") != 1 {
		t.Errorf("conv/kept/1 starts at %d, other/1 at %d; nobody let anything go", first("conv/kept/1"), first("other/1"))
	}
	if _, err := c.Ack(ctx, "archive", client.AckItem{Timeline: "conv/kept/1", Delivered: 25}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what the archive has is trimmed", func() bool { return first("conv/kept/1") == 26 })
	if err := c.SetPolicy(ctx, tidemark.Policy{Prefix: "conv/"}); err != nil {
		t.Fatal(err)
	}
	policies, err := c.Policies(ctx)
	if err != nil || len(policies) != 1 || policies[0].Prefix != "conv/kept/" || policies[0].AckedBy[0] != "archive" {
		t.Errorf("%+v, %v", policies, err)
	}
}
