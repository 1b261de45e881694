package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tm "tidemark"
	"tidemark/client"
	"tidemark/internal/history"
	"tidemark/internal/localcluster"
)

// load is many writers who append to the same timelines, one message after the
// other each, and remember what was acknowledged.
type load struct {
	t       *testing.T
	sent    *history.Sent
	stop    chan struct{}
	writers sync.WaitGroup
	// position is that of the newest acknowledged append; unknown counts the
	// appends whose outcome was never learnt.
	position, unknown atomic.Uint64
	// longest is the longest time from one acknowledgement of any writer to the next.
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

const (
	loadTimelines = 16
	// loadPause keeps the load and the nodes on few cores.
	loadPause = 10 * time.Millisecond
	// loadPatience is longer than any failure of these tests.
	loadPatience = 45 * time.Second
)

// startLoad starts n writers over a few clients.
func startLoad(c *testCluster, n int) *load {
	l := &load{t: c.t, sent: history.NewSent(), stop: make(chan struct{}), last: time.Now()}
	clients := make([]*client.Client, 4)
	for i := range clients {
		clients[i] = c.client()
	}
	for i := range n {
		l.writers.Go(func() { l.write(clients[i%len(clients)], i) })
	}
	return l
}

func (l *load) write(c *client.Client, writer int) {
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		payload := binary.BigEndian.AppendUint64(nil, uint64(n))
		payload = fmt.Appendf(payload, " message %d of writer %d, as long as a chat message is", n, writer)
		draft := client.Draft{
			Timeline: tm.TimelineID(fmt.Sprintf("load/%d", (writer+n)%loadTimelines)),
			ID:       tm.MessageID(fmt.Sprintf("w%d-%d", writer, n)),
			Sender:   fmt.Sprintf("w%d", writer),
			Payload:  payload,
		}
		words, err := draft.Tidemark()
		if err != nil {
			l.t.Error(err)
			return
		}
		l.sent.Send(words)
		ctx, cancel := context.WithTimeout(context.Background(), loadPatience)
		r, err := c.Append(ctx, draft)
		cancel()
		switch {
		case errors.Is(err, tm.ErrOutcomeUnknown):
			l.unknown.Add(1)
			continue
		case err != nil:
			l.t.Errorf("writer %d, message %d: %v", writer, n, err)
			return
		}
		l.acknowledged(r)
		time.Sleep(loadPause)
	}
}

func (l *load) acknowledged(r *client.AppendResult) {
	if _, err := l.sent.Acknowledge(r.Timeline, r.ID, r.SeqID); err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.longest = max(l.longest, now.Sub(l.last))
	l.last = now
	l.position.Store(max(l.position.Load(), uint64(r.Position)))
}

// longestPause returns the longest time without an acknowledgement, and starts again.
func (l *load) longestPause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := max(l.longest, time.Since(l.last))
	l.longest, l.last = 0, time.Now()
	return longest
}

// waitFor waits until n more messages are acknowledged.
func (l *load) waitFor(n int) {
	l.t.Helper()
	target := l.sent.Acknowledged() + n
	eventually(l.t, patience, func() error {
		if got := l.sent.Acknowledged(); got < target {
			return fmt.Errorf("%d messages are acknowledged, want %d", got, target)
		}
		return nil
	})
}

// end stops the writers and waits for them.
func (l *load) end() {
	close(l.stop)
	l.writers.Wait()
	l.t.Logf("%d messages acknowledged, %d outcomes never learnt", l.sent.Acknowledged(), l.unknown.Load())
}

// verify reads everything from each of the nodes alone, at each level, and compares
// it with what was acknowledged and with the other nodes.
func (l *load) verify(c *testCluster, nodes ...*localcluster.Node) {
	l.t.Helper()
	ctx := testContext(l.t, 2*patience)
	digests := map[tm.TimelineID]tm.Digest{}
	for _, node := range nodes {
		for name, level := range map[string]client.Consistency{
			// Session waits until the node has caught up, so it comes first.
			"session":      client.SessionAt(tm.Position(l.position.Load())),
			"linearizable": client.Linearizable(),
		} {
			l.verifyNode(ctx, c.only(node), node.ID+", "+name, level, digests)
		}
		l.verifyNode(ctx, c.only(node), node.ID+", local", client.Local(0), digests)
	}
}

func (l *load) verifyNode(ctx context.Context, c *client.Client, where string, level client.Consistency, digests map[tm.TimelineID]tm.Digest) {
	l.t.Helper()
	for _, timeline := range l.sent.Timelines() {
		messages, err := history.Read(ctx, c, timeline, level)
		if err != nil {
			l.t.Fatalf("%s: %v", where, err)
		}
		if err := l.sent.Compare(timeline, messages, history.Expectation{}); err != nil {
			l.t.Fatalf("%s: %v", where, err)
		}
		if err := eachSenderInOrder(messages); err != nil {
			l.t.Fatalf("%s: %s: %v", where, timeline, err)
		}
		digest := messages[len(messages)-1].Digest
		if first, ok := digests[timeline]; ok && first != digest {
			l.t.Fatalf("%s: %s has digest %v, another read %v", where, timeline, digest, first)
		}
		digests[timeline] = digest
	}
}

// eachSenderInOrder finds a message that stands before an earlier one of its sender.
func eachSenderInOrder(messages []client.Message) error {
	last := map[string]uint64{}
	for _, m := range messages {
		n := binary.BigEndian.Uint64(m.Payload) + 1
		if n <= last[m.Sender] {
			return fmt.Errorf("message %d of %s stands after %d", n-1, m.Sender, last[m.Sender]-1)
		}
		last[m.Sender] = n
	}
	return nil
}

// checkStopped runs `tidemark check` on each stopped node.
func checkStopped(t *testing.T, nodes ...*localcluster.Node) {
	t.Helper()
	for _, node := range nodes {
		if r := tidemark(t, "", "check", "--data-dir", node.DataDir); r.status != 0 {
			t.Errorf("check of %s: exit status %d\n%s%s", node.ID, r.status, r.stdout, r.stderr)
		}
	}
}

// verifyWhileWriting checks what a node holds while more is written: SeqIDs dense,
// digests right, nothing that was not sent.
func (l *load) verifyWhileWriting(c *testCluster, node *localcluster.Node) {
	l.t.Helper()
	ctx := testContext(l.t, patience)
	for _, timeline := range l.sent.Timelines() {
		messages, err := history.Read(ctx, c.only(node), timeline, client.Linearizable())
		if err != nil {
			l.t.Fatal(err)
		}
		if err := eachSenderInOrder(messages); err != nil {
			l.t.Fatal(err)
		}
	}
}
