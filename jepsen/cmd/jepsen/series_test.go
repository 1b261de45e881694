//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"tidemark/jepsen/run"
)

// staged is a series of runs a, b, c, … that do nothing but what outcome says, and
// leave a result.json as real ones do.
func staged(t *testing.T, out string, count, parallel int, outcome func(name string) (bool, error)) (*series, *atomic.Int32) {
	var performed atomic.Int32
	s := &series{title: "staged", out: out, parallel: parallel}
	for i := range count {
		name := string(rune('a' + i))
		o := run.Defaults()
		o.Out, o.Version, o.CommandLine = filepath.Join(out, name), "v1", "run "+name
		s.jobs = append(s.jobs, job{name: name, options: o})
	}
	s.perform = func(_ context.Context, o run.Options, _ *console) (*run.Result, error) {
		performed.Add(1)
		result := &run.Result{Reason: "staged"}
		result.Meta.CommandLine, result.Meta.Version = o.CommandLine, o.Version
		result.Verdict.Counts.Operations, result.Verdict.Counts.AcknowledgedAppends = 10, 7
		var err error
		if result.Pass, err = outcome(filepath.Base(o.Out)); err != nil {
			return nil, err
		}
		text, err := json.Marshal(result)
		if err != nil {
			return nil, err
		}
		return result, errors.Join(os.MkdirAll(o.Out, 0o755), os.WriteFile(filepath.Join(o.Out, "result.json"), text, 0o644))
	}
	return s, &performed
}

func TestASeriesGoesOnWhereItFailed(t *testing.T) {
	out := t.TempDir()
	s, performed := staged(t, out, 5, 3, func(name string) (bool, error) {
		if name == "d" {
			return false, errors.New("could not form")
		}
		return name != "b", nil
	})
	sum, err := s.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if sum.Passed != 3 || len(sum.Runs) != 5 || sum.Operations != 40 || sum.AcknowledgedAppends != 28 || performed.Load() != 5 {
		t.Errorf("%d performed, and the sum is %+v", performed.Load(), sum)
	}
	if sum.Runs[1].Name != "b" || sum.Runs[1].Pass || !strings.Contains(sum.Runs[3].Reason, "no verdict: could not form") {
		t.Errorf("runs are %+v", sum.Runs)
	}
	if err := sum.verdict("all"); !errors.Is(err, errFail) {
		t.Errorf("the verdict is %v", err)
	}

	s, performed = staged(t, out, 5, 1, func(string) (bool, error) { return true, nil })
	if sum, err = s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if performed.Load() != 2 || sum.Passed != 5 || sum.AcknowledgedAppends != 35 || !sum.Runs[0].Earlier || sum.Runs[1].Earlier {
		t.Errorf("the second time %d were performed, and the sum is %+v", performed.Load(), sum)
	}
	var written summary
	if text, err := os.ReadFile(filepath.Join(out, "suite.json")); err != nil || json.Unmarshal(text, &written) != nil || written.Passed != 5 {
		t.Errorf("suite.json holds %+v (%v)", written, err)
	}
	page, err := os.ReadFile(filepath.Join(out, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>PASS</h1>", `href="a/report.html"`, `href="e/report.html"`, "5 of 5"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("index.html lacks %q", want)
		}
	}
}

// A run that passed counts only for the same version and the same command.
func TestAnotherVersionIsRunAgain(t *testing.T) {
	out := t.TempDir()
	pass := func(string) (bool, error) { return true, nil }
	s, _ := staged(t, out, 2, 1, pass)
	if _, err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, performed := staged(t, out, 2, 1, pass)
	s.jobs[0].options.Version = "v2"
	s.jobs[1].options.CommandLine = "run for longer"
	if _, err := s.run(t.Context()); err != nil || performed.Load() != 2 {
		t.Errorf("%d of 2 were done again (%v)", performed.Load(), err)
	}
}

func TestARepetitionEndsAtTheFirstFailure(t *testing.T) {
	s, performed := staged(t, t.TempDir(), 5, 1, func(name string) (bool, error) { return name != "b", nil })
	s.untilFailure = true
	sum, err := s.run(t.Context())
	if err != nil || performed.Load() != 2 || sum.Passed == sum.Wanted {
		t.Errorf("%d were done, %d of %d passed (%v)", performed.Load(), sum.Passed, sum.Wanted, err)
	}
	if err := sum.verdict("all"); !errors.Is(err, errFail) {
		t.Errorf("the verdict is %v", err)
	}
}

func TestAnInterruptedSeriesHasNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := staged(t, t.TempDir(), 5, 1, func(name string) (bool, error) {
		if name == "b" {
			cancel()
			return false, fmt.Errorf("interrupted: %w", ctx.Err())
		}
		return true, nil
	})
	sum, err := s.run(ctx)
	if !errors.Is(err, context.Canceled) || len(sum.Runs) != 1 {
		t.Errorf("the sum is %+v, the error %v", sum, err)
	}
}
