//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tidemark/jepsen/report"
	"tidemark/jepsen/run"
)

// series is several runs, of which some are under way at a time. It writes
// suite.json and index.html into its folder whenever one of them has ended.
type series struct {
	title    string
	out      string
	parallel int
	// untilFailure begins no further run after one that did not pass.
	untilFailure bool
	jobs         []job
	// perform does one run.
	perform func(context.Context, run.Options, *console) (*run.Result, error)

	// mu guards what follows.
	mu      sync.Mutex
	started time.Time
	done    []finished
	// judging lets one run at a time be judged, and console prints one line at a time.
	judging, console sync.Mutex
}

// job is one run that is to be done.
type job struct {
	// name is short, and says what is special about it.
	name    string
	options run.Options
}

// finished is a run that has ended: one of those that are listed in suite.json.
type finished struct {
	Name   string        `json:"name"`
	Folder string        `json:"folder"`
	Nodes  int           `json:"nodes"`
	Mix    []string      `json:"mix"`
	Seed   uint64        `json:"seed"`
	Pass   bool          `json:"pass"`
	Reason string        `json:"reason"`
	Took   time.Duration `json:"took_ns,omitempty"`
	// Earlier says that it was done before, and not again.
	Earlier bool `json:"earlier,omitempty"`

	Operations          int `json:"operations"`
	AcknowledgedAppends int `json:"acknowledged_appends"`
	MessagesReadBack    int `json:"messages_read_back"`
	Faults              int `json:"faults"`
}

// summary is suite.json.
type summary struct {
	Title   string    `json:"title"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Wanted is how many runs there are to be; Runs are those that have ended.
	Wanted int        `json:"wanted"`
	Passed int        `json:"passed"`
	Runs   []finished `json:"runs"`

	Operations          int `json:"operations"`
	AcknowledgedAppends int `json:"acknowledged_appends"`
	MessagesReadBack    int `json:"messages_read_back"`
	Faults              int `json:"faults"`
}

// memoryShare is the share of the machine's memory above which this process rather
// spends time than memory.
const memoryShare = 0.6

// run does all jobs. An error says that ctx ended before all were done.
func (s *series) run(ctx context.Context) (summary, error) {
	if _, set := os.LookupEnv("GOMEMLIMIT"); !set {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err == nil {
			debug.SetMemoryLimit(int64(memoryShare * float64(info.Totalram) * float64(info.Unit)))
		}
	}
	s.started = time.Now()
	waiting := make(chan job)
	// failed is closed when no further run is to begin.
	failed := make(chan struct{})
	var group sync.WaitGroup
	var once sync.Once
	for range min(s.parallel, len(s.jobs)) {
		group.Go(func() {
			for j := range waiting {
				if isClosed(failed) || ctx.Err() != nil {
					continue
				}
				if ended, ok := s.do(ctx, j); ok && !ended.Pass && s.untilFailure {
					once.Do(func() { close(failed) })
				}
			}
		})
	}
feed:
	for _, j := range s.jobs {
		select {
		case waiting <- j:
		case <-failed:
			break feed
		case <-ctx.Done():
			break feed
		}
	}
	close(waiting)
	group.Wait()
	sum := s.sum()
	if ctx.Err() != nil {
		return sum, fmt.Errorf("interrupted when %d of %d runs were done: %w", len(sum.Runs), sum.Wanted, ctx.Err())
	}
	return sum, s.write(sum)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// do does one run, unless it was done before. It reports false if it was interrupted.
func (s *series) do(ctx context.Context, j job) (finished, bool) {
	console := newConsole(os.Stderr)
	if s.parallel > 1 {
		console = newSharedConsole(os.Stderr, j.name, &s.console)
	}
	o := j.options
	ended := finished{Name: j.name, Folder: o.Out, Nodes: o.Nodes, Mix: o.Mix, Seed: o.Seed}
	if relative, err := filepath.Rel(s.out, o.Out); err == nil {
		ended.Folder = relative
	}
	begun := time.Now()
	result, err := passedBefore(o), error(nil)
	if ended.Earlier = result != nil; !ended.Earlier {
		o.Judging = &s.judging
		result, err = s.perform(ctx, o, console)
		ended.Took = time.Since(begun).Round(time.Millisecond)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return ended, false
	case err != nil:
		ended.Reason = "no verdict: " + oneLine(err)
	default:
		ended.take(result)
	}
	console.name = j.name
	word := "FAIL"
	if ended.Pass {
		word = "PASS"
	}
	if ended.Earlier {
		word += " (earlier)"
	}
	s.mu.Lock()
	s.done = append(s.done, ended)
	count := len(s.done)
	s.mu.Unlock()
	console.say(fmt.Sprintf("%d of %d: %s %s: %s", count, len(s.jobs), j.name, word, ended.Reason))
	if err := s.write(s.sum()); err != nil {
		console.say(err.Error())
	}
	return ended, true
}

func (f *finished) take(result *run.Result) {
	counts := result.Verdict.Counts
	f.Pass, f.Reason = result.Pass, result.Reason
	f.Operations, f.AcknowledgedAppends = counts.Operations, counts.AcknowledgedAppends
	f.MessagesReadBack, f.Faults = counts.MessagesReadBack, counts.Faults
}

// passedBefore returns the result in a run's folder if it is of the same command and
// version, and passed. Otherwise it returns nil.
func passedBefore(o run.Options) *run.Result {
	text, err := os.ReadFile(filepath.Join(o.Out, "result.json"))
	if err != nil {
		return nil
	}
	var result run.Result
	if json.Unmarshal(text, &result) != nil || !result.Pass {
		return nil
	}
	if result.Meta.CommandLine != o.CommandLine || result.Meta.Version != o.Version {
		return nil
	}
	return &result
}

// sum adds up what is done, in the order of the jobs.
func (s *series) sum() summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := summary{Title: s.title, Started: s.started, Wanted: len(s.jobs)}
	for _, j := range s.jobs {
		sum.Version = j.options.Version
		for _, f := range s.done {
			if f.Name != j.name {
				continue
			}
			sum.Runs = append(sum.Runs, f)
			if f.Pass {
				sum.Passed++
			}
			sum.Operations += f.Operations
			sum.AcknowledgedAppends += f.AcknowledgedAppends
			sum.MessagesReadBack += f.MessagesReadBack
			sum.Faults += f.Faults
		}
	}
	return sum
}

// write writes suite.json and index.html.
func (s *series) write(sum summary) error {
	text, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.WriteFile(filepath.Join(s.out, "suite.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return report.WriteIndex(filepath.Join(s.out, "index.html"), sum.index())
}

// index is the summary as a page shows it.
func (s summary) index() report.Index {
	index := report.Index{
		Title: s.Title, Version: s.Version, Started: s.Started, Wanted: s.Wanted, Passed: s.Passed,
		Operations: s.Operations, AcknowledgedAppends: s.AcknowledgedAppends, MessagesReadBack: s.MessagesReadBack, Faults: s.Faults,
	}
	for _, f := range s.Runs {
		index.Runs = append(index.Runs, report.IndexRun{
			Name: f.Name, Link: filepath.ToSlash(filepath.Join(f.Folder, "report.html")), Pass: f.Pass, Reason: f.Reason,
			Nodes: f.Nodes, Seed: f.Seed, Took: f.Took,
			Operations: f.Operations, AcknowledgedAppends: f.AcknowledgedAppends, Faults: f.Faults,
		})
	}
	return index
}

// verdict prints the last line: what passed, or which did not.
func (s summary) verdict(what string) error {
	if s.Passed == s.Wanted {
		fmt.Printf("jepsen: PASS %s, %d operations, %d acknowledged appends\n", what, s.Operations, s.AcknowledgedAppends)
		return nil
	}
	var failed []string
	for _, f := range s.Runs {
		if !f.Pass {
			failed = append(failed, fmt.Sprintf("%s (%s)", f.Name, f.Reason))
		}
	}
	fmt.Printf("jepsen: FAIL %d of %d passed; %s\n", s.Passed, s.Wanted, strings.Join(failed, "; "))
	return errFail
}

// oneLine is an error's text without line breaks.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
