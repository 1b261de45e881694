package sim

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A start that a disk holds up is not overtaken by another one of the same node.
func TestStartsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startForTrap(t, Options{Seed: *first, Nodes: 3, SnapshotInterval: time.Second, TrailingTime: time.Minute}, t.TempDir())
		defer s.stop(t)
		s.write(t, nil)
		node := s.Nodes[0]
		node.running().die(false)
		goOn := node.faults.hang()
		var starting sync.WaitGroup
		for range 2 {
			starting.Go(func() {
				if err := node.start(); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(3 * time.Second)
		goOn()
		starting.Wait()
		if node.starts != 2 || node.running() == nil {
			t.Errorf("%d processes were started, and one runs: %v", node.starts, node.running() != nil)
		}
	})
}
