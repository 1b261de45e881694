package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tm "tidemark"
	"tidemark/client"
	"tidemark/internal/history"
	"tidemark/internal/localcluster"
)

// long skips a test that takes minutes and gigabytes, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("TIDEMARK_LONG") == "" {
		t.Skip("set TIDEMARK_LONG=1 to run it; it takes minutes and some gigabytes of disk")
	}
}

// bulk appends n messages of size random bytes to the timelines of the prefix, as
// fast as they are taken, and returns the newest position.
func bulk(t *testing.T, c *testCluster, prefix string, timelines, n, size int) tm.Position {
	t.Helper()
	cl := c.client(client.WithMaxInFlight(8192, 64<<20))
	random := rand.NewChaCha8([32]byte{1})
	var position atomic.Uint64
	flight := make(chan *client.Pending, 8192)
	done := make(chan error, 1)
	go func() {
		var failed error
		for pending := range flight {
			r, err := pending.Wait(context.Background())
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			position.Store(max(position.Load(), uint64(r.Position)))
		}
		done <- failed
	}()
	for i := range n {
		payload := make([]byte, size)
		_, _ = random.Read(payload)
		binary.BigEndian.PutUint64(payload, uint64(i/timelines))
		pending, err := cl.AppendAsync(context.Background(), client.Draft{
			Timeline: tm.TimelineID(fmt.Sprintf("%s/%d", prefix, i%timelines)),
			ID:       tm.MessageID(fmt.Sprintf("%d", i)), Sender: "bulk", Payload: payload,
		})
		if err != nil {
			t.Fatal(err)
		}
		flight <- pending
	}
	close(flight)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return tm.Position(position.Load())
}

// takeSnapshots has the node take five, and says how long they took and by how much
// the files below its data directory grew. What compactions do at the same time is in it.
func takeSnapshots(t *testing.T, c *testCluster, cl *client.Client, node *localcluster.Node) string {
	t.Helper()
	var figures []string
	for range 5 {
		before, err := c.status(cl, node)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, _, err := cl.Cluster().At(node.Listen).TakeSnapshot(testContext(t, patience)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		after, err := c.status(cl, node)
		if err != nil {
			t.Fatal(err)
		}
		grew := int64(after.GetDiskUsedBytes()) - int64(before.GetDiskUsedBytes())
		figures = append(figures, fmt.Sprintf("%v %+d bytes", took.Round(10*time.Microsecond), grew))
	}
	return strings.Join(figures, ", ")
}

// waitApplied waits until the node has applied the position, and returns how long that took.
func (c *testCluster) waitApplied(cl *client.Client, node *localcluster.Node, position tm.Position, limit time.Duration) time.Duration {
	c.t.Helper()
	begin := time.Now()
	eventually(c.t, limit, func() error {
		status, err := c.status(cl, node)
		if err == nil && status.GetAppliedIndex() < uint64(position) {
			err = fmt.Errorf("applied %d of %d", status.GetAppliedIndex(), position)
		}
		return err
	})
	return time.Since(begin)
}

// A follower that was away while the log was truncated gets a snapshot of more than
// 1 GiB, while appends go on. Prints what taking snapshots costs at 10 MiB and at
// 1 GiB, and the longest pause of appends.
func TestSnapshotStream(t *testing.T) {
	long(t)
	const (
		messageSize = 16 << 10
		timelines   = 50
	)
	c := start(t, 3, "--trailing-time", "1s", "--trailing-bytes", "16MiB", "--snapshot-interval", "2s")
	cl := c.client()
	bulk(t, c, "small", timelines, (10<<20)/messageSize, messageSize)
	leader := c.leader(cl)
	t.Logf("snapshots at 10 MiB: %s", takeSnapshots(t, c, cl, leader))

	away := c.follower(cl)
	atDeath, err := c.status(cl, away)
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Kill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	const messages = (1<<30 + 1<<26) / messageSize
	bulk(t, c, "large", timelines, messages, messageSize)
	t.Logf("appended %d messages of %d bytes in %v", messages, messageSize, time.Since(begin).Round(time.Millisecond))
	leader = c.leader(cl)
	t.Logf("snapshots at 1 GiB: %s", takeSnapshots(t, c, cl, leader))
	eventually(t, patience, func() error {
		status, err := c.status(cl, leader)
		if err == nil && status.GetFirstLogIndex() <= atDeath.GetLastLogIndex() {
			err = fmt.Errorf("the log of the leader still begins at %d", status.GetFirstLogIndex())
		}
		return err
	})

	l := startLoad(c, 16)
	l.waitFor(1000)
	t.Logf("longest pause of appends before: %v", l.longestPause().Round(time.Millisecond))
	begin = time.Now()
	if err := away.Start(); err != nil {
		t.Fatal(err)
	}
	c.waitApplied(cl, away, tm.Position(l.position.Load()), 5*time.Minute)
	t.Logf("the follower caught up in %v; longest pause of appends meanwhile: %v",
		time.Since(begin).Round(time.Millisecond), l.longestPause().Round(time.Millisecond))
	l.waitFor(500)
	l.end()
	if log := away.Log(); !strings.Contains(log, "snapshot") {
		t.Errorf("its log does not speak of a snapshot:\n%s", log)
	}
	l.verify(c, c.Nodes...)
	verifyBulk(t, c, "large", timelines, messages)
	c.stopAll()
	checkStopped(t, away)
}

// verifyBulk reads everything that bulk appended back from each node.
func verifyBulk(t *testing.T, c *testCluster, prefix string, timelines, n int) {
	t.Helper()
	digests := map[tm.TimelineID]tm.Digest{}
	for _, node := range c.Nodes {
		total := 0
		for i := range timelines {
			timeline := tm.TimelineID(fmt.Sprintf("%s/%d", prefix, i))
			chain := history.NewChain(timeline)
			for message, err := range c.only(node).Messages(testContext(t, patience), timeline, client.PageSize(200)) {
				if err != nil {
					t.Fatal(err)
				}
				if err := chain.Add(&message); err != nil {
					t.Fatal(err)
				}
				if got := binary.BigEndian.Uint64(message.Payload) + 1; got != uint64(message.SeqID) {
					t.Fatalf("%s: message %d is the %dth that was sent", timeline, message.SeqID, got)
				}
			}
			if first, ok := digests[timeline]; ok && first != chain.Digest() {
				t.Fatalf("%s: digest %v on %s, %v on another node", timeline, chain.Digest(), node.ID, first)
			}
			digests[timeline] = chain.Digest()
			total += int(chain.Last())
		}
		if total != n {
			t.Fatalf("%s holds %d messages, want %d", node.ID, total, n)
		}
	}
}

// Prints how long a node with 5 million messages takes from its start until it serves.
func TestRestart(t *testing.T) {
	long(t)
	const messages, timelines = 5_000_000, 1000
	c := start(t, 3)
	cl := c.client()
	begin := time.Now()
	position := bulk(t, c, "chat", timelines, messages, 64)
	t.Logf("appended %d messages in %v (%.0f messages/s)", messages, time.Since(begin).Round(time.Millisecond), messages/time.Since(begin).Seconds())
	node := c.follower(cl)
	c.waitApplied(cl, node, position, patience)
	for name, stop := range map[string]func() error{
		"SIGTERM": func() error { return node.Stop(testContext(t, patience)) },
		"SIGKILL": node.Kill,
	} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		if err := node.WaitReady(testContext(t, patience)); err != nil {
			t.Fatal(err)
		}
		ready := time.Since(begin)
		reader := c.only(node)
		if _, err := reader.Read(testContext(t, patience), "chat/0", client.SessionAt(position), client.Limit(1)); err != nil {
			t.Fatal(err)
		}
		t.Logf("after %s: ready %v after the start, first read of the newest position after %v",
			name, ready.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	}
}
