//go:build linux

package hunt

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tidemark/internal/planted"
	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/run"
)

// Every bug is searched for, by nemeses and checkers that exist, and there is a control.
func TestSearchesAreComplete(t *testing.T) {
	var names []string
	for _, c := range checker.All() {
		names = append(names, c.Name())
	}
	searched := map[planted.Bug]bool{}
	for _, s := range Searches() {
		searched[s.Bug] = true
		if _, err := nemesis.Choose(s.Mix, func(host.Feature) bool { return true }); err != nil {
			t.Errorf("%s: %v", s.Name(), err)
		}
		if (len(s.Checkers) == 0) != (s.Bug == "") {
			t.Errorf("%s has the checkers %v", s.Name(), s.Checkers)
		}
		for _, name := range s.Checkers {
			if !slices.Contains(names, name) {
				t.Errorf("%s: there is no checker %q", s.Name(), name)
			}
		}
	}
	for _, bug := range append(planted.All(), "") {
		if !searched[bug] {
			t.Errorf("nobody looks for %q", bug)
		}
	}
}

// A bug counts as found only by a checker that is there for it, and when it showed is
// when the first such anomaly could be seen.
func TestWhatCountsAsFound(t *testing.T) {
	h := &history.History{Operations: []history.Operation{
		{ID: 1, Kind: history.KindAppend, Invoked: 2 * time.Second, Completed: 3 * time.Second},
		{ID: 2, Kind: history.KindRead, Invoked: 4 * time.Second, Completed: 5 * time.Second},
		{ID: 3, Kind: history.KindRead, Invoked: 6 * time.Second, Completed: 7 * time.Second},
		{ID: 4, Kind: history.KindFinalRead, Invoked: 8 * time.Second, Completed: 9 * time.Second},
	}}
	s := Search{Bug: planted.NoReadIndex, Checkers: []string{"stale-read", logMismatch}}
	for _, c := range []struct {
		name      string
		anomalies []checker.Anomaly
		want      Found
	}{
		{"nothing", nil, Found{Loaded: 5 * time.Second}},
		{"another checker", []checker.Anomaly{{Checker: "gap", Operations: []int64{1}}}, Found{Loaded: 5 * time.Second}},
		{"two", []checker.Anomaly{{Checker: "stale-read", Summary: "later", Operations: []int64{1, 3}}, {Checker: "stale-read", Summary: "earlier", Operations: []int64{1, 2}}},
			Found{OK: true, Checker: "stale-read", Summary: "earlier", Loaded: 3 * time.Second}},
		{"read back", []checker.Anomaly{{Checker: "stale-read", Operations: []int64{1, 4}}}, Found{OK: true, Checker: "stale-read", Loaded: time.Second}},
		{"not read back", []checker.Anomaly{{Checker: "stale-read"}}, Found{Loaded: 5 * time.Second}},
		{"in the logs", []checker.Anomaly{{Checker: logMismatch}}, Found{OK: true, Checker: logMismatch, Loaded: 5 * time.Second}},
	} {
		var found Found
		s.look(h, c.anomalies, &found)
		if found.OK != c.want.OK || found.Checker != c.want.Checker || found.Summary != c.want.Summary || found.Loaded != c.want.Loaded {
			t.Errorf("%s: found %+v, want %+v", c.name, found, c.want)
		}
	}
}

// The bugs that need no nemesis are found in seconds, so they are looked for here too.
func TestBugsThatNeedNoNemesisAreFound(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "tidemark")
	if out, err := exec.Command("go", "build", "-tags", planted.Tag, "-o", binary, "tidemark/cmd/tidemark").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	base := run.Defaults()
	base.Binary, base.Loopback, base.Rate, base.Porcupine, base.Tail = binary, true, 400, 0, time.Second
	for _, s := range Searches() {
		if !slices.Equal(s.Mix, []string{"none"}) {
			continue
		}
		t.Run(string(s.Bug), func(t *testing.T) {
			o := base
			o.Out = t.TempDir()
			found, err := s.Run(t.Context(), o, 3)
			if err != nil {
				t.Fatal(err)
			}
			if !found.OK {
				t.Errorf("not found: %s", found.Summary)
			}
			t.Logf("%s found it in %v: %s", found.Checker, found.Took.Round(time.Millisecond), found.Summary)
		})
	}
}
