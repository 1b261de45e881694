package sim

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Trap 3: the library writes the term of a vote, then its candidate. A crash between
// the two leaves a vote for the candidate of the vote before, who gets it also
// if he lacks what was acknowledged. Package logstore writes both at once.
func TestTrapVoteIsTwoWrites(t *testing.T) {
	showTrap(t, trap{
		number: 3, name: "a crash within a vote elects who lacks entries", bareTrials: 2 * *trials, trials: *trials,
		bare: func(t *testing.T, rng *rand.Rand) bool { return crashInVote(t, rng, false) },
		ours: func(t *testing.T, rng *rand.Rand) bool { return crashInVote(t, rng, true) },
	})
}

// crashInVote has a voter crash within a vote, and then a candidate whom it voted
// for before ask it in the same term. It reports whether an acknowledged entry is lost.
// With defence term and vote are kept by package logstore.
func crashInVote(t *testing.T, rng *rand.Rand, defence bool) bool {
	network := newMessages(rng)
	armed := map[raft.ServerID]*atomic.Bool{}
	disks := newDisks(t)
	nodes := bareClusterOn(t, network, false, func(*raft.Config) {}, func(n *bareNode) (raft.LogStore, raft.StableStore) {
		crash := &atomic.Bool{}
		armed[n.config.LocalID] = crash
		stable := crashingStable{n.store, crash, n.transport}
		if defence {
			stable.StableStore = disks.open(n).Stable()
		}
		return n.store, stable
	})
	stale := bareLeader(t, nodes...)
	voter := except(nodes, stale)[0]
	if candidate, err := voter.stable.Get([]byte(voteCandidateKey)); err != nil || string(candidate) != string(stale.transport.address) {
		voter = except(nodes, stale)[1]
	}
	other := except(except(nodes, stale), voter)[0]
	defer func() { stopBare(t, []*bareNode{stale, voter, other}) }()

	// The other one leads, without the voter's vote, and a write does not reach the
	// one that led before.
	heal := network.cut(voter.transport.address)
	for other.State() != raft.Leader {
		_ = stale.LeadershipTransferToServer(other.config.LocalID, other.transport.address).Error()
		time.Sleep(100 * time.Millisecond)
	}
	heal()
	time.Sleep(5 * time.Second)
	healStale := network.cut(stale.transport.address)
	const written = "acknowledged"
	write := other.Apply([]byte(written), time.Second)
	if write.Error() != nil {
		return false // this node has lost leadership by chance
	}

	// It asks for a vote in a new term, and the voter crashes within it.
	armed[voter.config.LocalID].Store(true)
	if err := standNow(other); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	network.cut(other.transport.address)
	voter = voter.reborn(t, &bareMachine{}, func() {})
	healStale()
	time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
	if err := standNow(stale); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Second)
	var entry raft.Log
	leader := bareLeader(t, stale, voter)
	return leader.logs.GetLog(write.Index(), &entry) != nil || !bytes.Equal(entry.Data, []byte(written))
}

// standNow delivers a TimeoutNow, as a transfer of leadership does, perhaps a late one.
func standNow(n *bareNode) error {
	_, err := n.transport.deliver(&raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}})
	return err
}

// crashingStable ends the node's process, when it is armed, between the two writes of a vote.
type crashingStable struct {
	raft.StableStore
	armed     *atomic.Bool
	transport *bareTransport
}

var errCrashed = errors.New("the process has crashed")

func (s crashingStable) Set(key, value []byte) error {
	if string(key) == voteCandidateKey && s.armed.Load() {
		s.transport.die()
		return errCrashed
	}
	return s.StableStore.Set(key, value)
}
