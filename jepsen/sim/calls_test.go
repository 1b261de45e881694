package sim

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// While a third of Raft's calls are lost, doubled or late, writes are acknowledged
// nevertheless, and all logs agree.
func TestUnrulyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startForTrap(t, Options{Seed: *first, Nodes: 3, SnapshotInterval: time.Second, TrailingTime: time.Minute}, t.TempDir())
		defer s.stop(t)
		n := &nemesis{cluster: s.Cluster, rng: rand.New(rand.NewPCG(*first, 12))}
		_, heal := n.links("all", Link{Delay: usualLink.Delay, Jitter: usualLink.Jitter, Unruly: 0.3})
		begun := time.Now()
		for time.Since(begun) < 15*time.Second {
			s.write(t, nil)
		}
		heal()
		position := s.write(t, nil)
		time.Sleep(maxLate + copyPatience)
		w := &s.Network.Traffic
		if w.Lost.Load() == 0 || w.Late.Load() == 0 || w.Doubled.Load() == 0 || w.Overtaken.Load() == 0 {
			t.Errorf("of %d calls %d were lost, %d late, %d doubled; %d copies were overtaken",
				w.Calls.Load(), w.Lost.Load(), w.Late.Load(), w.Doubled.Load(), w.Overtaken.Load())
		}
		entry := map[uint64]raft.Log{}
		for _, node := range s.Nodes {
			last := (&openLogs{disk: node.log}).LastIndex()
			if last < position {
				t.Errorf("%s ends at entry %d, and %d was acknowledged", node.ID, last, position)
			}
			for i := uint64(1); i <= last; i++ {
				e, ok := node.log.get(i)
				if other, seen := entry[i]; ok && seen && (e.Term != other.Term || string(e.Data) != string(other.Data)) {
					t.Fatalf("entry %d differs", i)
				}
				if ok {
					entry[i] = e
				}
			}
		}
	})
}
