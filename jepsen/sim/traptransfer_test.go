package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Trap 8: two transfers of leadership to a node that does not answer, and the
// loss of leadership meanwhile, leave a goroutine that waits for ever and a flag that
// is never taken back: when this node leads again it refuses all writes. The
// server hands leadership only to a node that answers and has the whole log, and
// ends the process if Raft refuses for too long.
func TestTrapTransferHangs(t *testing.T) {
	// What hangs keeps the bubble from ending, and some memory until the tests end.
	showTrap(t, trap{number: 8, name: "a transfer that hangs refuses writes", bareTrials: *trials, bare: transferBare, trials: *trials, ours: transferServer, hangs: true})
}

// transferPatience is how long a leader may refuse writes.
const transferPatience = 30 * time.Second

// transferBare reports whether a node that leads again refuses all writes.
func transferBare(t *testing.T, rng *rand.Rand) bool {
	network := newMessages(rng)
	nodes := bareCluster(t, network, false, func(*raft.Config) {})
	defer stopBare(t, nodes)
	old := bareLeader(t, nodes...)
	rest := except(nodes, old)
	target := rest[rng.IntN(2)]
	release := network.hold(target.transport.address)
	for range 2 {
		old.Apply([]byte("what the target lacks"), 0)
		time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond))))
		// It fails after an election timeout.
		_ = old.LeadershipTransferToServer(target.config.LocalID, target.transport.address).Error()
	}
	time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
	releaseOld := network.hold(old.transport.address)
	time.Sleep(2 * old.config.LeaderLeaseTimeout)
	release()
	next := bareLeader(t, rest...)
	releaseOld()
	for range 100 {
		_ = next.LeadershipTransferToServer(old.config.LocalID, old.transport.address).Error()
		time.Sleep(500 * time.Millisecond)
		if old.State() == raft.Leader {
			break
		}
		next = bareLeader(t, rest...)
	}
	for begun := time.Now(); time.Since(begun) < transferPatience; time.Sleep(50 * time.Millisecond) {
		if err := old.Apply([]byte("x"), time.Second).Error(); !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return false
		}
	}
	return true
}

// transferServer does the same to the server's floors.
func transferServer(t *testing.T, rng *rand.Rand) bool {
	s := startForTrap(t, Options{Seed: rng.Uint64(), Nodes: 3, SnapshotInterval: time.Second, TrailingTime: time.Minute}, t.TempDir())
	defer s.stop(t)
	old := s.leader(t)
	n := &nemesis{cluster: s.Cluster, rng: rng}
	target := old
	for target == old {
		target = n.some(1)[0]
	}
	p := old.running()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	for range 2 {
		// The link breaks while leadership is handed over, or before.
		cut := time.AfterFunc(time.Duration(rng.Int64N(int64(20*time.Millisecond))), func() { n.split([]*Node{target}) })
		s.write(t, target)
		_, _ = p.raft.TransferLeadership(ctx, target.ID)
		cut.Stop()
		s.Network.Heal()
	}
	_, heal := n.split([]*Node{old})
	s.write(t, old)
	heal()
	for range 100 {
		if leader := s.leader(t); leader == old {
			break
		} else if q := leader.running(); q != nil {
			_, _ = q.raft.TransferLeadership(ctx, old.ID)
		}
		time.Sleep(500 * time.Millisecond)
	}
	for begun := time.Now(); time.Since(begun) < transferPatience; time.Sleep(50 * time.Millisecond) {
		for _, node := range s.Nodes {
			if _, ok := s.try(node, time.Second); ok {
				return false
			}
		}
	}
	return true
}
