package growth

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidemark/cmd/tidemark/internal/bench"
)

// measured makes up a dimension with two steps.
func measured(name string, p50 time.Duration) bench.GrowthDimension {
	d := bench.GrowthDimension{Name: name}
	for i := range 2 {
		step := bench.GrowthStep{Messages: 1000, Timelines: 1, Payload: 16, Tails: i * 100}
		call := bench.GrowthCall{Call: bench.GrowthAppend}
		call.Latency.P50 = p50
		step.Calls = append(step.Calls, call)
		d.Steps = append(d.Steps, step)
	}
	return d
}

// What is written by hand stays, what was measured before stays until it is measured again,
// and dimensions that have no place yet come at the end.
func TestPublish(t *testing.T) {
	file := filepath.Join(t.TempDir(), "growth.md")
	const by = "# By hand\n\n<!-- measured: tails -->\nold\n<!-- end of tails -->\n\nAnd why.\n"
	if err := os.WriteFile(file, []byte(by), 0o644); err != nil {
		t.Fatal(err)
	}
	publish := func(version string, dimensions ...bench.GrowthDimension) string {
		t.Helper()
		if err := Publish(file, dimensions, Origin{Version: version, Command: "tidemark bench"}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	publish("v1", measured(bench.GrowTails, 10*time.Millisecond), measured(bench.GrowMessages, 20*time.Millisecond))
	text := publish("v2", measured(bench.GrowTails, 30*time.Millisecond))
	for _, part := range []string{"# By hand\n\n<!-- measured: tails -->\n", "<!-- end of tails -->\n\nAnd why.\n", "## Messages", "| append | 100 | 1,000 | 0 | 30ms |", "20ms", "commit v1", "commit v2", "(growth/tails.svg)"} {
		if strings.Count(text, part) == 0 {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
	for _, part := range []string{"old\n", "10ms"} {
		if strings.Contains(text, part) {
			t.Errorf("there is still %q in\n%s", part, text)
		}
	}
	if again := publish("v3"); again != text {
		t.Errorf("written again without anything new, it is\n%s", again)
	}
	for _, name := range []string{"tails", "messages"} {
		wantSVG(t, filepath.Join(filepath.Dir(file), "growth", name+".svg"), "Latency, p50", "append", "<path d=\"M")
	}
	if err := Publish("growth.txt", nil, Origin{}); err == nil {
		t.Error("a name without .md is taken")
	}
}

// wantSVG fails the test unless the file is well-formed and has all the parts.
func wantSVG(t *testing.T, file string, parts ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s has no %q", file, part)
		}
	}
	if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
		t.Errorf("%s has places that are no numbers", file)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(text)))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

// Steps are placed by their logarithms, or side by side if one is zero.
func TestAxis(t *testing.T) {
	for _, c := range []struct {
		at, want []float64
	}{
		{[]float64{10, 100, 100_000}, []float64{0, 0.25, 1}},
		{[]float64{0, 5, 100_000}, []float64{0, 0.5, 1}},
		{[]float64{7}, []float64{0.5}},
	} {
		for i, place := range axis(c.at) {
			if d := place.share - c.want[i]; d > 1e-9 || d < -1e-9 {
				t.Errorf("%v of %v is at %v, want %v", c.at[i], c.at, place.share, c.want[i])
			}
		}
	}
}

// A scale begins at zero, or has powers of ten if values differ much; all values are on it.
func TestScale(t *testing.T) {
	for _, c := range []struct {
		values []float64
		first  float64
	}{{[]float64{3, 8}, 0}, {[]float64{3, 3000}, 1}, {[]float64{5}, 0}} {
		p := panel{lines: []line{{values: c.values}}}
		ticks, share := p.scale()
		if ticks[0] != c.first {
			t.Errorf("%v begins at %v, want %v", c.values, ticks[0], c.first)
		}
		for _, value := range append(c.values, ticks...) {
			if at := share(value); at < 0 || at > 1+1e-9 {
				t.Errorf("%v of %v is at %v", value, c.values, at)
			}
		}
	}
}
