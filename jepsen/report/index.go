package report

import (
	"bytes"
	"os"
	"time"
)

// Index is what a page about several runs is made of.
type Index struct {
	Title, Version string
	Started        time.Time
	// Wanted is how many runs there are to be. Runs are those that have ended.
	Wanted, Passed int
	Runs           []IndexRun

	Operations, AcknowledgedAppends, MessagesReadBack, Faults int
}

// IndexRun is one run. Link is where its report is.
type IndexRun struct {
	Name, Link, Reason string
	Pass               bool
	Nodes              int
	Seed               uint64
	// Took is 0 of a run that was done before.
	Took time.Duration

	Operations, AcknowledgedAppends, Faults int
}

// WriteIndex writes the page. An existing file is replaced.
func WriteIndex(path string, i Index) error {
	var b bytes.Buffer
	if err := index.Execute(&b, i); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// Missing is how many runs have not ended.
func (i Index) Missing() int { return i.Wanted - len(i.Runs) }

// Verdict is PASS if all passed, FAIL if one did not, and otherwise a number.
func (i Index) Verdict() string {
	switch {
	case i.Passed < len(i.Runs):
		return "FAIL"
	case i.Missing() > 0:
		return "not complete"
	default:
		return "PASS"
	}
}

// Duration is how long the run took, in seconds.
func (r IndexRun) Duration() string {
	if r.Took == 0 {
		return "earlier"
	}
	return seconds(r.Took)
}
