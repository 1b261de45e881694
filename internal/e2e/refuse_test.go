package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tidemark/internal/localcluster"
)

// serveArgs are those with which a node is started by hand.
func serveArgs(node *localcluster.Node) []string {
	return append([]string{"serve", "--node-id", node.ID, "--data-dir", node.DataDir, "--listen", node.Listen,
		"--raft-listen", node.RaftListen, "--http-listen", node.HTTPListen}, node.Args...)
}

// hashTree returns the hash of each file below a directory, by its path.
func hashTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	hashes := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		hashes[strings.TrimPrefix(path, dir)] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

// wantUntouched fails the test if a file changed, came or went.
func wantUntouched(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := hashTree(t, dir)
	for path, hash := range before {
		if after[path] != hash {
			t.Errorf("%s was changed or removed", path)
		}
		delete(after, path)
	}
	for path := range after {
		t.Errorf("%s was made", path)
	}
}

// A directory of another node, of another log store or of a newer format is
// refused, and not a byte of it is changed.
func TestForeignAndNewerDataAreRefusedUntouched(t *testing.T) {
	t.Parallel()
	c := start(t, 1)
	cl := c.client()
	l := startLoad(c, 4)
	l.waitFor(50)
	l.end()
	c.leader(cl)
	c.stopAll()
	node := c.Nodes[0]
	original := node.DataDir

	for name, test := range map[string]struct {
		change func(t *testing.T, dir string) (args []string)
		saying []string
	}{
		"another node": {func(*testing.T, string) []string {
			return []string{"--node-id", "n2"}
		}, []string{"belongs to node n1", "its own --data-dir"}},
		"another log store": {func(*testing.T, string) []string {
			return []string{"--log-store", "boltdb"}
		}, []string{"wal", "boltdb"}},
		"a newer node format": {func(t *testing.T, dir string) []string {
			replace(t, filepath.Join(dir, "NODE"), `"format": 1`, `"format": 99`)
			return nil
		}, []string{"newer format", "NODE", "99", "Run the version"}},
		"a newer store format": {func(t *testing.T, dir string) []string {
			replace(t, filepath.Join(dir, "store", "CURRENT"), "tidemark store 2\n", "tidemark store 99\n")
			return nil
		}, []string{"newer format", "CURRENT", "99", "Run the version"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
				t.Fatal(err)
			}
			copied := *node
			copied.DataDir, copied.Args = dir, nil
			args := append(serveArgs(&copied), test.change(t, dir)...)
			before := hashTree(t, dir)
			wantFailure(t, tidemark(t, "", args...), 3, append(test.saying, "Nothing was changed")...)
			wantUntouched(t, dir, before)
		})
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	if err := node.WaitReady(testContext(t, patience)); err != nil {
		t.Fatal(err)
	}
	l.verify(c, node)
}

// replace changes a text that the file must hold.
func replace(t *testing.T, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), old, new, 1)
	if changed == string(text) {
		t.Fatalf("%s does not hold %q:\n%s", path, old, text)
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A port in use is named, and nothing is started or made.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	c := describe(t, 1)
	node := c.Nodes[0]
	for flag, address := range map[string]string{
		"listen": node.Listen, "raft": node.RaftListen, "--http-listen": node.HTTPListen,
	} {
		t.Run(flag, func(t *testing.T) {
			taken, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			wantFailure(t, tidemark(t, "", serveArgs(node)...), 1, flag, address, "address already in use", "Another process listens there")
		})
	}
	// Nothing is left that would be in the way.
	c.startAll()
}

// Only one process at a time uses a directory, and what works offline keeps out of a
// running node's.
func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	c := start(t, 1)
	other := describe(t, 1).Nodes[0]
	args := append(serveArgs(other), "--data-dir", c.Nodes[0].DataDir)
	wantFailure(t, tidemark(t, "", args...), 1, "in use by another process")
	wantFailure(t, tidemark(t, "", "check", "--data-dir", c.Nodes[0].DataDir), 1, "in use by another process")
	wantFailure(t, c.tryCLI("", "rebuild", "--data-dir", c.Nodes[0].DataDir), 1, "in use by another process")
	l := startLoad(c, 2)
	l.waitFor(20)
	l.end()
}
