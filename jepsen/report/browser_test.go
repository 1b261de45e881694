package report

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tidemark/jepsen/checker"
)

// requireBrowser is the environment variable that makes it a failure that there is no
// browser, as in CI, where nobody reads what was skipped.
const requireBrowser = "TIDEMARK_REQUIRE_BROWSER"

// chromium is a browser that needs no screen, or a reason to skip.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(requireBrowser) != "" {
		t.Fatalf("there is no Chromium, and %s is set", requireBrowser)
	}
	t.Skip("there is no Chromium on this machine")
	return ""
}

// measures are what a page says of itself in a browser, in CSS pixels.
type measures struct {
	Width, ScrollWidth float64
	// Verdict is the first heading.
	Verdict struct{ Left, Top, Right, Bottom float64 }
	// Charts are the widths of all of them, Axis the height of the lowest of their labels.
	Charts []float64
	Axis   float64
}

// measuring is put into a copy of the page, which is in a frame.
const measuring = `<script>addEventListener("load", () => {
  const rect = e => { const r = e.getBoundingClientRect(); return {Left: r.left, Top: r.top, Right: r.right, Bottom: r.bottom} };
  parent.document.body.dataset.measures = JSON.stringify({
    Width: innerWidth, ScrollWidth: document.documentElement.scrollWidth, Verdict: rect(document.querySelector("h1")),
    Charts: [...document.querySelectorAll("svg")].map(e => e.getBoundingClientRect().width),
    Axis: Math.min(...[...document.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height)),
  });
})</script>`

// browse opens a page in a window of the size, with further arguments, and returns
// what the browser printed.
func browse(t *testing.T, browser, path string, width, height int, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + t.TempDir(),
		fmt.Sprintf("--window-size=%d,%d", width, height),
	}, append(arguments, "file://"+path)...)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	return string(out)
}

// measure lets the page measure itself, in a frame of the size: no window is as narrow
// as a phone.
func measure(t *testing.T, browser, path string, width, height int) measures {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	measured := filepath.Join(t.TempDir(), "measured.html")
	frame := fmt.Sprintf(`<!DOCTYPE html><body><iframe style="border: 0" width="%d" height="%d" srcdoc="%s"></iframe>`,
		width, height, html.EscapeString(string(text)+measuring))
	if err := os.WriteFile(measured, []byte(frame), 0o644); err != nil {
		t.Fatal(err)
	}
	dom := browse(t, browser, measured, 2*width, 2*height, "--dump-dom")
	found := regexp.MustCompile(`data-measures="([^"]*)"`).FindStringSubmatch(dom)
	if found == nil {
		t.Fatalf("the page did not measure itself: %.300s", dom)
	}
	var m measures
	if err := json.Unmarshal([]byte(html.UnescapeString(found[1])), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// photograph keeps a picture of the page among the test's artifacts.
func photograph(t *testing.T, browser, path string, width, height int) image.Image {
	t.Helper()
	shot := filepath.Join(t.ArtifactDir(), strings.TrimSuffix(filepath.Base(path), ".html")+".png")
	browse(t, browser, path, width, height, "--screenshot="+shot)
	file, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// share is how much of a part of the picture has the property.
func share(picture image.Image, part image.Rectangle, has func(color.Color) bool) float64 {
	part = part.Intersect(picture.Bounds())
	count := 0
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			if has(picture.At(x, y)) {
				count++
			}
		}
	}
	return float64(count) / float64(max(1, part.Dx()*part.Dy()))
}

// Reports and the page of a suite open in a browser at the widths of a desktop and of
// a phone: they do not scroll sideways, the verdict is the first thing to see, and
// what is drawn can be read.
func TestScreenshot(t *testing.T) {
	browser := chromium(t)
	passed := Page{History: sampleHistory(), Reason: "1000 operations: no anomaly", Setting: "network namespaces; faults: cut, delay, loss, bandwidth, disk",
		Parameters: []Parameter{{"nodes", "3"}, {"mix", "kill"}, {"environment", strings.Repeat("LONG_WORD=", 30)}}}
	failed := passed
	failed.Reason = "lost-append; first: m3 is gone"
	failed.Verdict.Anomalies = []checker.Anomaly{{Checker: "lost-append", Summary: "m3 is gone", Timeline: "hot/1", Operations: []int64{3, 450, 1000}}}
	suite := Index{Title: "All mixes", Version: "v1-12-g1234567-dirty", Wanted: 3, Passed: 1, Runs: []IndexRun{
		{Name: "kill+partition/5", Link: "x/report.html", Pass: true, Nodes: 5, Operations: 1e6, AcknowledgedAppends: 1e6, Took: time.Hour},
		{Name: "power/3", Link: "y/report.html", Reason: "lost-append; first: " + strings.Repeat("m3 is gone ", 20), Nodes: 3},
	}}
	pass, fail := color.RGBA{0x1a, 0x7f, 0x4b, 0xff}, color.RGBA{0xb3, 0x26, 0x1e, 0xff}
	for _, page := range []struct {
		name   string
		write  func(path string) error
		colour color.RGBA
		charts int
	}{
		{"passed", func(path string) error { return WriteFile(path, passed) }, pass, 7},
		{"failed", func(path string) error { return WriteFile(path, failed) }, fail, 7},
		{"suite", func(path string) error { return WriteIndex(path, suite) }, fail, 0},
	} {
		for _, screen := range []struct {
			name          string
			width, height int
		}{{"desktop", 1280, 900}, {"phone", 390, 844}} {
			t.Run(page.name+"-"+screen.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), page.name+"-"+screen.name+".html")
				if err := page.write(path); err != nil {
					t.Fatal(err)
				}
				m := measure(t, browser, path, screen.width, screen.height)
				if int(m.Width) != screen.width || m.ScrollWidth > m.Width {
					t.Errorf("the window is %v wide, wanted %d, and what is in it %v", m.Width, screen.width, m.ScrollWidth)
				}
				if m.Verdict.Top < 0 || m.Verdict.Bottom > 150 || m.Verdict.Right > m.Width {
					t.Errorf("the verdict is at %+v", m.Verdict)
				}
				if len(m.Charts) != page.charts {
					t.Errorf("there are %d charts, want %d", len(m.Charts), page.charts)
				}
				for _, width := range m.Charts {
					if width < 0.7*m.Width || width > m.Width {
						// A page of a desktop is not wider than can be read.
						if screen.name == "phone" || width < 700 {
							t.Errorf("a chart is %v wide, in a window of %v", width, m.Width)
						}
					}
				}
				if page.charts > 0 && m.Axis < 8 {
					t.Errorf("a label of a chart is %v high", m.Axis)
				}
				picture := photograph(t, browser, path, screen.width, screen.height)
				at := image.Rect(int(m.Verdict.Left), int(m.Verdict.Top), int(m.Verdict.Right), int(m.Verdict.Bottom))
				if seen := share(picture, at, func(c color.Color) bool { return c == page.colour }); seen < 0.01 {
					t.Errorf("%.2f %% of where the verdict stands has its colour", 100*seen)
				}
				background := picture.At(picture.Bounds().Max.X-1, 0)
				if ink := share(picture, picture.Bounds(), func(c color.Color) bool { return c != background }); ink < 0.02 {
					t.Errorf("only %.1f %% of the picture differ from its background", 100*ink)
				}
			})
		}
	}
}
