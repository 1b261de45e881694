package sim

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/fsm"
)

// Trap 6: a leader whose disk hangs goes on to send heartbeats, so nobody else is
// elected, and nothing can be written for as long as it hangs. The server ends the
// process after ten seconds.
func TestTrapDiskOfTheLeaderHangs(t *testing.T) {
	count := max(*trials/3, 1)
	showTrap(t, trap{number: 6, name: "a leader whose disk hangs stays leader", bareTrials: count, bare: hangBare, trials: count, ours: hangServer, always: true})
}

// hangPatience is the limit of package logstore, and some elections.
const hangPatience = 18 * time.Second

// hangBare reports whether nobody took over within a minute.
func hangBare(t *testing.T, rng *rand.Rand) bool {
	nodes := bareCluster(t, newMessages(rng), false, func(*raft.Config) {})
	defer stopBare(t, nodes)
	leader := bareLeader(t, nodes...)
	var writing sync.WaitGroup
	defer writing.Wait()
	goOn := leader.store.close()
	defer goOn()
	writing.Go(func() { leader.Apply([]byte("x"), 0).Error() })
	for range 60 {
		time.Sleep(time.Second)
		for _, n := range except(nodes, leader) {
			if n.State() == raft.Leader {
				return false
			}
		}
	}
	return true
}

// hangServer reports whether no write was acknowledged in time.
func hangServer(t *testing.T, rng *rand.Rand) bool {
	s := startForTrap(t, Options{Seed: rng.Uint64(), Nodes: 3, SnapshotInterval: time.Second, TrailingTime: time.Minute}, t.TempDir())
	defer s.stop(t)
	old := s.leader(t)
	begun := time.Now()
	defer old.faults.hang()()
	old.running().raft.ProposeAsync(fsm.Noop{}.Encode())
	for time.Since(begun) < hangPatience {
		for _, n := range s.Nodes {
			if n != old {
				if _, ok := s.try(n, time.Second); ok {
					return false
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

// Trap 12: the library believes the metadata of a snapshot that it received, also
// if the process ended before the state machine had it. A state machine that
// keeps its own state then lacks all that the snapshot stood for. In the server
// the state machine is the snapshot.
func TestTrapSnapshotIsAdoptedUnseen(t *testing.T) {
	showTrap(t, trap{number: 12, name: "a snapshot's metadata is trusted unseen", bareTrials: *trials, bare: adoptBare, trials: *trials, ours: adoptServer})
}

// restoreTime is how long a bare state machine takes to swap a state in.
const restoreTime = 50 * time.Millisecond

// Snapshot gives the count.
func (m *bareMachine) Snapshot() (raft.FSMSnapshot, error) {
	return countSnapshot(binary.BigEndian.AppendUint64(nil, uint64(m.count()))), nil
}

// Restore takes its time, and has happened at its end or, if the process ends
// before that, not at all.
func (m *bareMachine) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	time.Sleep(restoreTime)
	m.mu.Lock()
	m.applied = int(binary.BigEndian.Uint64(b))
	m.restored++
	installed := m.installed
	m.mu.Unlock()
	if installed != nil {
		installed()
	}
	return nil
}

type countSnapshot []byte

func (s countSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.Copy(sink, bytes.NewReader(s)); err != nil {
		return err
	}
	return sink.Close()
}
func (countSnapshot) Release() {}

// adoptBare has a follower receive a snapshot, ends it at a random moment, starts
// it again on what it had stored, and compares what was applied.
func adoptBare(t *testing.T, rng *rand.Rand) bool {
	network := newMessages(rng)
	nodes := bareCluster(t, network, false, func(c *raft.Config) { c.TrailingLogs, c.NoSnapshotRestoreOnStart = 0, true })
	leader := bareLeader(t, nodes...)
	away := except(nodes, leader)[rng.IntN(2)]
	release := network.hold(away.transport.address)
	for range 20 {
		if err := leader.Apply([]byte("x"), time.Second).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := leader.Raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	release()
	time.Sleep(time.Duration(rng.Int64N(int64(4 * restoreTime))))
	left := away.machine.count()
	// The next leader does not know that the snapshot was not received.
	again := away.reborn(t, &bareMachine{applied: left}, func() {
		next := except(except(nodes, away), leader)[0]
		for range 10 {
			if leader.LeadershipTransferToServer(next.config.LocalID, next.transport.address).Error() == nil {
				break
			}
		}
		leader = bareLeader(t, next)
	})
	for i, n := range nodes {
		if n == away {
			nodes[i] = again
		}
	}
	defer stopBare(t, nodes)
	bareLeader(t, nodes...)
	time.Sleep(20 * time.Second)
	return again.machine.count() != leader.machine.count()
}

// adoptServer does the same to the server's floors.
func adoptServer(t *testing.T, rng *rand.Rand) bool {
	s := startForTrap(t, Options{Seed: rng.Uint64(), Nodes: 3, SnapshotInterval: time.Second, TrailingTime: 10 * time.Millisecond}, t.TempDir())
	defer s.stop(t)
	leader := s.leader(t)
	n := &nemesis{cluster: s.Cluster, rng: rng}
	away := leader
	for away == leader {
		away = n.some(1)[0]
	}
	_, heal := n.split([]*Node{away})
	for range 20 {
		s.write(t, away)
	}
	time.Sleep(5 * time.Second) // snapshots are taken, and the log before them is deleted
	heal()
	time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
	if p := away.running(); p != nil {
		p.die(rng.IntN(2) == 0)
	}
	time.Sleep(time.Second)
	if err := away.start(); err != nil {
		t.Error(err)
		return true
	}
	position := s.write(t, nil)
	for range 300 {
		if p := away.running(); p != nil && p.machine.Applied().Index >= position {
			_, err := p.store.Check(nil)
			return err != nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the node did not catch up")
	return true
}
