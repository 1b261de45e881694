package raftnode

import (
	"errors"
	"slices"
	"testing"

	"tidemark"
	"tidemark/raftnode/logstore"
)

func TestRecoverOneOfADeadMajority(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 3, nil)
		c.fill("a", 50)
		want := c.agree()
		survivor := c.followers(c.leader())[0]
		for id := range c.nodes {
			c.stop(id)
		}
		survivor.machine.crash() // nothing was ever synced: all comes from the log
		peers := []Peer{{ID: survivor.id, Address: survivor.address}}
		if err := Recover(c.config(survivor), peers); err != nil {
			t.Fatal(err)
		}
		if err := Recover(c.config(survivor), peers); err != nil {
			t.Fatalf("recovering twice: %v", err)
		}
		for id := range c.nodes {
			if id != survivor.id {
				delete(c.nodes, id)
			}
		}
		c.restart(survivor.id)
		c.propose("b")
		if got := c.agree(); !slices.Equal(got[:len(want)], want) || got[len(want)] != "b" {
			t.Fatalf("it holds %d commands, had %d", len(got), len(want))
		}
		// Others join, also under an old id with a new disk.
		joined := c.join("n9")
		reborn := c.join(map[bool]string{true: "n1", false: "n2"}[survivor.id != "n1"])
		for _, node := range []*testNode{joined, reborn} {
			if err := c.leader().AddMember(testContext(t), node.id, node.address); err != nil {
				t.Fatal(err)
			}
			eventually(t, node.id+" is promoted", func() bool { return c.leader().PromoteMember(testContext(t), node.id) == nil })
		}
		c.propose("c")
		c.agree()
		c.stop(survivor.id)
		survivor.machine.crash()
		c.restart(survivor.id)
		c.propose("d")
		c.agree()
	})
}

func TestRecoverIsRefused(t *testing.T) {
	c := newCluster(t, logstore.WAL, 1, nil)
	c.propose("a")
	node := c.nodes["n1"]
	self := []Peer{{ID: "n1", Address: node.address}}
	if err := Recover(c.config(node), self); err == nil {
		t.Fatal("a running node was recovered")
	}
	c.stop("n1")
	for name, peers := range map[string][]Peer{
		"nobody":    nil,
		"others":    {{ID: "n2", Address: "a:1"}},
		"no voter":  {{ID: "n1", Address: "a:1", NonVoter: true}},
		"twice":     {{ID: "n1", Address: "a:1"}, {ID: "n1", Address: "a:2"}},
		"no vote":   {{ID: "n1", Address: "a:1", NonVoter: true}, {ID: "n2", Address: "a:2"}},
		"same port": {{ID: "n1", Address: "a:1"}, {ID: "n2", Address: "a:1"}},
	} {
		if err := Recover(c.config(node), peers); !errors.Is(err, tidemark.ErrMembershipUnsafe) && !errors.Is(err, tidemark.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	empty := c.add("n5", "127.0.0.1:1")
	if err := Recover(c.config(empty), []Peer{{ID: "n5", Address: "a:1"}}); err == nil {
		t.Error("a directory that does not exist was recovered")
	}
	dir, err := Claim(empty.dir, "n5", logstore.WAL)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Recover(c.config(empty), []Peer{{ID: "n5", Address: "a:1"}}); err == nil {
		t.Error("an empty directory was recovered")
	}
	delete(c.nodes, "n5")
	c.restart("n1")
	c.propose("b")
}
