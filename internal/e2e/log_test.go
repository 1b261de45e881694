package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tidemark/internal/localcluster"
)

// logEntry is a line of `tidemark log --output jsonl`.
type logEntry struct {
	Index, Term uint64
	Type        string
	Bytes       int
	SHA256      string
}

// readLog reads the log of a node that does not run.
func readLog(t *testing.T, node *localcluster.Node) []logEntry {
	t.Helper()
	r := tidemark(t, "", "log", "--data-dir", node.DataDir, "--output", "jsonl")
	if r.status != 0 {
		t.Fatalf("log of %s: exit status %d\n%s", node.ID, r.status, r.stderr)
	}
	var entries []logEntry
	for line := range strings.Lines(r.stdout) {
		var e logEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("log of %s: %v in %q", node.ID, err, line)
		}
		entries = append(entries, e)
	}
	return entries
}

// The logs of nodes that were killed can be read without a trace, and on all nodes
// equal index and term are equal entries. Both log stores show the same.
func TestLogOfKilledNodes(t *testing.T) {
	t.Parallel()
	c := describe(t, 3)
	c.Nodes[2].Args = append(c.Nodes[2].Args, "--log-store", "boltdb")
	c.startAll()
	wantFailure(t, tidemark(t, "", "log", "--data-dir", c.Nodes[0].DataDir), 1, "in use by another process")
	wantFailure(t, tidemark(t, "", "log"), 2, "--data-dir")
	l := startLoad(c, 4)
	l.waitFor(200)
	l.end()
	for _, node := range c.Nodes {
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	hashes, shared := map[string]string{}, 0
	for _, node := range c.Nodes {
		before := hashTree(t, node.DataDir)
		entries := readLog(t, node)
		wantUntouched(t, node.DataDir, before)
		commands := 0
		for i, e := range entries {
			if e.Index != entries[0].Index+uint64(i) || e.Term == 0 || len(e.SHA256) != 64 {
				t.Fatalf("%s shows %+v at line %d", node.ID, e, i+1)
			}
			if e.Type == "command" && e.Bytes > 0 {
				commands++
			}
			key := fmt.Sprint(e.Index, " ", e.Term)
			if known, ok := hashes[key]; ok && known != e.SHA256 {
				t.Errorf("%s holds another entry at index %d, term %d", node.ID, e.Index, e.Term)
			} else if ok {
				shared++
			}
			hashes[key] = e.SHA256
		}
		if commands == 0 {
			t.Errorf("the log of %s shows no command among %d entries", node.ID, len(entries))
		}
	}
	if shared < len(hashes) {
		t.Errorf("of %d entries, %d were found in another log", len(hashes), shared)
	}

	first := readLog(t, c.Nodes[0])[0]
	var documents []logEntry
	parse(t, tidemark(t, "", "log", "--data-dir", c.Nodes[0].DataDir, "-o", "json").stdout, &documents)
	if len(documents) == 0 || documents[0] != first {
		t.Errorf("log in JSON begins %+v, want %+v", documents[:min(1, len(documents))], first)
	}
	table := tidemark(t, "", "log", "--data-dir", c.Nodes[0].DataDir).stdout
	if !strings.HasPrefix(table, "INDEX") || !strings.Contains(table, first.SHA256) {
		t.Errorf("log as a table:\n%s", table)
	}
}
