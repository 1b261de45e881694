package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The benchmark of tails delivers everything on the leader and on a follower, and says
// what it found; and it refuses what it cannot do.
func TestBenchTail(t *testing.T) {
	t.Parallel()
	var report struct {
		Nodes []struct {
			Leads    bool    `json:"leads"`
			CatchUp  float64 `json:"catch_up_messages_per_second"`
			Delivery struct {
				Count int `json:"count"`
			} `json:"reply_to_delivery"`
		} `json:"nodes"`
	}
	measured := tidemark(t, "", "bench", "tail", "--local", "3", "--subscriptions", "500", "--rate", "200", "--duration", "1s", "--backlog", "1000", "-o", "json")
	if measured.status != 0 {
		t.Fatalf("exit status %d\n%s", measured.status, measured.stderr)
	}
	parse(t, measured.stdout, &report)
	if len(report.Nodes) != 2 || !report.Nodes[0].Leads || report.Nodes[1].Leads {
		t.Fatalf("measured %+v", report.Nodes)
	}
	for _, node := range report.Nodes {
		if node.Delivery.Count != 200 || node.CatchUp <= 0 {
			t.Errorf("measured %+v", node)
		}
	}
	wantFailure(t, tidemark(t, "", "bench", "tail", "--subscriptions", "100001", "--endpoints", "127.0.0.1:1"), 1, "subscriptions must be 1 to 100000")
	wantFailure(t, tidemark(t, "", "bench", "tail", "--local", "3", "--http", "127.0.0.1:1"), 2, "--local goes without")
}

// tidemark bench read measures every combination, as often as it is told to.
func TestBenchRead(t *testing.T) {
	measured := tidemark(t, "", "bench", "read", "--local", "3", "--callers", "4", "--timelines", "5", "--messages", "30", "--page", "10", "--warmup", "50ms", "--duration", "100ms", "--repeats", "2", "-o", "json")
	if measured.status != 0 {
		t.Fatalf("%+v", measured)
	}
	var report struct {
		Runs []struct {
			Mode     string  `json:"mode"`
			Level    string  `json:"level"`
			Role     string  `json:"role"`
			Calls    int64   `json:"calls"`
			Messages float64 `json:"messages_per_second"`
			Repeat   int     `json:"repeat"`
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	seen := map[string]bool{}
	for _, r := range report.Runs {
		seen[fmt.Sprint(r.Mode, r.Level, r.Role, r.Repeat)] = true
		if r.Calls == 0 || r.Messages <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(report.Runs) != 2*3*3*2 || len(seen) != 2*3*3*2 {
		t.Errorf("%v", seen)
	}
	wantFailure(t, tidemark(t, "", "bench", "read", "--levels", "best", "--endpoints", "127.0.0.1:1"), 1, "levels must be of")
}

// serverUse is what a bench says that the nodes used.
type serverUse struct {
	Per       string  `json:"per"`
	Processor int64   `json:"processor_ns"`
	Written   float64 `json:"written_bytes"`
	Syncs     float64 `json:"fsyncs"`
	Memory    int64   `json:"resident_bytes_of_largest_node"`
}

// tidemark bench append measures each way, writes a report with charts, and prints no rate
// when calls fail.
func TestBenchAppend(t *testing.T) {
	html := filepath.Join(t.TempDir(), "append.html")
	measured := tidemark(t, "", "bench", "append", "--local", "3", "--callers", "8", "--timelines", "10", "--batch", "5", "--warmup", "200ms", "--duration", "500ms", "--html", html, "-o", "json")
	if measured.status != 0 {
		t.Fatalf("%+v", measured)
	}
	var report struct {
		Runs []struct {
			Mode     string  `json:"mode"`
			Calls    int64   `json:"calls"`
			Messages float64 `json:"messages_per_second"`
			Latency  struct {
				P50 int64 `json:"p50_ns"`
			} `json:"latency"`
			Servers serverUse `json:"servers"`
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	if len(report.Runs) != 4 {
		t.Fatalf("%s", measured.stdout)
	}
	for i, mode := range []string{"sdk", "unary", "stream", "batch"} {
		r := report.Runs[i]
		if r.Mode != mode || r.Calls == 0 || r.Messages <= 0 || r.Latency.P50 <= 0 {
			t.Errorf("%+v", r)
		}
		// All three nodes write each message, of 256 bytes, at least to their logs; several share an fsync.
		if u := r.Servers; u.Per != "message" || u.Processor <= 0 || u.Memory <= 0 || u.Written < 3*256 || u.Syncs <= 0 || u.Syncs > 4 {
			t.Errorf("%s: %+v", mode, u)
		}
	}
	wantReport(t, html, "tidemark bench append --batch=5", "<td>stream</td>", "<title>stream</title>", "Throughput over time", "messages/s")
	wantFailure(t, tidemark(t, "", "bench", "append", "--modes", "pigeon", "--endpoints", "127.0.0.1:1"), 1, "modes must be of")
	wantFailure(t, tidemark(t, "", "bench", "append", "--callers", "0", "--endpoints", "127.0.0.1:1"), 1, "callers must be 1 to")
	wantFailure(t, tidemark(t, "", "bench", "append", "--repeats", "101", "--endpoints", "127.0.0.1:1"), 1, "repeats must be 1 to 100")
	wantFailure(t, tidemark(t, "", "bench", "append", "--html", "no/such/directory.html", "--local", "3"), 2, "--html:", "no/such")
}

// wantReport fails the test unless the file is a page that loads nothing, and has all the parts.
func wantReport(t *testing.T, file string, parts ...string) {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, part := range append(parts, "<svg", "Latency by percentile", "What the servers used", "</html>") {
		if !strings.Contains(text, part) {
			t.Errorf("the report does not have %q", part)
		}
	}
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") || strings.Contains(text, "<script") {
		t.Error("the report refers to something outside of it")
	}
}

// The benchmark of fan-outs reaches every inbox, and says what the log grows by, which does
// not depend on their number.
func TestBenchFanOut(t *testing.T) {
	t.Parallel()
	var report struct {
		Sets []struct {
			Inboxes  int     `json:"inboxes"`
			Entries  float64 `json:"entries_per_second"`
			LogBytes float64 `json:"log_bytes_per_message"`
			Singles  float64 `json:"single_appends_per_second"`
		} `json:"sets"`
	}
	measured := tidemark(t, "", "bench", "fanout", "--local", "3", "--sets", "5,200", "--callers", "2", "--warmup", "100ms", "--duration", "1s", "-o", "json")
	if measured.status != 0 {
		t.Fatalf("exit status %d\n%s", measured.status, measured.stderr)
	}
	parse(t, measured.stdout, &report)
	if len(report.Sets) != 2 || report.Sets[1].Inboxes != 200 {
		t.Fatalf("measured %+v", report.Sets)
	}
	for _, set := range report.Sets {
		if set.Entries <= 0 || set.Singles <= 0 || set.LogBytes < 256 || set.LogBytes > 1000 {
			t.Errorf("measured %+v", set)
		}
	}
	wantFailure(t, tidemark(t, "", "bench", "fanout", "--sets", "10001", "--endpoints", "127.0.0.1:1"), 1, "sets must be 1 to 10000")
}
