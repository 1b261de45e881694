package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// commandLineChanges prints the feed of the four messages that TestCommandLine has appended by then.
func commandLineChanges(t *testing.T, c *testCluster) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(c.cli("", "changes", "-o", "json")), "\n")
	var changes []struct {
		Position, Timeline, Change string
		SeqID                      int `json:"seq_id"`
		Message                    struct {
			MessageID string `json:"message_id"`
		}
	}
	if err := json.Unmarshal([]byte("["+strings.Join(lines, ",")+"]"), &changes); err != nil || len(changes) != 4 {
		t.Fatalf("%d changes, %v:\n%s", len(changes), err, lines)
	}
	if last := changes[3]; last.Timeline != "conv/2" || last.Change != "appended" || last.SeqID != 1 || changes[1].Message.MessageID != "m2" {
		t.Errorf("changes are %+v", changes)
	}
	if rest := c.cli("", "changes", "--from", changes[1].Position, "--prefix", "conv/1"); !strings.Contains(rest, "conv/1    appended  3") || strings.Count(rest, "\n") != 2 {
		t.Errorf("from behind the second, with a prefix:\n%s", rest)
	}
	if one := c.cli("", "changes", "--follow", "--limit", "1", "-o", "jsonl"); strings.TrimSpace(one) != lines[0] {
		t.Errorf("followed to the first one:\n%s", one)
	}
	wantFailure(t, c.tryCLI("", "changes", "--from", "nonsense"), 2, "--from is not a position of the change feed")
	wantFailure(t, c.tryCLI("", "changes", "--prefix", strings.Repeat("x", 257)), 1, "prefix has 257 bytes; limit is 256")
}
