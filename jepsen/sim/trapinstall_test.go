package sim

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Trap 5: a follower whose log conflicts beyond a snapshot's index keeps that tail
// when it installs the snapshot, refuses what comes next, and is sent the snapshot
// again, for ever. Package logstore empties such a log when the state is
// installed, and asks for a restart of the process.
func TestTrapSnapshotsForEver(t *testing.T) {
	showTrap(t, trap{
		number: 5, name: "a conflicting tail asks for snapshots for ever", bareTrials: *trials, trials: *trials, always: true,
		bare: func(t *testing.T, rng *rand.Rand) bool { return conflict(t, rng, false) },
		ours: func(t *testing.T, rng *rand.Rand) bool { return conflict(t, rng, true) },
	})
}

const (
	// tooManyInstalls is what the server raises the alarm at.
	tooManyInstalls = 3
	// installPatience is enough for many more.
	installPatience = 15 * time.Second
)

// conflict has a leader that is cut off append what is never committed, and come back
// when the others have a snapshot. It reports whether it is sent too many. With
// defence its log is that of package logstore, and it does what package raftnode
// does when a snapshot was installed.
func conflict(t *testing.T, rng *rand.Rand, defence bool) bool {
	network := newMessages(rng)
	restart := make(chan struct{}, 1)
	var open func(*bareNode) (raft.LogStore, raft.StableStore)
	if defence {
		disks := newDisks(t)
		open = func(n *bareNode) (raft.LogStore, raft.StableStore) {
			store := disks.open(n)
			n.machine.installed = func() {
				snapshots, err := n.snapshots.List()
				if err != nil {
					t.Error(err)
				}
				n.machine.reached(snapshots[0].Index)
				conflict, err := store.SnapshotInstalled(snapshots[0].Index, snapshots[0].Term)
				if err != nil {
					t.Error(err)
				}
				if conflict { // here the server's process ends
					n.transport.die()
					restart <- struct{}{}
				}
			}
			return store.Log(), store.Stable()
		}
	}
	nodes := bareClusterOn(t, network, false, func(c *raft.Config) { c.TrailingLogs, c.NoSnapshotRestoreOnStart = 0, true }, open)
	old := bareLeader(t, nodes...)
	rest := except(nodes, old)
	release := network.hold(old.transport.address)
	for range 40 + rng.IntN(40) {
		old.Apply([]byte("never committed"), 0)
	}
	leader := bareLeader(t, rest...)
	for range 1 + rng.IntN(5) {
		leader.Apply([]byte("x"), 0)
	}
	time.Sleep(time.Second)
	if err := leader.Raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	release()
	select {
	case <-restart:
		old = old.reborn(t, old.machine, func() {})
	case <-time.After(installPatience):
	}
	time.Sleep(installPatience)
	defer stopBare(t, append(rest, old))
	return old.machine.installs() > tooManyInstalls || old.machine.count() < leader.machine.count()
}
