package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/client"
	"tidemark/rpc/tidemarkv1"
)

// member returns what the cluster says of a member, or nil.
func (c *testCluster) member(cl *client.Client, id string) *tidemarkv1.Member {
	c.t.Helper()
	status, err := cl.Cluster().Status(testContext(c.t, patience))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, member := range status.GetMembers() {
		if member.GetNodeId() == id {
			return member
		}
	}
	return nil
}

// waitVoter waits until the member votes.
func (c *testCluster) waitVoter(cl *client.Client, id string) {
	c.t.Helper()
	eventually(c.t, patience, func() error {
		if role := c.member(cl, id).GetRole(); role != tidemarkv1.MemberRole_MEMBER_ROLE_VOTER {
			return fmt.Errorf("%s is %v", id, role)
		}
		return nil
	})
}

// A fourth node joins while messages come in, gets a vote by itself, holds all, and
// is removed for good: its directory does not come back.
func TestJoinPromoteRemove(t *testing.T) {
	t.Parallel()
	c := start(t, 3)
	cl := c.client()
	l := startLoad(c, 8)
	l.waitFor(500)
	joined, err := c.Join()
	if err != nil {
		t.Fatal(err)
	}
	if err := joined.Start(); err != nil {
		t.Fatal(err)
	}
	c.waitVoter(cl, joined.ID)
	if err := joined.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
	l.waitFor(200)

	// It can be killed and started again with the same flags.
	if err := joined.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := joined.Start(); err != nil {
		t.Fatal(err)
	}
	if err := joined.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
	l.waitFor(200)
	l.verifyWhileWriting(c, joined)

	c.cli("", "member", "remove", joined.ID)
	if member := c.member(cl, joined.ID); member != nil {
		t.Errorf("it is still a member: %v", member)
	}
	if err := joined.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := joined.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		if log := joined.Log(); !strings.Contains(log, "was removed from the cluster") {
			return errors.New("it does not say that it was removed")
		}
		return nil
	})
	if member := c.member(cl, joined.ID); member != nil {
		t.Errorf("it came back: %v", member)
	}
	l.waitFor(200)
	l.end()
	l.verify(c, c.Nodes[:3]...)
}

// One node of a dead majority becomes a cluster of its own, with all that it holds,
// and grows again.
func TestRecoverFromDeadMajority(t *testing.T) {
	t.Parallel()
	c := start(t, 3)
	l := startLoad(c, 8)
	l.waitFor(500)
	l.end()
	c.stopAll()
	for _, node := range c.Nodes[1:] {
		if err := os.RemoveAll(node.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	left := c.Nodes[0]
	peers := filepath.Join(c.dir, "peers.json")
	if err := os.WriteFile(peers, fmt.Appendf(nil, `[{"id": %q, "address": %q}]`, left.ID, left.RaftListen), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := tidemark(t, "", "recover", "--data-dir", left.DataDir, "--peers", peers); r.status != 0 {
		t.Fatalf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	c.Nodes = c.Nodes[:1]
	c.startAll()
	l.verify(c, left)

	joined, err := c.Join()
	if err != nil {
		t.Fatal(err)
	}
	// n2 was lost for good, so its name is free for a node with an empty directory.
	if err := joined.Start(); err != nil {
		t.Fatal(err)
	}
	c.waitVoter(c.client(), joined.ID)
	l.verify(c, left, joined)
}
