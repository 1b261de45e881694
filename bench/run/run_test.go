package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidemark/bench/result"
	"tidemark/bench/system"
)

// fake is a system that answers each call after a while, and writes down what happens to it.
type fake struct {
	name  string
	ways  map[system.Kind][]string
	diary *[]string

	startErr error
	// failEvery makes each so many-th call fail.
	failEvery int

	dir string
	up  bool
}

func (f *fake) note(format string, args ...any) {
	*f.diary = append(*f.diary, f.name+" "+fmt.Sprintf(format, args...))
}

func (f *fake) Describe() system.Description {
	return system.Description{Name: f.name, Title: strings.ToUpper(f.name), Ways: f.ways}
}

func (f *fake) Prepare(context.Context, system.Env) (string, error) { return "v1", nil }

func (f *fake) Start(_ context.Context, dir string) (system.Cluster, error) {
	if f.startErr != nil {
		return nil, f.startErr
	}
	f.dir, f.up = dir, true
	f.note("starts")
	return f, os.WriteFile(dir+"/data", nil, 0o600)
}

func (f *fake) PIDs() []int { return []int{os.Getpid()} }

func (f *fake) Fill(context.Context) error {
	f.note("is filled")
	return nil
}

func (f *fake) Open(_ context.Context, kind system.Kind, way string, callers int) (*system.Driver, error) {
	f.note("does %s by %s with %d", kind, way, callers)
	calls := 0
	return &system.Driver{
		Call: func(context.Context, int) error {
			time.Sleep(10 * time.Millisecond)
			if calls++; f.failEvery > 0 && calls%f.failEvery == 0 {
				return errors.New("no leader")
			}
			return nil
		},
		CatchUp: func(context.Context) error {
			time.Sleep(time.Second)
			return nil
		},
		Close: func() {},
	}, nil
}

func (f *fake) Stop() error {
	f.up = false
	f.note("stops")
	return nil
}

var (
	appendWork = system.Work{Name: "append", Kind: system.Append, Callers: 1}
	readWork   = system.Work{Name: "read", Kind: system.Read, Callers: 1}
	tailWork   = system.Work{Name: "tail", Kind: system.Tail, Callers: 1}
)

func newRunner(t *testing.T) *Runner {
	return &Runner{
		Data:     t.TempDir(),
		Report:   &result.Report{Settings: result.Settings{Warmup: time.Second, Duration: 2 * time.Second}},
		Save:     func(*result.Report) error { return nil },
		Progress: func(string) {},
	}
}

func run(t *testing.T, r *Runner, steps []Step) {
	t.Helper()
	if err := r.Run(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(r.Data)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestScheduleIsInTurn(t *testing.T) {
	a := &fake{name: "a", ways: map[system.Kind][]string{system.Append: {"x"}, system.Tail: {"x"}}}
	b := &fake{name: "b", ways: map[system.Kind][]string{system.Append: {"x", "y"}}}
	var got []string
	for _, step := range Schedule([]system.Work{appendWork, tailWork}, []system.System{a, b}, 2) {
		got = append(got, fmt.Sprintf("%d %s %s", step.Round, step.Work.Name, step.System.Describe().Name))
	}
	want := []string{"1 append a", "1 append b", "1 tail a", "2 append a", "2 append b", "2 tail a"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// One system runs at a time, and is stopped before the next one starts.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var diary []string
		a := &fake{name: "a", diary: &diary, ways: map[system.Kind][]string{system.Append: {"x", "y"}, system.Read: {"z"}}}
		b := &fake{name: "b", diary: &diary, ways: map[system.Kind][]string{system.Append: {"x"}, system.Tail: {"w"}}}
		r := newRunner(t)
		run(t, r, Schedule([]system.Work{appendWork, readWork, tailWork}, []system.System{a, b}, 1))
		want := []string{
			"a starts", "a does append by x with 1", "a does append by y with 1", "a stops",
			"b starts", "b does append by x with 1", "b stops",
			"a starts", "a is filled", "a does read by z with 1", "a stops",
			"b starts", "b is filled", "b does tail by w with 1", "b stops",
		}
		if !slices.Equal(diary, want) {
			t.Errorf("got  %q\nwant %q", diary, want)
		}
		wantRates := []float64{100, 100, 100, 100 * system.Page, system.Timelines * system.Backlog}
		for i, rate := range wantRates {
			if got := r.Report.Runs[i]; got.Failed != "" || got.Messages < 0.98*rate || got.Messages > 1.02*rate || got.Memory == 0 {
				t.Errorf("%+v; want %v messages/s", got, rate)
			}
		}
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var diary []string
		ways := map[system.Kind][]string{system.Append: {"x"}}
		dead := &fake{name: "dead", diary: &diary, ways: map[system.Kind][]string{system.Append: {"x", "y"}}, startErr: errors.New("no such library")}
		sick := &fake{name: "sick", diary: &diary, ways: ways, failEvery: 10}
		well := &fake{name: "well", diary: &diary, ways: ways}
		r := newRunner(t)
		run(t, r, Schedule([]system.Work{appendWork}, []system.System{dead, sick, well}, 1))
		runs := r.Report.Runs
		if len(runs) != 4 || runs[0].Failed != "no such library" || runs[1].Failed != "no such library" || runs[1].Way != "y" {
			t.Errorf("of one that does not start: %+v", runs)
		}
		if runs[2].Messages != 0 || runs[2].FailedShare < 0.05 || !strings.Contains(runs[2].Failed, "no leader") {
			t.Errorf("of failed calls: %+v", runs[2])
		}
		if runs[3].Failed != "" {
			t.Errorf("of the last one: %+v", runs[3])
		}
		if sick.up || well.up {
			t.Error("one still runs")
		}
	})
}

// What the report has is not done again, and what was begun when ctx ended is not in it.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var diary []string
		ways := map[system.Kind][]string{system.Append: {"x"}}
		a, b := &fake{name: "a", diary: &diary, ways: ways}, &fake{name: "b", diary: &diary, ways: ways}
		steps := Schedule([]system.Work{appendWork}, []system.System{a, b}, 2)
		ctx, cancel := context.WithCancel(t.Context())
		r := newRunner(t)
		r.Save = func(report *result.Report) error {
			if len(report.Runs) == 1 {
				time.AfterFunc(1500*time.Millisecond, cancel)
			}
			return nil
		}
		if err := r.Run(ctx, steps); !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %v", err)
		}
		if len(r.Report.Runs) != 1 || b.up {
			t.Fatalf("after the interruption: %+v", r.Report.Runs)
		}
		r.Save = func(*result.Report) error { return nil }
		run(t, r, steps)
		var got []string
		for _, done := range r.Report.Runs {
			got = append(got, fmt.Sprintf("%d %s", done.Round, done.System))
		}
		if want := []string{"1 a", "1 b", "2 a", "2 b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
