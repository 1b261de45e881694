package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/client"
	"tidemark/internal/localcluster"
	"tidemark/rpc/tidemarkv1"
)

// program is the tidemark under test. It is built once.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tidemark-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "tidemark")
	build := exec.Command("go", "build", "-o", program, "tidemark/cmd/tidemark")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// The longest that anything may take that has no time of its own.
const patience = 60 * time.Second

func testContext(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// testCluster is a cluster that ends with its test.
type testCluster struct {
	*localcluster.Cluster
	t   *testing.T
	dir string
}

// describe describes a cluster and starts nothing.
func describe(t *testing.T, n int, args ...string) *testCluster {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("TIDEMARK_KEEP"); keep != "" {
		var err error
		if dir, err = os.MkdirTemp(keep, strings.ReplaceAll(t.Name(), "/", "_")+"-"); err != nil {
			t.Fatal(err)
		}
	}
	cluster, err := localcluster.New(program, dir, n, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{cluster, t, dir}
	for _, node := range c.Nodes {
		node.Args = append(node.Args, args...)
	}
	t.Cleanup(func() {
		if err := c.KillAll(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			c.printLogs()
		}
	})
	return c
}

// start starts a cluster of n nodes and waits until they are ready.
func start(t *testing.T, n int, args ...string) *testCluster {
	t.Helper()
	c := describe(t, n, args...)
	c.startAll()
	return c
}

func (c *testCluster) startAll() {
	c.t.Helper()
	if err := c.Start(testContext(c.t, patience)); err != nil {
		c.t.Fatal(err)
	}
}

// stopAll stops all nodes in order.
func (c *testCluster) stopAll() {
	c.t.Helper()
	if err := c.Stop(testContext(c.t, patience)); err != nil {
		c.t.Fatal(err)
	}
}

// printLogs prints the ends of the nodes' logs.
func (c *testCluster) printLogs() {
	const lines = 40
	for _, node := range c.Nodes {
		log := strings.Split(strings.TrimSpace(node.Log()), "\n")
		c.t.Logf("the last lines of %s:\n%s", node.ID, strings.Join(log[max(0, len(log)-lines):], "\n"))
	}
}

// client returns a client of the whole cluster.
func (c *testCluster) client(options ...client.Option) *client.Client {
	c.t.Helper()
	return newClient(c.t, c.Endpoints(), options...)
}

// only returns a client of one node alone.
func (c *testCluster) only(node *localcluster.Node) *client.Client {
	c.t.Helper()
	return newClient(c.t, []string{node.Listen}, client.WithoutDiscovery())
}

func newClient(t *testing.T, endpoints []string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(endpoints, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// status asks one node.
func (c *testCluster) status(cl *client.Client, node *localcluster.Node) (*tidemarkv1.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return cl.Cluster().At(node.Listen).Status(ctx)
}

// leader waits for a leader that is running and that most nodes agree on.
func (c *testCluster) leader(cl *client.Client) *localcluster.Node {
	c.t.Helper()
	var leader *localcluster.Node
	eventually(c.t, patience, func() error {
		votes := map[string]int{}
		for _, node := range c.Nodes {
			if node.Running() {
				if status, err := c.status(cl, node); err == nil {
					votes[status.GetLeaderId()]++
				}
			}
		}
		for id, n := range votes {
			if node := c.Node(id); node != nil && node.Running() && 2*n > len(c.Nodes) {
				leader = node
				return nil
			}
		}
		return fmt.Errorf("no leader: %v", votes)
	})
	return leader
}

// follower returns a node that does not lead.
func (c *testCluster) follower(cl *client.Client) *localcluster.Node {
	c.t.Helper()
	leader := c.leader(cl)
	for _, node := range c.Nodes {
		if node != leader && node.Running() {
			return node
		}
	}
	c.t.Fatal("there is no follower")
	return nil
}

// eventually asks until there is no error, and fails the test after some time.
func eventually(t *testing.T, limit time.Duration, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	status         int
}

// tidemark runs one command line.
func tidemark(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(testContext(t, 5*time.Minute), program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// cli runs one command line against the cluster, which must succeed, and returns
// what it printed.
func (c *testCluster) cli(stdin string, args ...string) string {
	c.t.Helper()
	r := c.tryCLI(stdin, args...)
	if r.status != 0 {
		c.t.Fatalf("tidemark %s: exit status %d\n%s%s", strings.Join(args, " "), r.status, r.stdout, r.stderr)
	}
	return r.stdout
}

func (c *testCluster) tryCLI(stdin string, args ...string) result {
	c.t.Helper()
	return tidemark(c.t, stdin, append(args, "--endpoints", strings.Join(c.Endpoints(), ","))...)
}

// wantFailure fails the test unless the command ended with the status and said all of it on standard error.
func wantFailure(t *testing.T, r result, status int, saying ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d\n%s%s", r.status, status, r.stdout, r.stderr)
	}
	for _, text := range saying {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("standard error does not say %q:\n%s", text, r.stderr)
		}
	}
}

// waitUnready waits until /readyz says why the node does not serve.
func waitUnready(t *testing.T, node *localcluster.Node, saying string) {
	t.Helper()
	eventually(t, patience, func() error {
		status, body, err := node.HTTPGet(context.Background(), "/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, saying)) {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
}
