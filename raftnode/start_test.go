package raftnode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"tidemark"
	"tidemark/raftnode/logstore"
)

// fakeLog is a log of entries first to last, each of one term.
type fakeLog struct {
	first, last, term uint64
	fitted            bool
}

func (l *fakeLog) FirstIndex() uint64 { return l.first }
func (l *fakeLog) LastIndex() uint64  { return l.last }
func (l *fakeLog) Term(i uint64) (uint64, bool, error) {
	return l.term, i >= l.first && i <= l.last && l.last > 0, nil
}
func (l *fakeLog) SnapshotInstalled(uint64, uint64) (bool, error) { l.fitted = true; return false, nil }

func TestStartChecks(t *testing.T) {
	members := raft.EncodeConfiguration(threeMembers)
	for _, c := range []struct {
		what                             string
		first, last, term                uint64
		index, installed                 uint64
		noMembers, damaged, want, fitted bool
	}{
		{what: "a new node", want: true},
		{what: "a log and no state yet", first: 1, last: 9, want: true},
		{what: "no state, and the log's beginning is gone", first: 5, last: 9},
		{what: "the usual", first: 5, last: 20, term: 3, index: 10, want: true},
		{what: "all applied", first: 5, last: 10, term: 3, index: 10, want: true},
		{what: "the log begins right behind the state", first: 11, last: 20, term: 3, index: 10, want: true},
		{what: "a gap between state and log", first: 12, last: 20, term: 3, index: 10},
		{what: "the state is beyond the log", first: 5, last: 9, term: 3, index: 10},
		{what: "the log is gone", index: 10},
		{what: "another term in the log", first: 5, last: 20, term: 2, index: 10},
		{what: "installed, then the process ended", first: 1, last: 5, term: 3, index: 10, installed: 10, want: true, fitted: true},
		{what: "installed over a conflicting log, then the process ended", first: 1, last: 20, term: 2, index: 10, installed: 10, want: true, fitted: true},
		{what: "installed into an empty log", index: 10, installed: 10, want: true, fitted: true},
		{what: "installed long ago, then the log got lost", index: 12, installed: 10},
		{what: "installed long ago, and the log is short", first: 1, last: 11, term: 3, index: 12, installed: 10},
		{what: "installed long ago, and the log goes on", first: 11, last: 20, term: 3, index: 12, installed: 10, want: true},
		{what: "no members", first: 5, last: 20, term: 3, index: 10, noMembers: true},
		{what: "damaged members", first: 5, last: 20, term: 3, index: 10, damaged: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := newFakeMachine()
			m.state.Applied = tidemark.Applied{Index: c.index, InstalledIndex: c.installed}
			if c.index > 0 {
				m.state.Applied.Term, m.state.Applied.Membership, m.state.Applied.MembershipIndex = 3, members, 1
			}
			if c.noMembers {
				m.state.Applied.Membership = nil
			}
			if c.damaged {
				m.state.Applied.Membership = []byte{0xff, 0x00, 0x13}
			}
			log := &fakeLog{first: c.first, last: c.last, term: c.term}
			err := checkStart(log, m)
			if c.want != (err == nil) {
				t.Fatalf("checkStart: %v", err)
			}
			if err != nil && !errors.Is(err, tidemark.ErrCorrupt) {
				t.Errorf("the error does not say that data is damaged: %v", err)
			}
			if log.fitted != c.fitted {
				t.Errorf("the log was made to fit: %v", log.fitted)
			}
		})
	}
}

// Restarting with a state machine that is ahead of the log, or without the log, is
// refused by a real node too.
func TestOpenRefusesALostLog(t *testing.T) {
	bothLogStores(t, func(t *testing.T, kind logstore.Kind) {
		c := newCluster(t, kind, 1, nil)
		c.fill("a", 20)
		c.stop("n1")
		node := c.nodes["n1"]
		if err := os.RemoveAll(filepath.Join(node.dir, raftDir)); err != nil {
			t.Fatal(err)
		}
		cfg := c.config(node)
		cfg.RaftListen = "127.0.0.1:0"
		cfg.InitialCluster = map[string]string{"n1": cfg.RaftAdvertise}
		if _, err := Open(cfg); err == nil {
			t.Fatal("a node without its log started")
		} else if !strings.Contains(err.Error(), "raft") {
			t.Errorf("the error does not say what is missing: %v", err)
		}
	})
}

func testLogs(t *testing.T, dir string) *logstore.Store {
	t.Helper()
	logs, err := logstore.Open(logstore.Options{Kind: logstore.WAL, Dir: dir, Durable: func() uint64 { return 0 },
		Fatal: func(err error) { panic(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	return logs
}

// Every first member writes the same, any number of times, also after a crash
// between the two writes.
func TestBootstrapIsIdempotent(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Machine, cfg.Logger = newFakeMachine(), raftDiscard
	cfg.InitialCluster = map[string]string{"n3": "c:3", "n1": "a:1", "n2": "b:2"}
	var data []string
	for i, prepare := range []func(*logstore.Store) error{
		func(*logstore.Store) error { return nil },
		func(l *logstore.Store) error { return l.Stable().SetUint64(keyCurrentTerm, 1) },
	} {
		logs := testLogs(t, filepath.Join(t.TempDir(), "raft"))
		if err := prepare(logs); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := bootstrap(&cfg, logs); err != nil {
				t.Fatal(i, err)
			}
		}
		var entry raft.Log
		if err := logs.Log().GetLog(1, &entry); err != nil || logs.LastIndex() != 1 || entry.Term != 1 {
			t.Fatal(i, err, logs.LastIndex(), entry.Term)
		}
		data = append(data, string(entry.Data))
	}
	if data[0] != data[1] {
		t.Error("two members wrote other entries")
	}
}

// A node whose log is gone but whose votes are not never forms a new cluster.
func TestBootstrapNotAfterAVote(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Machine, cfg.Logger = newFakeMachine(), raftDiscard
	cfg.InitialCluster = map[string]string{"n1": "a:1"}
	for _, prepare := range []func(raft.StableStore) error{
		func(s raft.StableStore) error { return s.SetUint64(keyCurrentTerm, 2) },
		func(s raft.StableStore) error {
			return errors.Join(s.SetUint64(keyCurrentTerm, 1), s.SetUint64(keyLastVoteTerm, 1), s.Set([]byte("LastVoteCand"), []byte("x")))
		},
	} {
		logs := testLogs(t, filepath.Join(t.TempDir(), "raft"))
		if err := prepare(logs.Stable()); err != nil {
			t.Fatal(err)
		}
		if err := bootstrap(&cfg, logs); err != nil || logs.LastIndex() != 0 {
			t.Fatal(err, logs.LastIndex())
		}
	}
}

// First members may start one by one, in any order, with any pause.
func TestClusterFormsInAnyOrder(t *testing.T) {
	c := &testCluster{t: t, kind: logstore.WAL, network: newNetwork(), initial: map[string]string{}, nodes: map[string]*testNode{}}
	listeners := map[string]interface{ Close() error }{}
	for i := range 3 {
		id := fmt.Sprintf("n%d", i+1)
		listener := c.listen("127.0.0.1:0")
		c.initial[id] = listener.Addr().String()
		listeners[id] = listener
		c.add(id, c.initial[id])
	}
	for _, l := range listeners {
		_ = l.Close()
	}
	t.Cleanup(c.stopAll)
	c.start("n3", c.initial, nil)
	eventually(t, "n3 stands for election", func() bool { return c.nodes["n3"].role() == "candidate" })
	if err := c.nodes["n3"].Ready(); !errors.Is(err, tidemark.ErrNoLeader) {
		t.Errorf("one of three is ready: %v", err)
	}
	c.start("n1", c.initial, nil)
	c.propose("two of three")
	c.stop("n3")
	c.restart("n3")
	c.start("n2", c.initial, nil)
	c.propose("all")
	c.agree()
}
