package e2e

import (
	"fmt"
	"math"
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

// benchRun is what every run of calls says.
type benchRun struct {
	Level   string `json:"level"`
	Role    string `json:"role"`
	Calls   int64  `json:"calls"`
	Seconds []int  `json:"calls_by_second"`
	Latency struct {
		P50   int64   `json:"p50_ns"`
		Curve []int64 `json:"curve_ns"`
	} `json:"latency"`
	Servers serverUse `json:"servers"`
}

// wantRun fails the test unless calls were made, and cost the nodes something for each of what it says.
func wantRun(t *testing.T, r benchRun, per string) {
	t.Helper()
	if r.Calls == 0 || len(r.Seconds) == 0 || r.Latency.P50 <= 0 || len(r.Latency.Curve) == 0 {
		t.Errorf("%+v", r)
	}
	if r.Servers.Per != per || r.Servers.Processor <= 0 || r.Servers.Memory <= 0 {
		t.Errorf("%+v", r.Servers)
	}
}

// The benchmark of syncs measures each level on a leader and a follower, whose answers have all
// that is new.
func TestBenchSync(t *testing.T) {
	html := filepath.Join(t.TempDir(), "sync.html")
	measured := tidemark(t, "", "bench", "sync", "--local", "3", "--callers", "4", "--timelines", "50", "--messages", "10", "--positions", "30", "--changed", "7", "--news", "3",
		"--levels", "linearizable,local", "--warmup", "50ms", "--duration", "200ms", "--html", html, "-o", "json")
	if measured.status != 0 {
		t.Fatalf("%+v", measured)
	}
	var report struct {
		Runs []struct {
			benchRun
			Syncs    float64 `json:"calls_per_second"`
			Messages float64 `json:"messages_per_second"`
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	if len(report.Runs) != 4 {
		t.Fatalf("%s", measured.stdout)
	}
	for i, want := range []string{"linearizable leader", "linearizable follower", "local leader", "local follower"} {
		r := report.Runs[i]
		wantRun(t, r.benchRun, "sync")
		if r.Level+" "+r.Role != want || math.Abs(r.Messages-21*r.Syncs) > 1 {
			t.Errorf("%s: %+v", want, r)
		}
	}
	wantReport(t, html, "<td>local, follower</td>", "syncs/s")
	for _, wrong := range [][2]string{
		{"--positions=5001", "positions must be 1 to 5000"}, {"--changed=501", "changed must be 0 to 500"}, {"--news=21", "news must be 1 to 20"},
		{"--payload=100000", "news must fit into one answer"}, {"--levels=best", "levels must be of"}, {"--timelines=0", "timelines must be 1 to"},
	} {
		wantFailure(t, tidemark(t, "", "bench", "sync", wrong[0], "--endpoints", "127.0.0.1:1"), 1, wrong[1])
	}
}

// The benchmark of acknowledgements moves cursors, in an open loop at the rate that it is told.
func TestBenchAck(t *testing.T) {
	html := filepath.Join(t.TempDir(), "ack.html")
	measured := tidemark(t, "", "bench", "ack", "--local", "3", "--callers", "8", "--timelines", "20", "--messages", "5", "--readers", "10", "--items", "3",
		"--rate", "100", "--repeats", "2", "--warmup", "100ms", "--duration", "1s", "--html", html, "-o", "json")
	if measured.status != 0 {
		t.Fatalf("%+v", measured)
	}
	var report struct {
		Rate float64 `json:"rate"`
		Runs []struct {
			benchRun
			Cursors float64 `json:"cursors_per_second"`
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	if len(report.Runs) != 2 || report.Rate != 100 {
		t.Fatalf("%s", measured.stdout)
	}
	for _, r := range report.Runs {
		wantRun(t, r.benchRun, "cursor")
		// All that were to begin in the measured second, and those that were under way before it.
		if r.Calls < 100 || r.Calls > 110 || r.Cursors <= 0 || r.Servers.Syncs <= 0 {
			t.Errorf("%+v", r)
		}
	}
	wantReport(t, html, "<td>ack #2</td>", "open: 100 calls are begun in a second", "CPU/CURSOR")
	for _, wrong := range [][2]string{
		{"--items=1001", "items must be 1 to 1000"}, {"--readers=10001", "readers must be 1 to 10000"}, {"--rate=-1", "rate must be 0 to"}, {"--duration=1ms", "duration must be 100ms to"},
	} {
		wantFailure(t, tidemark(t, "", "bench", "ack", wrong[0], "--endpoints", "127.0.0.1:1"), 1, wrong[1])
	}
}

// The benchmark of a day does all kinds of operations, and measures each.
func TestBenchMixed(t *testing.T) {
	html := filepath.Join(t.TempDir(), "mixed.html")
	measured := tidemark(t, "", "bench", "mixed", "--local", "3", "--callers", "8", "--users", "100", "--history", "2",
		"--mix", "direct=30,group=20,read=20,ack=20,sync=10", "--warmup", "50ms", "--duration", "700ms", "--html", html, "-o", "json")
	if measured.status != 0 {
		t.Fatalf("%+v", measured)
	}
	var report struct {
		Direct int `json:"direct_conversations"`
		Groups int `json:"groups"`
		Runs   []struct {
			benchRun
			Kinds []struct {
				Kind  string  `json:"kind"`
				Calls int64   `json:"calls"`
				Items float64 `json:"items_per_second"`
			} `json:"kinds"`
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	if len(report.Runs) != 1 || report.Direct != 500 || report.Groups != 20 {
		t.Fatalf("%s", measured.stdout)
	}
	r := report.Runs[0]
	wantRun(t, r.benchRun, "operation")
	calls, kinds := int64(0), ""
	for _, k := range r.Kinds {
		calls, kinds = calls+k.Calls, kinds+k.Kind+" "
		if k.Items <= 0 && k.Kind != "sync" { // nothing may be new to a device
			t.Errorf("%+v", k)
		}
	}
	if calls != r.Calls || kinds != "direct group read ack sync " {
		t.Errorf("%d of %d calls are of kinds: %s", calls, r.Calls, kinds)
	}
	wantReport(t, html, "<td>group</td>", "inbox entries", "operations/s", "direct 30 %, group 20 %")
	for _, wrong := range [][2]string{
		{"--users=9", "users must be 10 to 1000000"}, {"--history=0", "history must be 1 to"}, {"--mix=read=99", "mix must be 100 together"}, {"--mix=write=100", "mix must be of"},
	} {
		wantFailure(t, tidemark(t, "", "bench", "mixed", wrong[0], "--endpoints", "127.0.0.1:1"), 1, wrong[1])
	}
	// Nothing answers, and that does not take forever.
	wantFailure(t, tidemark(t, "", "bench", "mixed", "--users", "10", "--timeout", "300ms", "--endpoints", "127.0.0.1:1"), 1, "make the groups")
}

// The benchmark of growth has a cluster grow step by step, stops, kills and adds nodes
// meanwhile, and writes tables and plots, also part by part.
func TestBenchGrowth(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "growth.md")
	grow := func(args ...string) (report struct {
		Dimensions []struct {
			Name  string `json:"name"`
			Steps []struct {
				Messages int64 `json:"messages"`
				Tails    int   `json:"tails"`
				Calls    []struct {
					Call string `json:"call"`
					benchRun
				} `json:"calls"`
				Space struct {
					Store    float64 `json:"store_bytes"`
					Resident int64   `json:"resident_bytes"`
					Live     int64   `json:"live_bytes"`
				} `json:"space"`
				Times map[string]any `json:"times"`
			} `json:"steps"`
		} `json:"dimensions"`
	}) {
		measured := tidemark(t, "", append([]string{"bench", "growth", "--fixed-messages", "1000", "--callers", "4", "--warmup", "20ms", "--duration", "200ms", "--markdown", page, "-o", "json"}, args...)...)
		if measured.status != 0 {
			t.Fatalf("%+v", measured)
		}
		parse(t, measured.stdout, &report)
		return report
	}
	report := grow("--dimensions", "messages", "--messages", "40,200", "--timelines", "1,10", "--burst", "50")
	if len(report.Dimensions) != 1 || len(report.Dimensions[0].Steps) != 2 {
		t.Fatalf("%+v", report)
	}
	for i, step := range report.Dimensions[0].Steps {
		if want := []int64{40, 200}[i]; step.Messages < want || step.Space.Store <= 0 || step.Space.Live <= 0 || step.Space.Resident < step.Space.Live || len(step.Calls) != 3 {
			t.Errorf("%+v", step)
		}
		for _, call := range step.Calls {
			wantRun(t, call.benchRun, map[string]string{"append": "message", "newest page": "page", "forward page": "page"}[call.Call])
		}
		for _, name := range []string{"snapshot_max_ns", "backup_ns", "start_ns", "start_after_kill_ns", "catch_up_ns", "join_ns"} {
			if took, ok := step.Times[name].(float64); !ok || took <= 0 {
				t.Errorf("%s: %v", name, step.Times[name])
			}
		}
	}
	if report = grow("--dimensions", "tails", "--tails", "0,100"); len(report.Dimensions) != 1 || len(report.Dimensions[0].Steps) != 2 || report.Dimensions[0].Steps[1].Tails != 100 {
		t.Fatalf("%+v", report)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"## Messages", "| forward page | 40 | 2 |", "(growth/messages.svg)", "## Tails", "| append | 100 |", "--tails=0,100"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the page does not have %q:\n%s", part, text)
		}
	}
	for _, name := range []string{"messages.svg", "tails.svg", "measured.json"} {
		if _, err := os.Stat(filepath.Join(strings.TrimSuffix(page, ".md"), name)); err != nil {
			t.Error(err)
		}
	}
	for _, wrong := range [][2]string{
		{"--messages=10,5", "messages must rise"}, {"--tails=100001", "tails must be 0 to 100000"}, {"--payloads=0", "payloads must be 1 to"}, {"--local=2", "local must be 3 to 5"}, {"--dimensions=age", "dimensions must be of"},
	} {
		wantFailure(t, tidemark(t, "", "bench", "growth", wrong[0]), 1, wrong[1])
	}
	wantFailure(t, tidemark(t, "", "bench", "growth", "--endpoints", "127.0.0.1:1"), 2, "it takes --local")
	wantFailure(t, tidemark(t, "", "bench", "growth", "--markdown", "no/such/growth.md"), 2, "--markdown:", "no/such")
}
