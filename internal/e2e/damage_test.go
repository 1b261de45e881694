package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tm "tidemark"
	"tidemark/client"
	"tidemark/internal/history"
	"tidemark/internal/localcluster"
)

// A damaged file of one node is named and refused, at the start or at the first
// read; the cluster goes on; and the node is rebuilt by the documented command.
func TestDamagedNode(t *testing.T) {
	for _, logStore := range []string{"wal", "boltdb"} {
		t.Run(logStore, func(t *testing.T) { testDamagedNode(t, logStore) })
	}
}

func testDamagedNode(t *testing.T, logStore string) {
	t.Parallel()
	c := start(t, 3, "--log-store", logStore)
	cl := c.client()
	l := startLoad(c, 8)
	for _, damage := range []struct {
		name, file string
		change     func(t *testing.T, path string)
		// named is what errors name; empty is the file itself. A log that is cut
		// short is sound as far as it goes: what is missing has no file.
		named string
	}{
		{"flipped bit in a table", "store/*/*.sst", flipStart, ""},
		{"truncated table", "store/*/*.sst", truncate, ""},
		{"flipped bit in the log", "raft/log.*", flipPayload, ""},
		{"truncated log", "raft/log.*", truncate, "raft/log." + logStore},
	} {
		victim := c.follower(cl)
		l.waitFor(300)
		if strings.HasPrefix(damage.file, "store/") {
			// What was in memory becomes a table when the store is opened again.
			restart(t, victim)
			l.waitFor(300)
			restart(t, victim)
		}
		if err := victim.Stop(testContext(t, patience)); err != nil {
			t.Fatal(err)
		}
		file := largest(t, filepath.Join(victim.DataDir, damage.file))
		damage.change(t, file)
		name := filepath.Base(file)
		if damage.named != "" {
			name = damage.named
		}
		t.Logf("%s: %s of %s", damage.name, strings.TrimPrefix(file, c.dir), victim.ID)

		wantRefused(t, c, victim, name)
		wantFailure(t, tidemark(t, "", "check", "--data-dir", victim.DataDir), 3, name, "tidemark rebuild")
		if strings.HasPrefix(damage.file, "raft/") {
			wantFailure(t, tidemark(t, "", "log", "--data-dir", victim.DataDir), 3, name, "tidemark rebuild")
		}
		l.waitFor(300)

		c.cli("", "rebuild", "--data-dir", victim.DataDir)
		moved, err := filepath.Glob(victim.DataDir + ".damaged-*")
		if err != nil || len(moved) == 0 {
			t.Fatalf("the damaged directory was not moved aside: %v", err)
		}
		rejoin(t, c, cl, victim, logStore)
		l.verifyWhileWriting(c, victim)
	}
	l.end()
	l.verify(c, c.Nodes...)
	c.stopAll()
	checkStopped(t, c.Nodes...)
}

func restart(t *testing.T, node *localcluster.Node) {
	t.Helper()
	if err := node.Stop(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	if err := node.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
}

// rejoin starts a node with an empty directory and waits until it votes again.
func rejoin(t *testing.T, c *testCluster, cl *client.Client, node *localcluster.Node, logStore string) {
	t.Helper()
	var others []string
	for _, other := range c.Nodes {
		if other != node {
			others = append(others, other.Listen)
		}
	}
	node.Args = []string{"--join", strings.Join(others, ","), "--log-store", logStore}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	c.waitVoter(cl, node.ID)
	if err := node.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
}

// wantRefused starts the node. It must end with status 3 and name the file, at the
// start or when what is damaged is read.
func wantRefused(t *testing.T, c *testCluster, node *localcluster.Node, file string) {
	t.Helper()
	before := len(node.Log())
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for {
		select {
		case <-node.Exited():
			status, _ := node.Wait(testContext(t, patience))
			log := node.Log()[before:]
			if status != 3 || !strings.Contains(log, file) || !strings.Contains(log, "tidemark rebuild") {
				t.Errorf("exit status %d, want 3, %s and what to do:\n%s", status, file, log)
			}
			return
		case <-deadline:
			t.Fatalf("%s serves damaged data", node.ID)
		case <-time.After(100 * time.Millisecond):
		}
		readEverything(t, c, node)
	}
}

// readEverything reads all that the load wrote, and does not mind errors: the node
// may end meanwhile.
func readEverything(t *testing.T, c *testCluster, node *localcluster.Node) {
	ctx := testContext(t, 5*time.Second)
	for i := range loadTimelines {
		_, _ = history.Read(ctx, c.only(node), tm.TimelineID(fmt.Sprintf("load/%d", i)), client.Local(0))
	}
}

// largest returns the largest file that is, or is below, what the pattern names.
func largest(t *testing.T, pattern string) string {
	t.Helper()
	roots, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var size int64
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Size() > size {
				name, size = path, info.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if name == "" {
		t.Fatalf("there is no file %s", pattern)
	}
	return name
}

// flipStart flips a bit in the first block.
func flipStart(t *testing.T, path string) {
	t.Helper()
	flip(t, path, func(data []byte) int { return min(100, len(data)/2) })
}

// flipPayload flips a bit in a message.
func flipPayload(t *testing.T, path string) {
	t.Helper()
	flip(t, path, func(data []byte) int { return bytes.Index(data, []byte("as long as a chat message is")) })
}

func flip(t *testing.T, path string, where func([]byte) int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := where(data)
	if at < 0 {
		t.Fatalf("%s holds no message", path)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt([]byte{data[at] ^ 0x10}, int64(at))
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// truncate cuts the file in the middle of what was written.
func truncate(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(bytes.TrimRight(data, "\x00"))/2)); err != nil {
		t.Fatal(err)
	}
}
