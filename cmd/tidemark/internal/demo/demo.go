// Package demo shows that a cluster loses nothing: it imports real chat into three
// real processes, kills the leader in the middle, and compares what every node
// holds with the input. It takes everything through the SDK, as any client could.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/transfer"
	"tidemark/internal/exchange"
	"tidemark/internal/history"
	"tidemark/internal/localcluster"
)

// Config says what to show.
type Config struct {
	// Binary is the tidemark that the nodes run.
	Binary string
	// Input is a file to import, see package exchange.
	Input string
	// Out is told what is done.
	Out io.Writer
	// NodeArgs are more arguments for each node.
	NodeArgs []string
}

const (
	// limit bounds the whole demo.
	limit = 3 * time.Minute
	// inFlight is so small that most of the input is not sent yet when the leader dies.
	inFlight = 256
	// killAfter is the part of the input that is acknowledged when the leader is killed: 1/killAfter.
	killAfter = 3
	// stopTimeout is beyond what a node takes to stop in order.
	stopTimeout = 30 * time.Second
	// pollInterval is how often nodes are asked for what they do not tell.
	pollInterval = 50 * time.Millisecond
)

// demo is one run.
type demo struct {
	cfg     Config
	begin   time.Time
	cluster *localcluster.Cluster
	// client speaks to the whole cluster.
	client *client.Client
	sent   *history.Sent
	// position is that of the newest acknowledged append.
	position atomic.Uint64
}

// Run runs the demo, and leaves nothing running. It removes what it wrote unless it
// failed; the error then says where it is.
func Run(ctx context.Context, cfg Config) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	total, err := countLines(cfg.Input)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemark-demo-")
	if err != nil {
		return err
	}
	d := &demo{cfg: cfg, begin: time.Now(), sent: history.NewSent()}
	if d.cluster, err = localcluster.New(cfg.Binary, dir, 3, 0); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	for _, node := range d.cluster.Nodes {
		node.Args = append(node.Args, cfg.NodeArgs...)
	}
	err = d.run(ctx, total)
	stopping, stop := context.WithTimeout(context.Background(), stopTimeout)
	defer stop()
	if err = errors.Join(err, d.cluster.Stop(stopping)); err != nil {
		return fmt.Errorf("%w\nthe nodes' logs and data are kept in %s", err, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	d.say("stopped all nodes and removed their data")
	return nil
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.cfg.Out, "%6.1fs  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context, total int) (err error) {
	d.say("starting three nodes: %s", strings.Join(d.cluster.Endpoints(), ", "))
	if err := d.cluster.Start(ctx); err != nil {
		return err
	}
	if d.client, err = client.New(d.cluster.Endpoints()); err != nil {
		return err
	}
	defer d.client.Close()
	leader, err := d.leader(ctx, "")
	if err != nil {
		return err
	}
	d.say("%s leads; importing %d messages from %s", leader.ID, total, d.cfg.Input)
	dead, err := d.importAndKill(ctx, total)
	if err != nil {
		return err
	}
	if err := d.restart(ctx, dead); err != nil {
		return err
	}
	return d.compare(ctx)
}

// countLines reads the whole input, so that a broken one is found before anything is done.
func countLines(name string) (int, error) {
	lines, err := exchange.Open(name)
	if err != nil {
		return 0, err
	}
	defer lines.Close()
	for n := 0; ; n++ {
		switch _, _, err := lines.Next(); {
		case errors.Is(err, io.EOF) && n < killAfter*inFlight:
			return 0, fmt.Errorf("%s has %d messages; at least %d are needed to kill a leader in the middle", name, n, killAfter*inFlight)
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
}

// leader returns who leads according to a majority's own view, other than not.
func (d *demo) leader(ctx context.Context, not string) (*localcluster.Node, error) {
	for {
		votes := map[string]int{}
		for _, node := range d.cluster.Nodes {
			if !node.Running() {
				continue
			}
			if status, err := d.status(ctx, node); err == nil {
				votes[status.LeaderID]++
			}
		}
		for id, n := range votes {
			if node := d.cluster.Node(id); node != nil && id != not && 2*n > len(d.cluster.Nodes) {
				return node, nil
			}
		}
		if err := pause(ctx); err != nil {
			return nil, fmt.Errorf("no leader was elected: %w", err)
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}

// importAndKill imports the input and kills the leader in the middle of it. It
// returns the dead node.
func (d *demo) importAndKill(ctx context.Context, total int) (dead *localcluster.Node, err error) {
	lines, err := exchange.Open(d.cfg.Input)
	if err != nil {
		return nil, err
	}
	defer lines.Close()
	elected := make(chan error, 1)
	run := transfer.Import{
		InFlight: inFlight,
		Sending:  d.sent.Send,
		Acknowledged: func(r *client.AppendResult) error {
			n, err := d.sent.Acknowledge(r.Timeline, r.ID, r.SeqID)
			d.position.Store(max(d.position.Load(), uint64(r.Position)))
			if err != nil || n != total/killAfter {
				return err
			}
			dead, err = d.kill(ctx, n, elected)
			return err
		},
	}
	summary, err := run.Run(ctx, d.client, lines)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if err := <-elected; err != nil {
		return nil, err
	}
	if summary.Messages != total {
		return nil, fmt.Errorf("import: %d of %d messages were acknowledged", summary.Messages, total)
	}
	d.say("all %d messages are acknowledged; %d of them were sent again and recognized", summary.Messages, summary.Duplicates)
	return dead, nil
}

// kill kills the leader now, and watches in the background for the next one.
func (d *demo) kill(ctx context.Context, acknowledged int, elected chan<- error) (*localcluster.Node, error) {
	leader, err := d.leader(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := leader.Kill(); err != nil {
		return nil, err
	}
	at := time.Now()
	d.say("killed the leader %s with SIGKILL after %d acknowledged messages; the import goes on", leader.ID, acknowledged)
	go func() {
		next, err := d.leader(ctx, leader.ID)
		if err == nil {
			d.say("%s leads, %.1f s after the kill", next.ID, time.Since(at).Seconds())
		}
		elected <- err
	}()
	return leader, nil
}

// restart starts the dead node and waits until it has applied all that was acknowledged.
func (d *demo) restart(ctx context.Context, dead *localcluster.Node) error {
	at := time.Now()
	if err := dead.Start(); err != nil {
		return err
	}
	if err := dead.WaitReady(ctx); err != nil {
		return err
	}
	target := d.position.Load()
	for {
		status, err := d.status(ctx, dead)
		if err == nil && status.Applied >= target {
			d.say("%s is back and has caught up to log index %d, %.1f s after its start", dead.ID, target, time.Since(at).Seconds())
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("node %s did not catch up to index %d: %w", dead.ID, target, err)
		}
	}
}

// nodeStatus is what the demo needs to know of a node.
type nodeStatus struct {
	LeaderID string
	Applied  uint64
}

func (d *demo) status(ctx context.Context, node *localcluster.Node) (nodeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	reply, err := d.client.Cluster().At(node.Listen).Status(ctx)
	return nodeStatus{reply.GetLeaderId(), reply.GetAppliedIndex()}, err
}

// compare reads everything back from each node at each level.
func (d *demo) compare(ctx context.Context) error {
	position := tidemark.Position(d.position.Load())
	levels := []struct {
		name  string
		level client.Consistency
	}{
		{"linearizable", client.Linearizable()},
		{"session", client.SessionAt(position)},
		{"local", client.Local(0)},
	}
	digests := map[tidemark.TimelineID]tidemark.Digest{}
	for _, node := range d.cluster.Nodes {
		var names []string
		messages := 0
		for _, level := range levels {
			n, err := d.compareNode(ctx, node, level.level, digests)
			if err != nil {
				return fmt.Errorf("node %s, %s reads: %w", node.ID, level.name, err)
			}
			names, messages = append(names, level.name), n
		}
		d.say("%s: %d messages in %d timelines, read %s: every one once, in order, dense, digests equal",
			node.ID, messages, len(digests), strings.Join(names, ", "))
	}
	return nil
}

// compareNode reads all timelines from the node alone, and compares them with what
// was sent and with the digests of the nodes before it.
func (d *demo) compareNode(ctx context.Context, node *localcluster.Node, level client.Consistency, digests map[tidemark.TimelineID]tidemark.Digest) (total int, err error) {
	c, err := client.New([]string{node.Listen}, client.WithoutDiscovery())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for _, timeline := range d.sent.Timelines() {
		messages, err := history.Read(ctx, c, timeline, level)
		if err != nil {
			return total, err
		}
		if err := d.sent.Compare(timeline, messages, history.Expectation{All: true, Ordered: true}); err != nil {
			return total, err
		}
		digest := messages[len(messages)-1].Digest
		if first, ok := digests[timeline]; ok && first != digest {
			return total, fmt.Errorf("timeline %q has digest %v, and %v on another node", timeline, digest, first)
		}
		digests[timeline] = digest
		total += len(messages)
	}
	held := 0
	for _, err := range c.Timelines(ctx, "", level) {
		if err != nil {
			return total, err
		}
		held++
	}
	if held != len(digests) {
		return total, fmt.Errorf("it holds %d timelines, but %d were sent", held, len(digests))
	}
	return total, nil
}
