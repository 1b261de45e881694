package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every verb of the command line, against one node.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	c := start(t, 1)

	var appended struct {
		SeqID     int    `json:"seq_id"`
		Duplicate bool   `json:"duplicate"`
		Position  string `json:"position"`
	}
	for n, duplicate := range []bool{false, true} {
		parse(t, c.cli("", "append", "conv/1", "hello \x1b[31m", "--message-id", "m1", "--sender", "alice", "--attribute", "lang=en", "-o", "json"), &appended)
		if appended.SeqID != 1 || appended.Duplicate != duplicate {
			t.Errorf("append %d: %+v", n+1, appended)
		}
	}
	c.cli("\xff\x00 from standard input", "append", "conv/1", "--message-id", "m2", "--client-time", "2026-01-02T03:04:05Z")
	c.cli("", "append", "conv/1", "three", "--message-id", "m3", "--expected-last-seq-id", "2")
	c.cli("", "append", "conv/2", "other")

	wantFailure(t, c.tryCLI("", "append", "conv/1", "other", "--message-id", "m1"), 1, "message id is taken by other content")
	wantFailure(t, c.tryCLI("", "append", "conv/1", "x", "--expected-last-seq-id", "7"), 1, "expected_last_seq_id is 7, but the last sequence id is 3")
	wantFailure(t, c.tryCLI("", "append", strings.Repeat("x", 257), "x"), 1, "timeline has 257 bytes; limit is 256")
	wantFailure(t, c.tryCLI(strings.Repeat("x", 256<<10+1), "append", "conv/1"), 1, "payload", "262144")

	var page struct {
		Messages []struct {
			SeqID   int    `json:"seq_id"`
			Body    string `json:"body"`
			Payload []byte `json:"payload"`
		} `json:"messages"`
		HasMore bool `json:"has_more"`
	}
	for _, test := range []struct {
		args []string
		want []int
		more bool
	}{
		{nil, []int{1, 2, 3}, false},
		{[]string{"--limit", "2"}, []int{1, 2}, true},
		{[]string{"--from", "3"}, []int{3}, false},
		{[]string{"--before", "3"}, []int{1, 2}, false},
		{[]string{"--newest", "--limit", "1"}, []int{3}, true},
		{[]string{"--from", "2", "--backward"}, []int{1, 2}, false},
		{[]string{"--from-time", "2020-01-01T00:00:00Z", "--limit", "1"}, []int{1}, true},
		{[]string{"--consistency", "local", "--max-staleness", "10s"}, []int{1, 2, 3}, false},
		{[]string{"--consistency", "session", "--position", appended.Position}, []int{1, 2, 3}, false},
		{[]string{"--reader", "bob", "--ack-delivered", "2", "--ack-read", "1"}, []int{1, 2, 3}, false},
	} {
		page.Messages = nil
		parse(t, c.cli("", append([]string{"read", "conv/1", "-o", "json"}, test.args...)...), &page)
		var got []int
		for _, message := range page.Messages {
			got = append(got, message.SeqID)
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) || page.HasMore != test.more {
			t.Errorf("read %v: %v, more %v", test.args, got, page.HasMore)
		}
	}
	if got := string(page.Messages[1].Payload); got != "\xff\x00 from standard input" {
		t.Errorf("payload is %q", got)
	}
	commandLineSync(t, c)
	table := c.cli("", "read", "conv/1", "--all")
	if !strings.Contains(table, `hello \x1b[31m`) || strings.Contains(table, "\x1b") || !strings.Contains(table, "(22 bytes)") {
		t.Errorf("table:\n%s", table)
	}
	if lines := strings.Count(c.cli("", "read", "conv/1", "--all", "-o", "jsonl"), "\n"); lines != 3 {
		t.Errorf("%d lines, want 3", lines)
	}
	parse(t, c.cli("", "read", "conv/1", "--all", "-o", "json"), &[]any{})
	wantFailure(t, c.tryCLI("", "read", "conv/404"), 1, "timeline does not exist")
	wantFailure(t, c.tryCLI("", "read", "conv/1", "--limit", "1001"), 2, "--limit must be 1 to 1000")

	tailed := c.cli("", "tail", "conv/1", "conv/2", "--until-caught-up", "-o", "json")
	if strings.Count(tailed, "\n") != 4 || !strings.Contains(tailed, `"timeline":"conv/2"`) {
		t.Errorf("tail printed:\n%s", tailed)
	}
	if got := c.cli("", "tail", "conv/1", "--after", "1", "--limit", "1"); !strings.Contains(got, "conv/1    2    ") || strings.Contains(got, "three") {
		t.Errorf("tail printed:\n%s", got)
	}
	if got := c.cli("", "tail", "conv/1", "--notify-only", "--until-caught-up", "-o", "jsonl"); strings.TrimSpace(got) != `{"timeline":"conv/1","last_seq_id":3}` {
		t.Errorf("tail printed:\n%s", got)
	}
	wantFailure(t, c.tryCLI("", "tail"), 2, "requires at least 1 arg")
	commandLineChanges(t, c)

	if got := c.cli("", "get", "conv/1", "--message-id", "m3", "-o", "jsonl"); !strings.Contains(got, `"seq_id":3`) {
		t.Errorf("get by id: %s", got)
	}
	if got := c.cli("", "get", "conv/1", "--seq", "1", "-o", "jsonl"); !strings.Contains(got, `"attributes":{"lang":"en"}`) {
		t.Errorf("get by SeqId: %s", got)
	}
	wantFailure(t, c.tryCLI("", "get", "conv/1", "--seq", "4"), 1, "message does not exist")
	wantFailure(t, c.tryCLI("", "get", "conv/1", "--seq", "0"), 1, "seq_id")

	if got := c.cli("", "ack", "conv/1", "--reader", "bob", "--read", "2", "-o", "jsonl"); !strings.Contains(got, `"delivered_seq_id":2,"read_seq_id":2,"last_seq_id":3,"last_server_time"`) {
		t.Errorf("ack: %s", got)
	}
	wantFailure(t, c.tryCLI("", "ack", "conv/1", "--reader", "bob", "--read", "4"), 1, "last")
	if got := c.cli("", "cursors", "--reader", "bob", "--by-activity", "-o", "jsonl"); !strings.Contains(got, `"read_seq_id":2,"last_seq_id":3,"unread":1`) {
		t.Errorf("conversations: %s", got)
	}
	if got := c.cli("", "ack", "conv/1", "--reader", "bob", "--read", "0", "--floor", "2", "--rewind", "-o", "jsonl"); !strings.Contains(got, `"read_seq_id":0,"last_seq_id":3,"floor_seq_id":2`) {
		t.Errorf("rewind: %s", got)
	}
	if got := c.cli("", "cursors", "--reader", "bob", "-o", "jsonl"); !strings.Contains(got, `"unread":2`) {
		t.Errorf("cursors after a rewind and with a floor: %s", got)
	}
	c.cli("", "ack", "conv/1", "--reader", "bob", "--read", "2")
	if got := c.cli("", "recipients", "group/1", "--add", "inbox/alice,inbox/bob", "-o", "jsonl"); !strings.Contains(got, `"version":1,"count":2`) {
		t.Errorf("recipients: %s", got)
	}
	wantFailure(t, c.tryCLI("", "recipients", "group/1", "--remove", "inbox/bob", "--expected-version", "7"), 1, "the version is 1")
	if got := c.cli("", "append", "group/1", "hello", "--message-id", "g1", "--sender", "alice", "--fan-out", "--to", "inbox/carol", "--advance-sender-cursor", "-o", "jsonl"); !strings.Contains(got, `"inboxes":3`) {
		t.Errorf("fan-out: %s", got)
	}
	if got := c.cli("", "read", "inbox/carol", "-o", "jsonl"); !strings.Contains(got, `"body":"hello"`) || !strings.Contains(got, `"source":{"timeline":"group/1","seq_id":1}`) {
		t.Errorf("inbox: %s", got)
	}
	if got := c.cli("", "revise", "group/1", "1", "hello!", "--message-id", "e1", "--sender", "alice", "--expected-revision", "0", "-o", "jsonl"); !strings.Contains(got, `"revision":1,"message_id":"e1","seq_id":2`) || !strings.Contains(got, `"inboxes":3`) {
		t.Errorf("revise: %s", got)
	}
	if got := c.cli("", "read", "inbox/carol", "-o", "jsonl"); strings.Count(got, `"body":"hello!"`) != 2 || !strings.Contains(got, `"revises":{"seq_id":1,"revision":1`) {
		t.Errorf("inbox after an edit: %s", got)
	}
	wantFailure(t, c.tryCLI("", "revise", "group/1", "1", "x", "--expected-revision", "0"), 1, "it is 1")
	wantFailure(t, c.tryCLI("", "revise", "group/1", "x", "y"), 2, "SEQ-ID")
	if got := c.cli("", "redact", "group/1", "1", "--sender", "alice", "-o", "jsonl"); !strings.Contains(got, `"revision":2`) {
		t.Errorf("redact: %s", got)
	}
	if got := c.cli("", "get", "group/1", "--seq", "1", "-o", "jsonl"); !strings.Contains(got, `"redacted":true`) || strings.Contains(got, "hello") {
		t.Errorf("a redacted message: %s", got)
	}
	if got := c.cli("", "explain", "group/1", "--message-id", "g1", "-o", "jsonl"); !strings.Contains(got, `"inbox_count":3`) || !strings.Contains(got, `"has_message":true`) || !strings.Contains(got, `"log_index":`) {
		t.Errorf("explain: %s", got)
	}
	if got := c.cli("", "explain", "group/1", "--seq", "1"); !strings.Contains(got, "LOG INDEX") || !strings.Contains(got, "inbox/carol") || !strings.Contains(got, "REDACTED") {
		t.Errorf("explain: %s", got)
	}
	c.cli("", "verify", "group/1")
	if got := c.cli("", "audit", "--state", "-o", "jsonl"); !strings.Contains(got, `"nodes":["n1"]`) || strings.Contains(got, "difference") {
		t.Errorf("audit of all records: %s", got)
	}
	if got := c.cli("", "update", "group/1", "--set", "topic=tides", "-o", "jsonl"); !strings.Contains(got, `"attributes":{"topic":"tides"}`) {
		t.Errorf("update: %s", got)
	}
	if got := c.cli("", "trim", "group/1", "--keep", "0", "-o", "jsonl"); !strings.Contains(got, `"first_seq_id":4,"last_seq_id":3,"count":0`) {
		t.Errorf("trim: %s", got)
	}
	if got := c.cli("", "policy", "set", "conv/", "--max-messages", "1", "--keep-at-least", "1", "--dry-run", "-o", "jsonl"); !strings.Contains(got, `"timelines_trimmed":1,"messages_trimmed":2`) {
		t.Errorf("dry run: %s", got)
	}
	c.cli("", "policy", "set", "old/", "--max-age", "720h", "--acked-by-all")
	if got := c.cli("", "policy", "list", "-o", "jsonl"); !strings.Contains(got, `{"prefix":"old/","max_age":"720h0m0s","acked_by_all":true}`) {
		t.Errorf("policies: %s", got)
	}
	c.cli("", "policy", "remove", "old/")
	wantFailure(t, c.tryCLI("", "policy", "set", "old/"), 2, "a condition must be given")
	wantFailure(t, c.tryCLI("", "delete", "inbox/carol"), 2, "--yes")
	c.cli("", "delete", "inbox/carol", "--yes")
	if got := c.cli("", "timelines", "--prefix", "inbox/", "--count"); strings.TrimSpace(got) != "2" {
		t.Errorf("count of inboxes: %s", got)
	}
	if got := c.cli("", "recipients", "group/1", "-o", "jsonl"); strings.Count(got, "\n") != 2 {
		t.Errorf("list of recipients: %s", got)
	}
	if got := c.cli("", "cursors", "--timeline", "conv/1", "--read-at-least", "2", "--count"); strings.TrimSpace(got) != "1" {
		t.Errorf("count: %s", got)
	}
	if got := c.cli("", "cursors", "--reader", "bob", "-o", "jsonl"); !strings.Contains(got, `"timeline":"conv/1"`) {
		t.Errorf("cursors: %s", got)
	}
	var timelines []struct {
		Timeline string `json:"timeline"`
		Count    int    `json:"count"`
	}
	parse(t, c.cli("", "timelines", "--prefix", "conv/", "-o", "json"), &timelines)
	if fmt.Sprint(timelines) != "[{conv/1 3} {conv/2 1}]" {
		t.Errorf("timelines: %v", timelines)
	}
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

// commandLineSync pulls from conv/1, of three messages, of which carol acknowledges two, and conv/2, of one.
func commandLineSync(t *testing.T, c *testCluster) {
	t.Helper()
	c.cli("", "ack", "conv/1", "--reader", "carol", "--delivered", "2")
	var synced struct {
		Timelines []struct {
			Timeline struct {
				Timeline string `json:"timeline"`
			} `json:"timeline"`
			Messages []struct {
				SeqID int `json:"seq_id"`
			} `json:"messages"`
		} `json:"timelines"`
		HasMore bool `json:"has_more"`
	}
	pull := func(args ...string) string {
		synced.Timelines = nil
		parse(t, c.cli("", append([]string{"sync", "-o", "json"}, args...)...), &synced)
		var got []string
		for _, timeline := range synced.Timelines {
			for _, message := range timeline.Messages {
				got = append(got, fmt.Sprint(timeline.Timeline.Timeline, "=", message.SeqID))
			}
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	for _, test := range []struct {
		args []string
		want string
		more bool
	}{
		{[]string{"conv/1=1", "conv/2=1", "conv/none"}, "conv/1=2 conv/1=3", false},
		{[]string{"conv/1", "conv/2", "--limit", "1"}, "conv/1=1 conv/2=1", true},
		{[]string{"conv/1", "conv/2", "--limit", "1", "--all"}, "conv/1=1 conv/1=2 conv/1=3 conv/2=1", false},
		{[]string{"conv/1", "conv/2", "--reader", "carol"}, "conv/1=3 conv/2=1", false},
		{[]string{"--reader", "carol", "--ack"}, "conv/1=3", false},
		{[]string{"--reader", "carol"}, "", false},
		{[]string{"conv/2", "--reader", "carol", "--all", "--ack"}, "conv/2=1", false},
		{[]string{"--reader", "carol", "--all"}, "", false},
	} {
		if got := pull(test.args...); got != test.want || synced.HasMore != test.more {
			t.Errorf("sync %v: %s, more %v; want %s", test.args, got, synced.HasMore, test.want)
		}
	}
	wantFailure(t, c.tryCLI("", "sync"), 2, "name timelines, or a --reader")
	wantFailure(t, c.tryCLI("", "sync", "conv/1=x"), 2, "=SEQID")
	if table := c.cli("", "verify", "conv/1"); !strings.Contains(table, "true") {
		t.Errorf("verify:\n%s", table)
	}
	wantFailure(t, c.tryCLI("", "verify", "conv/none"), 1, "timeline does not exist")
}

// What operators call, and what they scrape.
func TestOperatorsCommandLine(t *testing.T) {
	t.Parallel()
	c := start(t, 3)
	cl := c.client()
	c.cli("", "append", "conv/1", "hello")

	leader := c.leader(cl)
	status := c.cli("", "status")
	for _, node := range c.Nodes {
		if !strings.Contains(status, node.Listen) || !strings.Contains(status, node.RaftListen) {
			t.Errorf("status does not show %s:\n%s", node.ID, status)
		}
	}
	var statuses []struct {
		NodeID  string `json:"node_id"`
		Members []any  `json:"members"`
	}
	parse(t, c.cli("", "status", "-o", "json"), &statuses)
	if len(statuses) != 3 || statuses[1].NodeID != "n2" || len(statuses[2].Members) != 3 {
		t.Errorf("status in JSON: %+v", statuses)
	}
	if lines := strings.Count(c.cli("", "status", "-o", "jsonl"), "\n"); lines != 3 {
		t.Errorf("status has %d lines, want 3", lines)
	}
	follower := c.follower(cl)
	if got := c.cli("", "leader", "transfer", follower.ID); !strings.Contains(got, follower.ID) {
		t.Errorf("leader transfer: %s", got)
	}
	if now := c.leader(cl); now == leader {
		t.Errorf("%s still leads", leader.ID)
	}
	wantFailure(t, c.tryCLI("", "leader", "transfer", "n9"), 1, "member does not exist")
	wantFailure(t, c.tryCLI("", "member", "remove", "n9"), 1, "member does not exist")
	wantFailure(t, c.tryCLI("", "member", "add", c.Nodes[0].ID, "127.0.0.1:1"), 1, "member exists already")
	c.cli("", "snapshot")
	if audit := c.cli("", "audit", "--cursors", "--settings"); !strings.Contains(audit, "none") {
		t.Errorf("audit:\n%s", audit)
	}
	backup := filepath.Join(c.dir, "backup")
	c.cli("", "backup", backup)
	if info, err := os.Stat(backup); err != nil || info.Size() == 0 {
		t.Errorf("backup: %v, %v", info, err)
	}

	_, metrics, err := c.Nodes[0].HTTPGet(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tidemark_store_applied_index", "tidemark_disk_free_bytes", "go_goroutines", "process_resident_memory_bytes", "tidemark_raft", "tidemark_rpc"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/debug/pprof/goroutine?debug=1"} {
		if status, body, err := c.Nodes[0].HTTPGet(t.Context(), path); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s, %v", path, status, body, err)
		}
	}

	// Without a majority a node says so, and calls fail with what to do.
	for _, node := range c.Nodes[1:] {
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	waitUnready(t, c.Nodes[0], "leader")
	r := c.tryCLI("", "status")
	wantFailure(t, r, 1, "cannot serve", c.Nodes[1].Listen, c.Nodes[2].Listen)
	if !strings.Contains(r.stdout, c.Nodes[0].RaftListen) {
		t.Errorf("status does not show the node that answers:\n%s", r.stdout)
	}
	wantFailure(t, c.tryCLI("", "append", "conv/1", "x", "--timeout", "2s"), 1, "tidemark:")
	if got := c.cli("", "read", "conv/1", "--consistency", "local"); !strings.Contains(got, "hello") {
		t.Errorf("a local read without a majority:\n%s", got)
	}
}

// An import stops at the first bad line and names it; with --skip-invalid it goes on,
// and says in the end that it did not take everything.
func TestImportOfBrokenLines(t *testing.T) {
	t.Parallel()
	c := start(t, 1)
	const good = `{"timeline":"conv/%d","message_id":"m%d","body":"x"}` + "\n"
	text := fmt.Sprintf(good, 1, 1) + "\n" + fmt.Sprintf(good, 1, 2) + `{"timeline":"conv/1","text":"x"}` + "\n" + fmt.Sprintf(good, 1, 3)
	wantFailure(t, c.tryCLI(text, "import", "-"), 1, "line 4", `unknown field "text"`, "2 messages were acknowledged")
	r := c.tryCLI(text, "import", "-", "--skip-invalid")
	wantFailure(t, r, 1, "skipped line 4", "1 lines were skipped")
	if !strings.Contains(r.stdout, "imported 3 messages, 2 of them there before, 1 lines rejected") {
		t.Errorf("got %s", r.stdout)
	}
	conflict := `{"timeline":"conv/1","message_id":"m1","body":"other"}` + "\n"
	wantFailure(t, c.tryCLI(conflict, "import", "-"), 1, "line 1", "message id is taken by other content")
	if got := c.cli("", "export", "--prefix", "conv/1"); strings.Count(got, "\n") != 3 {
		t.Errorf("export:\n%s", got)
	}
}

// An export is imported into another cluster with its SeqIds, server times and digests, also
// of a timeline that was trimmed, and again; what does not fit there is refused.
func TestImportOfHistory(t *testing.T) {
	t.Parallel()
	from, to := start(t, 1), start(t, 1)
	for n := range 5 {
		from.cli("", "append", "conv/1", fmt.Sprint("hello ", n), "--message-id", fmt.Sprint("m", n), "--attribute", "lang=en")
		from.cli(fmt.Sprintf("\xff%d", n), "append", "conv/2", "--client-time", "2026-01-02T03:04:05Z")
	}
	from.cli("", "trim", "conv/1", "--keep", "3")
	exported := from.cli("", "export")
	if strings.Count(exported, "\n") != 8 || strings.Count(exported, `"previous_digest"`) != 1 {
		t.Fatalf("export:\n%s", exported)
	}
	for _, want := range []string{"imported 8 messages, 0 of them", "imported 8 messages, 8 of them"} {
		if got := to.cli(exported, "import", "--history", "-"); !strings.Contains(got, want) {
			t.Errorf("import: %s, want %s", got, want)
		}
		if got := to.cli("", "export"); got != exported {
			t.Errorf("the export of the import is\n%s\nand that which was imported\n%s", got, exported)
		}
	}
	to.cli("", "verify", "conv/1")

	// Inboxes are left out, and what cannot be left out is named.
	from.cli("", "append", "conv/2", "hi", "--to", "inbox/bob")
	from.cli("", "append", "inbox/bob", "a note", "--message-id", "note")
	if got := to.cli(from.cli("", "export", "--prefix", "inbox/"), "import", "--history", "-"); !strings.Contains(got, "imported 0 messages") || !strings.Contains(got, "2 lines of inboxes left out") {
		t.Errorf("import of an inbox: %s", got)
	}
	from.cli("", "append", "conv/3", "a note", "--message-id", "note")
	from.cli("", "append", "conv/2", "hi", "--to", "conv/3")
	wantFailure(t, to.tryCLI(from.cli("", "export", "--prefix", "conv/3"), "import", "--history", "-"), 1, "line 2", "source", "1 messages were acknowledged")

	// It goes on where the history ends, and there only.
	from.cli("", "append", "conv/1", "more", "--message-id", "m5")
	longer := from.cli("", "export", "--prefix", "conv/1")
	if got := to.cli(longer, "import", "--history", "-"); !strings.Contains(got, "imported 4 messages, 3 of them") {
		t.Errorf("import of what came since: %s", got)
	}
	to.cli("", "append", "conv/1", "its own", "--message-id", "own")
	from.cli("", "append", "conv/1", "a seventh", "--message-id", "m6")
	wantFailure(t, to.tryCLI(from.cli("", "export", "--prefix", "conv/1"), "import", "--history", "-"), 1, "line 1", "last sequence id is 7")

	// Messages behind another history than that which they had.
	tampered := strings.Replace(exported, `"hello 2"`, `"hullo 2"`, 1)
	wantFailure(t, start(t, 1).tryCLI(tampered, "import", "--history", "-"), 1, "line 1", "items[0].digest", "is another one")
	wantFailure(t, to.tryCLI(tampered, "import", "--history", "-"), 1, "line 1", "message id is taken by other content")
	wantFailure(t, to.tryCLI(`{"timeline":"conv/9","message_id":"m","body":"x"}`, "import", "--history", "-"), 1, "line 1", "no export")
	wantFailure(t, to.tryCLI("", "import", "--history", "--skip-invalid", "-"), 2, "--history goes without")
}
