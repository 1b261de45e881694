package e2e

import "testing"

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

// tidemark bench read measures every combination.
func TestBenchRead(t *testing.T) {
	measured := tidemark(t, "", "bench", "read", "--local", "3", "--callers", "4", "--timelines", "5", "--messages", "30", "--page", "10", "--warmup", "50ms", "--duration", "200ms", "-o", "json")
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
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	seen := map[string]bool{}
	for _, r := range report.Runs {
		seen[r.Mode+" "+r.Level+" "+r.Role] = true
		if r.Calls == 0 || r.Messages <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(report.Runs) != 3*3*2 || len(seen) != 3*3*2 {
		t.Errorf("%v", seen)
	}
	wantFailure(t, tidemark(t, "", "bench", "read", "--levels", "best", "--endpoints", "127.0.0.1:1"), 1, "levels must be of")
}

// tidemark bench append measures each way, and prints no rate when calls fail.
func TestBenchAppend(t *testing.T) {
	measured := tidemark(t, "", "bench", "append", "--local", "3", "--callers", "8", "--timelines", "10", "--batch", "5", "--warmup", "200ms", "--duration", "500ms", "-o", "json")
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
			Servers struct {
				Processor int64 `json:"processor_ns_per_message"`
				Memory    int64 `json:"resident_bytes_of_largest_node"`
			} `json:"servers"`
		} `json:"runs"`
	}
	parse(t, measured.stdout, &report)
	if len(report.Runs) != 3 {
		t.Fatalf("%s", measured.stdout)
	}
	for i, mode := range []string{"sdk", "unary", "batch"} {
		r := report.Runs[i]
		if r.Mode != mode || r.Calls == 0 || r.Messages <= 0 || r.Latency.P50 <= 0 || r.Servers.Processor <= 0 || r.Servers.Memory <= 0 {
			t.Errorf("%+v", r)
		}
	}
	wantFailure(t, tidemark(t, "", "bench", "append", "--modes", "pigeon", "--endpoints", "127.0.0.1:1"), 1, "modes must be of")
	wantFailure(t, tidemark(t, "", "bench", "append", "--callers", "0", "--endpoints", "127.0.0.1:1"), 1, "callers must be 1 to")
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
	measured := tidemark(t, "", "bench", "fanout", "--local", "3", "--sets", "5,200", "--callers", "2", "--duration", "1s", "-o", "json")
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
