package htmlreport

import (
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"tidemark/internal/load"
)

func samplePage() Page {
	fast, slow := load.NewHistogram(), load.NewHistogram()
	for i := range 1000 {
		fast.Record(time.Duration(200+i) * time.Microsecond)
		slow.Record(time.Duration(2+i/10) * time.Millisecond)
	}
	return Page{
		Title: "tidemark bench append", Command: "tidemark bench append --local=3", Version: "v1", Started: time.Unix(0, 0).UTC(),
		Settings: []Setting{{"callers", "64"}, {"payload", "256 <bytes>"}},
		Tables: []Table{
			{Title: "Runs", Head: []string{"RUN", "MESSAGES/S"}, Numbers: 1, Rows: [][]string{{"sdk & co", "12345"}}},
			{Title: "What the servers used", Head: []string{"RUN", "CPU/MESSAGE"}, Numbers: 1, Rows: [][]string{{"sdk & co", "12µs"}}},
		},
		Lines: []Line{
			{Name: "sdk & co", Latency: fast.Latency(), Seconds: []float64{100, 120, 60}, Lasted: 2500 * time.Millisecond},
			{Name: "unary", Latency: slow.Latency(), Seconds: []float64{10, 20, 3}, Lasted: 2010 * time.Millisecond},
			{Name: "deliveries", Latency: slow.Latency()},
		},
		Unit: "messages/s",
	}
}

func render(t *testing.T, p Page) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A page is well formed, loads nothing, and has what it was given.
func TestWrite(t *testing.T) {
	text := render(t, samplePage())
	decoder := xml.NewDecoder(strings.NewReader(text))
	decoder.Entity = xml.HTMLEntity
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well formed: %v\n%s", err, text)
		}
	}
	for _, loads := range []string{"http://", "https://", "<script", "src=", "href=", "url(", "@import"} {
		if strings.Contains(text, loads) {
			t.Errorf("the page has %q", loads)
		}
	}
	for _, part := range []string{
		"<h1>tidemark bench append</h1>", "tidemark bench append --local=3", "256 &lt;bytes&gt;", `<td class="n">12345</td>`, "<h2>What the servers used</h2>",
		"<td>sdk &amp; co</td>", "<title>unary</title>", "99.99 %", ">100µs</text>", ">1ms</text>", ">messages/s</text>", ">percentile of the calls</text>",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not have %q", part)
		}
	}
	if n := strings.Count(text, "</svg>deliveries</li>"); n != 1 {
		t.Errorf("%d legends have what is in one chart", n)
	}
	if n := strings.Count(text, "ZgotmplZ") + strings.Count(text, "NaN") + strings.Count(text, "Inf"); n > 0 {
		t.Errorf("%d values could not be rendered", n)
	}
}

// Lines stay within their chart, latencies rise, and there is one for each run.
func TestCharts(t *testing.T) {
	lines := samplePage().Lines
	latency, rate := latencies(lines), throughput(lines, "messages/s")
	if len(latency.Paths) != 3 || len(rate.Paths) != 2 {
		t.Fatalf("%d and %d lines", len(latency.Paths), len(rate.Paths))
	}
	for _, p := range latency.Paths {
		points := regexp.MustCompile(`[ML]([\d.]+) ([\d.]+)`).FindAllStringSubmatch(p.D, -1)
		if len(points) != len(load.CurvePercentiles()) {
			t.Errorf("%s has %d points", p.Name, len(points))
		}
	}
	if d := latency.Paths[0].D; !strings.HasPrefix(d, "M84.0 ") || !strings.Contains(d, "L704.0 ") {
		t.Errorf("from the left to the right edge: %s", d)
	}
	// Half a second is scaled to a whole one, and a hundredth is left out.
	if d := rate.Paths[0].D; d != "M84.0 92.0V92.0H332.0V60.0H580.0V60.0H704.0" {
		t.Errorf("%s", d)
	}
	if got := perSecond(lines[1]); len(got) != 2 || got[1] != 20 {
		t.Errorf("%v", got)
	}
	if got := perSecond(lines[0]); len(got) != 3 || got[2] != 120 {
		t.Errorf("%v", got)
	}
}

// Nothing divides by zero when there is nothing to draw.
func TestEmptyCharts(t *testing.T) {
	for _, lines := range [][]Line{nil, {{Name: "none"}}, {{Name: "zero", Seconds: []float64{0}, Lasted: time.Second}}} {
		p := samplePage()
		p.Lines = lines
		if text := render(t, p); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%+v: %s", lines, text)
		}
	}
}

func TestNiceStep(t *testing.T) {
	for raw, want := range map[float64]float64{0: 1, 0.3: 0.5, 1: 1, 3: 5, 7: 10, 1200: 2000} {
		if got := niceStep(raw); got != want {
			t.Errorf("niceStep(%v) is %v, want %v", raw, got, want)
		}
	}
}
