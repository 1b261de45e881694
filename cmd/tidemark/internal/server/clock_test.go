package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/cmd/tidemark/internal/exit"
)

// The clock is off by what the file says, follows it within the time of a look, and
// keeps what it has while the file cannot be read.
func TestOffsetClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "offset")
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("0s")
		var log strings.Builder
		now, err := openClock(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			text string
			want time.Duration
		}{{"0s", 0}, {"1h30m\n", 90 * time.Minute}, {"-5ms", -5 * time.Millisecond}, {"nonsense", -5 * time.Millisecond}, {"0s", 0}} {
			write(step.text)
			time.Sleep(clockLook)
			if got := now().Sub(time.Now().Round(0)); got != step.want {
				t.Errorf("with %q the clock is off by %v, want %v", step.text, got, step.want)
			}
		}
		write("2h")
		if got := now().Sub(time.Now().Round(0)); got != 0 {
			t.Errorf("the file is looked at more often than every %v: %v", clockLook, got)
		}
		for _, want := range []string{"wrong on purpose", "the clock steps", "nonsense"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.String())
			}
		}
	})
}

func TestClockWithoutAFileIsTheMachines(t *testing.T) {
	now, err := openClock("", slog.Default())
	if err != nil || time.Until(now()).Abs() > time.Minute {
		t.Errorf("got %v", err)
	}
	if _, err := openClock(filepath.Join(t.TempDir(), "none"), slog.Default()); exit.Status(err) != exit.Usage || !strings.Contains(err.Error(), "--clock-offset-file") {
		t.Errorf("without the file it is %v, want a usage error", err)
	}
}
