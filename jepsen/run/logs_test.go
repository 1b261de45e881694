//go:build linux

package run

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
)

func nodesOfLogs(logs []history.LogEntry) []string {
	var nodes []string
	for _, e := range logs {
		nodes = append(nodes, e.Node)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// In the logs that a run with kills and cuts collected, one other byte of one entry
// is found, and so is another entry before one that two nodes share.
func TestAnAlteredLogEntryIsFound(t *testing.T) {
	t.Parallel()
	o := short(t)
	o.Mix = []string{"kill", "cut-one"}
	o.tamper = func(h *history.History) {
		if v := Judge(h, nil, t.TempDir(), 0); !v.Pass {
			t.Errorf("the run as it was failed: %s", v.Reason)
		}
		if nodes := nodesOfLogs(h.Logs); !slices.Equal(nodes, []string{"n1", "n2", "n3"}) {
			t.Errorf("logs of %v were read", nodes)
		}
		alter := []struct {
			what string
			do   func(*history.LogEntry)
		}{
			{"other bytes", func(e *history.LogEntry) { e.Hash = flipped(e.Hash) }},
			{"another entry before it", func(e *history.LogEntry) { e.PreviousTerm += 5 }},
			{"another term", func(e *history.LogEntry) { e.Term += 5 }},
		}
		random := rand.New(rand.NewPCG(o.Seed, 0))
		for _, a := range alter {
			e := &h.Logs[sharedEntry(t, h.Logs, random)]
			kept := *e
			a.do(e)
			if v := Judge(h, nil, t.TempDir(), 0); v.Pass || !strings.Contains(v.Reason, "log-mismatch") {
				t.Errorf("%s at %+v is judged %q", a.what, kept, v.Reason)
			}
			*e = kept
		}
		h.Logs[sharedEntry(t, h.Logs, random)].Hash = "0123456789abcdef"
	}
	result, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if result.Pass || !strings.Contains(result.Reason, "log-mismatch") {
		t.Errorf("the run is judged %q", result.Reason)
	}
	if page, err := os.ReadFile(filepath.Join(o.Out, "report.html")); err != nil || !bytes.Contains(page, []byte("log entries compared")) {
		t.Errorf("the report does not count log entries (%v)", err)
	}
}

// flipped is the hash with its first digit changed.
func flipped(hash string) string {
	if hash[0] == '0' {
		return "1" + hash[1:]
	}
	return "0" + hash[1:]
}

// sharedEntry is one of the entries that two nodes hold, and that tells what it came after.
func sharedEntry(t *testing.T, logs []history.LogEntry, random *rand.Rand) int {
	t.Helper()
	type position struct{ index, term uint64 }
	nodes := map[position]string{}
	var shared []int
	for i, e := range logs {
		p := position{e.Index, e.Term}
		if other, ok := nodes[p]; ok && other != e.Node && e.PreviousTerm != 0 {
			shared = append(shared, i)
		}
		nodes[p] = e.Node
	}
	if len(shared) == 0 {
		t.Fatalf("none of %d log entries is held by two nodes", len(logs))
	}
	return shared[random.IntN(len(shared))]
}

// Only what a log did not show when it was last read is recorded again.
func TestEntriesAreRecordedOnce(t *testing.T) {
	entry := func(index, term uint64, hash string) history.LogEntry {
		return history.LogEntry{Node: "n1", Index: index, Term: term, PreviousTerm: term, Hash: hash}
	}
	first := history.LogEntry{Node: "n1", Index: 5, Term: 1, Hash: "a"}
	before := []history.LogEntry{first, entry(6, 1, "b"), entry(7, 1, "c")}
	for name, c := range map[string]struct{ now, want []history.LogEntry }{
		"the same":         {before, nil},
		"one more":         {append(slices.Clone(before), entry(8, 1, "d")), []history.LogEntry{entry(8, 1, "d")}},
		"cut at the front": {[]history.LogEntry{{Node: "n1", Index: 6, Term: 1, Hash: "b"}, entry(7, 1, "c")}, nil},
		"emptied":          {nil, nil},
		"another tail": {[]history.LogEntry{first, entry(6, 1, "b"), {Node: "n1", Index: 7, Term: 2, PreviousTerm: 1, Hash: "x"}},
			[]history.LogEntry{{Node: "n1", Index: 7, Term: 2, PreviousTerm: 1, Hash: "x"}}},
		"other bytes": {[]history.LogEntry{first, entry(6, 1, "other")}, []history.LogEntry{entry(6, 1, "other")}},
		"elsewhere":   {[]history.LogEntry{entry(90, 1, "z")}, []history.LogEntry{entry(90, 1, "z")}},
		"earlier":     {[]history.LogEntry{entry(1, 1, "y")}, []history.LogEntry{entry(1, 1, "y")}},
	} {
		if got := added(before, c.now); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// What the command prints must be a log: without gaps, and each entry whole.
func TestPrintedLogsAreChecked(t *testing.T) {
	line := func(index, term int, hash string) string {
		return fmt.Sprintf(`{"index":%d,"term":%d,"type":"command","bytes":1,"sha256":%q}`+"\n", index, term, hash)
	}
	const hash = "0123456789abcdef0123"
	got, err := parseLog("n1", strings.NewReader(line(3, 1, hash)+line(4, 2, hash)))
	want := []history.LogEntry{{Node: "n1", Index: 3, Term: 1, Hash: hash[:16]}, {Node: "n1", Index: 4, Term: 2, PreviousTerm: 1, Hash: hash[:16]}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v (%v), want %+v", got, err, want)
	}
	for name, text := range map[string]string{
		"a gap": line(3, 1, hash) + line(5, 1, hash), "no term": line(3, 0, hash), "no hash": line(3, 1, ""),
		"half a line": line(3, 1, hash)[:20], "something else": "INDEX  TERM\n",
	} {
		if got, err := parseLog("n1", strings.NewReader(text)); err == nil {
			t.Errorf("%s is read as %+v", name, got)
		}
	}
}

// stoppedNode is a node of which only the directory is there.
type stoppedNode struct {
	host.Node
	dir string
}

func (n stoppedNode) ID() host.NodeID { return "n1" }
func (n stoppedNode) DataDir() string { return n.dir }

// A log that cannot be read is an anomaly, unless its disk was damaged on purpose
// before, and a directory without a node has none.
func TestUnreadLogs(t *testing.T) {
	recorder := history.NewRecorder(history.Meta{})
	l := newLogs(binary, nil, recorder)
	empty := stoppedNode{dir: t.TempDir()}
	l.read(t.Context(), empty)
	if found := l.anomalies(recorder.History()); len(found) > 0 {
		t.Errorf("an empty directory: %v", found)
	}
	damaged := stoppedNode{dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(damaged.dir, "NODE"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l.read(ended, damaged)
	if found := l.anomalies(recorder.History()); len(found) > 0 {
		t.Errorf("after the run was interrupted: %v", found)
	}
	l.read(t.Context(), damaged)
	h := recorder.History()
	for _, c := range []struct {
		faults []history.Fault
		want   int
	}{
		{nil, 1},
		{[]history.Fault{{Name: "power-one", Target: "n1"}}, 1},
		{[]history.Fault{{Name: "disk-corrupt", Target: "n2 n10"}}, 1},
		{[]history.Fault{{Name: "disk-corrupt", Target: "n1", From: time.Hour}}, 1},
		{[]history.Fault{{Name: "disk-corrupt", Target: "n2 n1", From: 0, To: 1}}, 0},
	} {
		h.Faults = c.faults
		found := l.anomalies(h)
		if len(found) != c.want || slices.ContainsFunc(found, func(a checker.Anomaly) bool {
			return a.Checker != "log-unread" || !strings.Contains(a.Summary, "NODE")
		}) {
			t.Errorf("with %+v: %v, want %d", c.faults, found, c.want)
		}
	}
}
