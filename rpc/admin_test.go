package rpc_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"tidemark/pebblestore"
	"tidemark/pebblestore/storetest"
	"tidemark/rpc/rpctest"
	pb "tidemark/rpc/tidemarkv1"
)

// until waits for a condition that the cluster brings about.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not after 20 s: %s", what)
		}
	}
}

func role(members []*pb.Member, id string) pb.MemberRole {
	for _, m := range members {
		if m.NodeId == id {
			return m.Role
		}
	}
	return pb.MemberRole_MEMBER_ROLE_UNSPECIFIED
}

// Members are added, promoted and removed, and leadership handed over, through a follower.
func TestMembershipThroughFollower(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	follower := c.Followers()[0]
	api := cluster(follower)
	must(timelines(follower).Append(ctx, message("t", 1)))(t)

	n4 := c.Join("n4")
	added := must(api.AddMember(ctx, &pb.AddMemberRequest{NodeId: "n4", RaftAddress: n4.RaftAddress}))(t)
	if role(added.Members, "n4") != pb.MemberRole_MEMBER_ROLE_NON_VOTER {
		t.Errorf("after AddMember: %v", added.Members)
	}
	if _, err := api.AddMember(ctx, &pb.AddMemberRequest{NodeId: "n4", RaftAddress: "127.0.0.1:1"}); reason(err) != "MEMBER_EXISTS" {
		t.Errorf("adding it with another address got %v", err)
	}
	c.WaitReady()
	until(t, "n4 is promoted", func() bool {
		promoted, err := api.PromoteMember(ctx, &pb.PromoteMemberRequest{NodeId: "n4"})
		return err == nil && role(promoted.Members, "n4") == pb.MemberRole_MEMBER_ROLE_VOTER
	})
	if page := must(timelines(n4).Read(ctx, &pb.ReadRequest{Timeline: "t"}))(t); page.LastSeqId != 1 {
		t.Errorf("the new member shows %v", page)
	}
	if _, err := api.PromoteMember(ctx, &pb.PromoteMemberRequest{NodeId: "n9"}); reason(err) != "MEMBER_NOT_FOUND" {
		t.Errorf("promoting nobody got %v", err)
	}
	moved := must(api.TransferLeadership(ctx, &pb.TransferLeadershipRequest{NodeId: "n4"}))(t)
	if moved.LeaderId != "n4" || c.Leader().ID != "n4" {
		t.Errorf("TransferLeadership got %v, and %s leads", moved, c.Leader().ID)
	}
	c.WaitReady()
	must(api.TransferLeadership(ctx, &pb.TransferLeadershipRequest{NodeId: follower.ID}))(t)
	c.WaitReady()
	removed := must(api.RemoveMember(ctx, &pb.RemoveMemberRequest{NodeId: "n4"}))(t)
	if len(removed.Members) != 3 {
		t.Errorf("after RemoveMember: %v", removed.Members)
	}
	status := must(api.Status(ctx, &pb.StatusRequest{}))(t)
	if status.NodeId != follower.ID || status.LeaderId != c.Leader().ID || len(status.Members) != 3 ||
		status.AppliedIndex == 0 || status.StartedAt == nil || status.StoreFormatVersion != pebblestore.FormatVersion || status.NotServingReason != "" {
		t.Errorf("Status got %v", status)
	}
	snapshot := must(api.TakeSnapshot(ctx, &pb.TakeSnapshotRequest{}))(t)
	if snapshot.Index == 0 || snapshot.Term == 0 {
		t.Errorf("TakeSnapshot got %v", snapshot)
	}
}

// A backup is a whole store of its own.
func TestBackupRestores(t *testing.T) {
	c := rpctest.Start(t, 1, rpctest.Options{})
	ctx, node := within(t), c.Leader()
	for n := range 100 {
		must(timelines(node).Append(ctx, message("t", n)))(t)
	}
	dir := filepath.Join(t.TempDir(), "store")
	restored := storetest.OpenAt(t, dir, storetest.Options(t, nil))
	incoming := must(restored.Receive())(t)
	stream := must(cluster(node).Backup(ctx, &pb.BackupRequest{}))(t)
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		must(incoming.Write(must(chunk, err)(t).Chunk))(t)
	}
	applied := must(incoming.Finish())(t)
	if err := restored.Install(incoming); err != nil {
		t.Fatal(err)
	}
	if head, err := restored.Head("t"); err != nil || head.Last != 100 || applied.Index == 0 {
		t.Errorf("restored %v at %d, %v", head, applied.Index, err)
	}
}

// A node that is cut off says so: it is NOT_SERVING, its linearizable reads fail, a
// session read of what it has not got is refused in time, and a local read says how
// old it is, or is refused beyond its bound.
func TestIsolatedFollower(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	leader, node := c.Leader(), c.Followers()[0]
	must(timelines(leader).Append(ctx, message("t", 1)))(t)
	c.WaitApplied()
	node.Isolate()
	missed := must(timelines(leader).Append(ctx, message("t", 2)))(t)
	api := timelines(node)

	health := grpc_health_v1.NewHealthClient(node.Conn())
	until(t, "it is NOT_SERVING", func() bool {
		reply, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err == nil && reply.Status == grpc_health_v1.HealthCheckResponse_NOT_SERVING
	})
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := api.Read(soon, &pb.ReadRequest{Timeline: "t"}); reason(err) != "NO_LEADER" && reason(err) != "NOT_LEADER" {
		t.Errorf("a linearizable read got %v", err)
	}
	session := &pb.Consistency{Level: &pb.Consistency_Session_{Session: &pb.Consistency_Session{Position: missed.Position}}}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if _, err := api.Read(short, &pb.ReadRequest{Timeline: "t", Consistency: session}); reason(err) != "NOT_CAUGHT_UP" {
		t.Errorf("a session read got %v", err)
	}
	local := func(bound *uint64) (*pb.ReadResponse, error) {
		return api.Read(ctx, &pb.ReadRequest{Timeline: "t", Consistency: &pb.Consistency{Level: &pb.Consistency_Local_{Local: &pb.Consistency_Local{MaxStalenessMillis: bound}}}})
	}
	until(t, "a local read says that it is old", func() bool { return must(local(nil))(t).StalenessMillis >= 100 })
	if page := must(local(nil))(t); page.LastSeqId != 1 {
		t.Errorf("a local read got %v", page)
	}
	if _, err := local(proto.Uint64(50)); reason(err) != "STALE" {
		t.Errorf("a bounded local read got %v", err)
	}
	node.Heal()
	c.WaitReady()
	if page := must(api.Read(ctx, &pb.ReadRequest{Timeline: "t", Consistency: session}))(t); page.LastSeqId != 2 {
		t.Errorf("healed, it shows %v", page)
	}
}

// The leader crashes: nothing acknowledged is lost, and retries through any node settle
// what was unknown.
func TestLeaderCrash(t *testing.T) {
	c := rpctest.Start(t, 3, rpctest.Options{})
	ctx := within(t)
	follower := c.Followers()[0]
	seq := map[int]uint64{}
	write := func(n int) {
		until(t, "an append succeeds", func() bool {
			reply, err := timelines(follower).Append(ctx, message("t", n))
			if err == nil {
				seq[n] = reply.SeqId
				return true
			}
			switch reason(err) {
			case "NO_LEADER", "NOT_LEADER", "OUTCOME_UNKNOWN":
				return false
			}
			t.Fatalf("append %d: %v", n, err)
			return false
		})
	}
	for n := range 50 {
		write(n)
	}
	crashed := c.Leader()
	done := make(chan struct{})
	go func() { defer close(done); crashed.Crash() }()
	for n := 50; n < 100; n++ {
		write(n)
	}
	<-done
	crashed.Start()
	c.WaitReady()
	for _, node := range c.Nodes() {
		page := must(timelines(node).Read(ctx, &pb.ReadRequest{Timeline: "t"}))(t)
		if len(page.Messages) != 100 {
			t.Fatalf("%s has %d messages", node.ID, len(page.Messages))
		}
		chainOf(t, page.Messages)
	}
	for n, want := range seq {
		if reply := must(timelines(crashed).Append(ctx, message("t", n)))(t); reply.SeqId != want || !reply.Duplicate {
			t.Errorf("append %d again got %v, first was %d", n, reply, want)
		}
	}
}
