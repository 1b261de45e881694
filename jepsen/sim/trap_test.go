package sim

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/fsm"
)

var trials = flag.Int("sim.trials", 6, "how many trials of each trap")

// Trap 1: a heartbeat that is handled beside the main loop changes the term under a
// leader, which then stamps an entry with a term that another node leads: two
// entries with the same index and term, and different data.
func TestTrapHeartbeatChangesTheTerm(t *testing.T) {
	showTrap(t, trap{
		number: 1, name: "a heartbeat changes the term under a leader", bareTrials: *trials, trials: *trials,
		bare: func(t *testing.T, rng *rand.Rand) bool { return usurp(t, rng, true) },
		ours: func(t *testing.T, rng *rand.Rand) bool { return usurp(t, rng, false) },
	})
}

// usurp has a follower take leadership by a late TimeoutNow while clients write
// to the leader, to which all but heartbeats is slow now. It reports whether
// two logs hold different entries with one index and term.
func usurp(t *testing.T, rng *rand.Rand, fastPath bool) bool {
	network := newMessages(rng)
	network.delay = 20 * time.Millisecond
	nodes := bareCluster(t, network, fastPath, func(c *raft.Config) { c.LeaderLeaseTimeout = c.HeartbeatTimeout })
	defer stopBare(t, nodes)
	leader := bareLeader(t, nodes...)
	rest := except(nodes, leader)
	time.Sleep(time.Second)
	stop, written := make(chan struct{}), make(chan struct{})
	pauses := rand.New(rand.NewPCG(rng.Uint64(), 11))
	go func() {
		defer close(written)
		for i := byte(0); sleepUnless(stop, time.Duration(pauses.Int64N(int64(800*time.Millisecond)))); i++ {
			leader.Apply([]byte{'c', i}, 0)
		}
	}()
	for range 5 {
		// The others are a majority without it.
		network.slowDown(leader.transport.address, time.Second)
		next := rest[rng.IntN(len(rest))]
		if err := standNow(next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		network.slowDown(leader.transport.address, 0)
		time.Sleep(5 * time.Second)
		if leader.State() != raft.Leader {
			break
		}
	}
	close(stop)
	<-written
	time.Sleep(5 * time.Second)
	return !logsMatch(t, nodes)
}

// logsMatch compares all entries of all nodes.
func logsMatch(t *testing.T, nodes []*bareNode) bool {
	t.Helper()
	type place struct{ index, term uint64 }
	seen := map[place][]byte{}
	for _, n := range nodes {
		last, err := n.store.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= last; i++ {
			var entry raft.Log
			if err := n.store.GetLog(i, &entry); err != nil {
				t.Fatal(err)
			}
			data := append([]byte{byte(entry.Type)}, entry.Data...)
			at := place{entry.Index, entry.Term}
			if other, ok := seen[at]; ok && !bytes.Equal(other, data) {
				return false
			}
			seen[at] = data
		}
	}
	return true
}

// Trap 2: VerifyLeader counts answers that were given before it was asked, so a
// leader that was paused verifies itself after its successor has acknowledged a
// write. The read index of package raftnode never does.
func TestTrapReadIndexOfAPausedLeader(t *testing.T) {
	// It takes some luck, and little time.
	showTrap(t, trap{number: 2, name: "a paused leader verifies itself", bareTrials: 20 * *trials, bare: verifyPaused, trials: *trials, ours: readPaused})
}

// verifyPaused pauses a leader, with answers on their way to it, until another node
// leads and has acknowledged a write. It reports whether the leader then verifies itself.
func verifyPaused(t *testing.T, rng *rand.Rand) bool {
	network := newMessages(rng)
	network.delay = 100 * time.Millisecond
	nodes := bareCluster(t, network, false, func(c *raft.Config) {
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 2*time.Second, 2*time.Second, 2*time.Second
	})
	defer stopBare(t, nodes)
	old := bareLeader(t, nodes...)
	rest := except(nodes, old)
	time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
	goOn, release := old.store.close(), network.hold(old.transport.address)
	old.Apply([]byte("never committed"), 0)
	time.Sleep(100 * time.Millisecond) // what the leader has sent is answered
	next := bareLeader(t, rest...)     // it has acknowledged a write
	acknowledged := next.machine.count()
	// Reads and writes came while it was paused.
	var reads []raft.Future
	var writing sync.WaitGroup
	defer writing.Wait()
	for range 30 {
		reads = append(reads, old.VerifyLeader())
		writing.Go(func() { old.Apply([]byte("never committed"), 0) })
	}
	goOn()
	release()
	stale := false
	for _, read := range reads {
		stale = read.Error() == nil && old.machine.count() < acknowledged || stale
	}
	return stale
}

// readPaused does the same to the server's floors.
func readPaused(t *testing.T, rng *rand.Rand) bool {
	o := Options{Seed: rng.Uint64(), Nodes: 3, SnapshotInterval: time.Second, TrailingTime: time.Minute}
	s := startForTrap(t, o, t.TempDir())
	defer s.stop(t)
	old := s.leader(t)
	p := old.running()
	time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
	n := &nemesis{cluster: s.Cluster, rng: rng}
	goOn := old.faults.hang()
	_, heal := n.split([]*Node{old})
	p.raft.ProposeAsync(fsm.Noop{}.Encode())
	time.Sleep(3 * time.Second)
	acknowledged := s.write(t, old)
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	type answer struct {
		index uint64
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		index, err := p.raft.ReadIndex(ctx)
		answers <- answer{index, err}
	}()
	heal()
	goOn()
	a := <-answers
	return a.err == nil && a.index < acknowledged
}
