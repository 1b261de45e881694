//go:build linux

package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	tm "tidemark"
	"tidemark/client"
	"tidemark/internal/localcluster"
)

// server is a node alone, whose data directory is on a disk.
type server struct {
	t      *testing.T
	node   *localcluster.Node
	client *client.Client

	mu sync.Mutex
	// acknowledged holds the payload of each acknowledged message.
	acknowledged map[address]string
}

type address struct {
	timeline tm.TimelineID
	seq      tm.SeqID
}

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "tidemark")
	if out, err := exec.Command("go", "build", "-o", path, "tidemark/cmd/tidemark").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func newServer(t *testing.T, dir, store string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds and runs a server")
	}
	binary, err := build()
	must(t, err)
	cluster, err := localcluster.New(binary, t.TempDir(), 1, 0)
	must(t, err)
	s := &server{t: t, node: cluster.Nodes[0], acknowledged: map[address]string{}}
	s.node.DataDir = filepath.Join(dir, "data")
	s.node.Args = append(s.node.Args, "--log-store", store)
	s.client, err = client.New(cluster.Endpoints())
	must(t, err)
	t.Cleanup(func() {
		must(t, s.client.Close())
		must(t, s.node.Kill())
	})
	return s
}

func (s *server) start(ctx context.Context) error {
	if err := s.node.Start(); err != nil {
		return err
	}
	return s.node.WaitReady(ctx)
}

// load appends from several goroutines until that many more are acknowledged, and
// kills the server while they go on.
func (s *server) load(ctx context.Context, round, more int) {
	s.t.Helper()
	ctx, stop := context.WithCancel(ctx)
	enough := make(chan struct{})
	before := len(s.acknowledged)
	var writers sync.WaitGroup
	for writer := range 8 {
		timeline := tm.TimelineID(fmt.Sprintf("conv/%d", writer%3))
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				payload := fmt.Sprintf("round %d, writer %d, message %d", round, writer, i)
				sent, err := s.client.Append(ctx, client.Draft{Timeline: timeline, Sender: "s", Payload: []byte(payload)})
				if err != nil {
					continue
				}
				s.mu.Lock()
				s.acknowledged[address{timeline, sent.SeqID}] = payload
				if len(s.acknowledged) == before+more {
					close(enough)
				}
				s.mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-ctx.Done():
		s.t.Error(ctx.Err())
	}
	must(s.t, s.node.Kill())
	stop()
	writers.Wait()
}

// lost returns how many acknowledged messages are not there.
func (s *server) lost(ctx context.Context) (int, error) {
	lost := 0
	for at, payload := range s.acknowledged {
		message, err := s.client.Get(ctx, at.timeline, at.seq)
		switch {
		case errors.Is(err, tm.ErrTimelineNotFound), errors.Is(err, tm.ErrMessageNotFound):
			lost++
		case err != nil:
			return 0, err
		case string(message.Payload) != payload:
			lost++
		}
	}
	return lost, nil
}

// formUnderFailures starts a new server that loses its power at a sync, and at a later
// one, until it did not come to that many within a moment. It returns how often.
func (s *server) formUnderFailures(d *Disk, seed uint64) int {
	s.t.Helper()
	for failures := 0; ; failures++ {
		// The servers of one test are hit at different ones.
		sync := 1 + int(seed) + 5*failures
		stall, err := d.Stall(Rule{Ops: OpsSync, Skip: sync - 1}, 0)
		must(s.t, err)
		must(s.t, s.node.Start())
		for deadline := time.Now().Add(500 * time.Millisecond); stall.Hits() == 0 && s.node.Running() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if !s.node.Running() {
			log, _ := os.ReadFile(s.node.LogPath)
			s.t.Fatalf("the server ended by itself after power failure %d:\n%s", failures, log[max(0, len(log)-2000):])
		}
		hits := stall.Hits()
		must(s.t, s.node.Kill())
		stall.Heal()
		_, err = d.PowerFailure(uint64(sync))
		must(s.t, err)
		if hits == 0 {
			return failures
		}
	}
}

// TestServerKeepsWhatItAcknowledged takes the power of a whole server again and again.
func TestServerKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	for seed, store := range []string{"wal", "boltdb", "wal", "boltdb"} {
		t.Run(fmt.Sprint(store, seed), func(t *testing.T) {
			t.Parallel()
			d, dir := mounted(t, Options{OneJournal: seed == 3})
			s := newServer(t, dir, store)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if seed < 2 {
				failures := s.formUnderFailures(d, uint64(seed))
				t.Logf("the power failed %d times before the server was ready", failures)
			}
			must(t, s.start(ctx))
			_, err := d.Stall(Rule{Ops: OpsSync, Probability: 0.2}, 2*time.Millisecond)
			must(t, err)
			s.load(ctx, 0, 100+200*seed)
			loss, err := d.PowerFailure(uint64(seed))
			must(t, err)
			t.Logf("%d acknowledged, lost %+v", len(s.acknowledged), loss)
			must(t, s.start(ctx))
			lost, err := s.lost(ctx)
			must(t, err)
			if lost > 0 {
				t.Fatalf("%d of %d acknowledged messages are lost", lost, len(s.acknowledged))
			}
		})
	}
}

// TestServerOnADiskThatLiesIsFoundOut proves that the test above can fail.
func TestServerOnADiskThatLiesIsFoundOut(t *testing.T) {
	t.Parallel()
	d, dir := mounted(t, Options{})
	s := newServer(t, dir, "wal")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, s.start(ctx))
	_, err := d.Lie(Rule{Ops: OpSync, Path: "data/raft/**"})
	must(t, err)
	s.load(ctx, 0, 100)
	_, err = d.LoseUnsynced()
	must(t, err)
	must(t, s.start(ctx))
	lost, err := s.lost(ctx)
	must(t, err)
	if lost == 0 {
		t.Fatal("nothing is lost")
	}
	t.Logf("%d of %d acknowledged messages are lost", lost, len(s.acknowledged))
}
