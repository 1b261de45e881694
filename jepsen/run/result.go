//go:build linux

package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/failover"
	"tidemark/jepsen/history"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/report"
)

// Result is what came of a run. It is result.json.
type Result struct {
	Pass bool `json:"pass"`
	// Reason says in one line why.
	Reason  string          `json:"reason"`
	Meta    history.Meta    `json:"meta"`
	Setting string          `json:"setting,omitempty"`
	Verdict checker.Verdict `json:"verdict"`
	// Failovers are what the trials came to, if there were any.
	Failovers []failover.Case `json:"failovers,omitempty"`
	// Pages are Porcupine's, in the same folder.
	Pages []string `json:"pages,omitempty"`
}

// Page is what a report needs of the result.
func (r *Result) Page(h *history.History) report.Page {
	page := report.Page{History: h, Verdict: r.Verdict, Reason: r.Reason, Setting: r.Setting}
	for _, name := range r.Pages {
		page.Links = append(page.Links, report.Parameter{Name: "Porcupine: " + name, Value: name})
	}
	if len(r.Failovers) > 0 {
		page.Tables = append(page.Tables, report.Table{
			Title: "Longest time without an acknowledged append", Head: failover.Head, Rows: failover.Rows(r.Failovers),
		})
	}
	return page
}

// judge judges the history of a run and writes what is to be read of it.
func (r *run) judge(h *history.History) (*Result, error) {
	r.watch.enter(Judging)
	if r.Judging != nil {
		r.Judging.Lock()
		defer r.Judging.Unlock()
	}
	if r.tamper != nil {
		r.tamper(h)
	}
	found := append(r.troubles.anomalies(h), r.logs.anomalies(h)...)
	var failovers []failover.Case
	if r.Trials > 0 {
		failovers = failover.Measure(h, r.Mix)
		found = append(found, failover.Anomalies(failovers, r.Trials, r.FailoverBound)...)
	}
	result := Judge(h, found, r.Out, r.Options.Porcupine)
	result.Failovers = failovers
	result.Setting = r.host.Describe()
	page := result.Page(h)
	page.Parameters = r.parameters()
	for _, n := range r.nemeses {
		page.Nemeses = append(page.Nemeses, report.Parameter{Name: n.Name(), Value: nemesis.Describe(n)})
	}
	err := errors.Join(report.WriteFile(r.path("report.html"), page), result.write(r.path("result.json")))
	if result.Pass && !r.KeepData {
		err = errors.Join(err, r.dropData())
	}
	r.watch.enter(Finished)
	return result, err
}

// Judge judges a history, to which a run may add what it found itself. Porcupine is
// asked for at most that long, and puts its pages into the folder.
func Judge(h *history.History, found []checker.Anomaly, folder string, porcupine time.Duration) *Result {
	checkers := checker.All()
	result := &Result{Meta: h.Meta}
	if porcupine > 0 {
		options := checker.DefaultPorcupineOptions()
		options.Budget, options.Folder = porcupine, folder
		options.Timeout = min(options.Timeout, porcupine)
		second := checker.Porcupine(options)
		result.Verdict = checker.Judge(h, append(checkers, second))
		for _, r := range second.Results() {
			if r.Page != "" {
				result.Pages = append(result.Pages, filepath.Base(r.Page))
			}
		}
	} else {
		result.Verdict = checker.Judge(h, checkers)
	}
	result.Verdict.Anomalies = append(result.Verdict.Anomalies, found...)
	counts := result.Verdict.Counts
	if counts.AcknowledgedAppends == 0 {
		// Nothing was shown, so nothing can have been wrong.
		result.Verdict.Anomalies = append(result.Verdict.Anomalies, checker.Anomaly{
			Checker: "nothing-done", Summary: "no append was acknowledged",
		})
	}
	if result.Pass = result.Verdict.OK(); result.Pass {
		result.Reason = fmt.Sprintf("%d operations, %d acknowledged appends, %d messages read back, %d log entries, %d faults: no anomaly",
			counts.Operations, counts.AcknowledgedAppends, counts.MessagesReadBack, counts.LogEntries, counts.Faults)
		return result
	}
	first := result.Verdict.Anomalies[0]
	var names []string
	for _, a := range result.Verdict.Anomalies {
		if !slices.Contains(names, a.Checker) {
			names = append(names, a.Checker)
		}
	}
	result.Reason = fmt.Sprintf("%s; first: %s", strings.Join(names, ", "), first.Summary)
	return result
}

func (r *Result) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func (r *run) parameters() []report.Parameter {
	parameters := []report.Parameter{
		{Name: "nodes", Value: fmt.Sprint(r.Nodes)},
		{Name: "mix", Value: strings.Join(r.Mix, ", ")},
		{Name: "duration", Value: fmt.Sprintf("%v, and %v after healing", r.Duration, r.Tail)},
		{Name: "seed", Value: fmt.Sprint(r.Seed)},
		{Name: "rate", Value: fmt.Sprintf("up to %d operations/s", r.Rate)},
		{Name: "timelines", Value: fmt.Sprintf("%d hot, %d cold", r.Hot, r.Cold)},
		{Name: "version", Value: r.Version},
	}
	if r.OldBinary != "" {
		parameters = append(parameters, report.Parameter{Name: "started with", Value: r.OldBinary})
	}
	if len(r.Env) > 0 {
		parameters = append(parameters, report.Parameter{Name: "environment", Value: strings.Join(r.Env, " ")})
	}
	return parameters
}

// dropData removes the nodes' data. Their logs stay.
func (r *run) dropData() error {
	var errs []error
	for _, name := range []string{"data", "disk"} {
		dirs, err := filepath.Glob(filepath.Join(r.path("nodes"), "*", name))
		errs = append(errs, err)
		for _, dir := range dirs {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
