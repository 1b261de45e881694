package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"tidemark/fsm"
)

// Trap 9: with BatchApplyCh the library takes commands into a buffer that nobody
// empties when it shuts down. A future that lies there is never answered, and knows
// no context; without the option that is rarer, by what is committed and waits for the
// state machine. The server leaves it off, has a waiter of its own for each
// proposal, and answers all.
func TestTrapFuturesHang(t *testing.T) {
	showTrap(t, trap{
		number: 9, name: "futures hang after a shutdown", bareTrials: 5 * *trials, trials: *trials,
		bare: abandonBare, ours: abandonServer,
	})
}

const (
	// crowd is how many commands wait when a node shuts down.
	crowd = 100
	// futurePatience is how long after the shutdown an answer may take.
	futurePatience = time.Minute
)

// abandonBare shuts a leader down while commands wait, and reports whether one of
// them was never answered.
func abandonBare(t *testing.T, rng *rand.Rand) bool {
	nodes := bareCluster(t, newMessages(rng), false, func(c *raft.Config) { c.BatchApplyCh = true })
	leader := bareLeader(t, nodes...)
	defer stopBare(t, except(nodes, leader))
	leader.machine.slow = time.Millisecond
	release := make(chan struct{})
	var hung atomic.Int64
	for range crowd {
		go func() {
			future := leader.Apply([]byte("x"), 0)
			if !releasable(future, release) {
				return // it was refused
			}
			if errors.Is(future.Error(), raft.ErrRaftShutdown) {
				select {
				case <-release:
					hung.Add(1)
				default:
				}
			}
		}()
	}
	time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond))))
	stopBare(t, []*bareNode{leader})
	time.Sleep(futurePatience)
	close(release)
	time.Sleep(time.Second)
	return hung.Load() > 0
}

// releasable gives a command's future what the library gives to futures of other
// kinds alone: a channel that ends the wait. A goroutine that waits for ever would
// keep the bubble from ending.
func releasable(future raft.ApplyFuture, release chan struct{}) bool {
	v := reflect.ValueOf(future)
	if v.Kind() != reflect.Pointer {
		return false
	}
	v.Elem().FieldByName("ShutdownCh").Set(reflect.ValueOf(release))
	return true
}

// abandonServer does the same to the server's floors.
func abandonServer(t *testing.T, rng *rand.Rand) bool {
	s := startForTrap(t, Options{Seed: rng.Uint64(), Nodes: 3, SnapshotInterval: time.Second, TrailingTime: time.Minute}, t.TempDir())
	defer s.stop(t)
	leader := s.leader(t)
	p := leader.running()
	ctx, cancel := context.WithTimeout(context.Background(), futurePatience)
	defer cancel()
	answers := make(chan error, crowd)
	for range crowd {
		go func() {
			_, err := p.raft.ProposeAsync(fsm.Noop{}.Encode()).Wait(ctx)
			answers <- err
		}()
	}
	time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Millisecond))))
	if err := leader.stop(); err != nil {
		t.Error(err)
	}
	for range crowd {
		<-answers
	}
	return ctx.Err() != nil
}
