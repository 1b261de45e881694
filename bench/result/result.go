package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tidemark/bench/system"
	"tidemark/internal/load"
)

// Report is one comparison.
type Report struct {
	Settings
	// Command is what was called last, and Date when it began first.
	Command string    `json:"command"`
	Date    time.Time `json:"date"`
	Machine Machine   `json:"machine"`
	// Systems are all that were asked for, in their order.
	Systems []System `json:"systems"`
	Runs    []Run    `json:"runs"`
}

// Settings are what all runs of a report have in common.
type Settings struct {
	// Commit is that of Tidemark, as git describes it.
	Commit   string        `json:"commit"`
	Warmup   time.Duration `json:"warmup_ns"`
	Duration time.Duration `json:"duration_ns"`
}

// System is one that was asked for.
type System struct {
	system.Description
	Version string
	// Missing says why it could not be measured.
	Missing string `json:",omitempty"`
}

// Run is one measurement of one way to do a work.
type Run struct {
	Round  int       `json:"round"`
	Work   string    `json:"work"`
	System string    `json:"system"`
	Way    string    `json:"way"`
	Begun  time.Time `json:"begun"`
	// Failed says why there are no figures, and FailedShare which share of the calls failed,
	// if that is the reason.
	Failed      string  `json:"failed,omitempty"`
	FailedShare float64 `json:"failed_share,omitempty"`

	Messages float64 `json:"messages_per_second"`
	// Latency is that of calls, and empty for a tail.
	Latency load.Latency `json:"latency"`
	// Processor and Written are what all servers together used for a message.
	Processor time.Duration `json:"processor_ns_per_message"`
	Written   float64       `json:"written_bytes_per_message"`
	// Memory is what is resident of the largest node at the end.
	Memory int64 `json:"resident_bytes_of_largest_node"`
}

// Done says whether the report has the runs of a system's work in a round.
func (r *Report) Done(round int, work, system string) bool {
	return slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Round == round && run.Work == work && run.System == system })
}

// Resume goes on with the runs of an earlier report, which must be of the same Tidemark,
// settings, machine and versions of systems.
func (r *Report) Resume(earlier *Report) error {
	if r.Settings != earlier.Settings {
		return fmt.Errorf("cannot go on with runs of %+v: these are %+v", earlier.Settings, r.Settings)
	}
	if r.Machine != earlier.Machine {
		return fmt.Errorf("cannot go on with runs of %+v: this is %+v", earlier.Machine, r.Machine)
	}
	for _, s := range r.Systems {
		at := slices.IndexFunc(earlier.Systems, func(e System) bool { return e.Name == s.Name })
		if at >= 0 && earlier.Systems[at].Version != s.Version {
			return fmt.Errorf("cannot go on with runs of %s %s: this is %s", s.Name, earlier.Systems[at].Version, s.Version)
		}
	}
	r.Runs, r.Date = earlier.Runs, earlier.Date
	return nil
}

// Load reads a report; nil if there is none.
func Load(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Save replaces a report.
func (r *Report) Save(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
